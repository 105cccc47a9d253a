from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import ask
from bcprobe.errors import InputError
from bcprobe.probes import protocol
from bcprobe.probes.cards import read_probe_card
from bcprobe.probes.controls import CONTROLS
from bcprobe.probes.one_task import choose, probe_sites
from bcprobe.probes.protocol import probe, run
from bcprobe.probes.result import COLUMNS, ProbeResult
from bcprobe.results import read_table

TASK = "colored_dot_tracking"
NOISE, PLACED, MISTAKE = (f"blocks.{i}.hook_resid_post" for i in range(3))


@pytest.fixture(scope="module")
def result(planted: Activations) -> ProbeResult:
    return probe(planted, "mistake")


def test_the_planted_site_is_best_and_scored_where_it_was_not_chosen(result: ProbeResult) -> None:
    assert (result.best.site, result.best.layer, result.best.negatives) == (MISTAKE, 2, "errable")
    assert result.best.score is not None
    whole = result.table(kind="probe", negatives="errable", site=MISTAKE)
    assert 0 < result.best.score.n < whole["n"].item()
    assert result.best.as_dict()["scored_on"] == "episodes 1, 3, 5..."
    assert result.tasks == (TASK,)


def test_table_and_json_hold_the_same_numbers(result: ProbeResult) -> None:
    table, plain = result.table(), json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert tuple(table.columns) == COLUMNS
    assert set(plain["controls"]) >= set(CONTROLS)
    assert set(plain["evaluated"]) == {"matched", "errable", "all"}
    stored = pd.DataFrame(plain["scores"])
    assert stored["estimate"].tolist() == table["estimate"].tolist()
    probes = result.table(kind="probe", negatives="errable")
    assert probes["site"].tolist() == [NOISE, PLACED, MISTAKE]
    assert plain["card"]["controls"].items() <= plain["controls"].items()
    assert (plain["metric"], plain["score"]) == ("auc", plain["best"]["score"])


def test_a_binary_direction_is_one_vector_along_the_planted_one(result: ProbeResult) -> None:
    assert result.direction.shape == (12,)
    assert np.linalg.norm(result.direction) == pytest.approx(1)
    assert np.argmax(result.direction) == 5


def test_a_result_is_one_short_line(result: ProbeResult) -> None:
    shown = repr(result)
    assert "\n" not in shown
    assert len(shown) < 200
    assert f"{result.score}" in shown


def test_a_figure_is_drawn_by_the_function_handed_in_or_the_usual_one(result: ProbeResult) -> None:
    drawn = result.plot(lambda table: len(table))
    assert drawn == len(result.table())
    assert result.plot().axes


def test_files_are_written_and_read_back(result: ProbeResult, tmp_path: Path) -> None:
    drawn = []
    result.write(tmp_path / "out", lambda *given: drawn.append(given))
    ((table, folder, name),) = drawn
    assert (folder, name) == (tmp_path / "out", "mistake_probe")
    stored = read_table(folder / "mistake_probe.parquet", COLUMNS)
    pd.testing.assert_frame_equal(stored, table, check_dtype=False)
    written = json.loads((folder / "mistake_probe.json").read_text())
    assert {name: written[name] for name in result.as_dict()} == result.as_dict()
    card, directions = read_probe_card(folder)
    assert card == result.card
    assert np.allclose(directions[0], result.direction)


def test_activations_that_are_not_finite_are_refused(planted: Activations) -> None:
    broken = planted.values[MISTAKE].copy()
    broken[3, 2] = np.inf
    with pytest.raises(InputError, match=f"'{MISTAKE}' are not finite in 1 of"):
        probe(replace(planted, values={MISTAKE: broken}), "mistake")


def test_too_few_episodes_to_halve_are_said_so(planted: Activations) -> None:
    rows = planted.labels["episode"] < 3
    few = Activations({s: v[rows] for s, v in planted.values.items()}, planted.labels[rows])
    question = ask(few.labels, "progress")
    odd = replace(question, groups=question.groups * 2 + 1)
    probes = probe_sites(odd, few.values, list(few.values))
    best = choose(odd, few, probes, dict.fromkeys(few.values, 1))
    assert best.score is None
    assert best.as_dict()["chosen_on"] == "all episodes"


def test_a_run_from_names_to_files(
    checkpoint: Path, gathered: Activations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "activations", lambda *_, **__: gathered)
    found = run("position", checkpoint, TASK, episodes=6, out=tmp_path / "out", progress=False)
    assert (found.episodes, found.steps, found.metric) == (6, len(gathered), "r2")
    assert list(found.evaluated) == ["all"]
    assert (tmp_path / "out" / "position_probe.parquet").is_file()
    assert found.card.checkpoint_hash == gathered.hashes["checkpoint"]
    with pytest.raises(InputError, match="one class only"):
        run("mistake_kind", checkpoint, TASK, episodes=6)


def test_bad_names_are_reported(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'mistake'"):
        run("mistakes", checkpoint)
    with pytest.raises(InputError, match="unknown checkpoint"):
        run("mistake", "dots-nanoo")
    with pytest.raises(InputError, match="episodes is 0"):
        run("mistake", checkpoint, episodes=0)


def test_no_number_of_the_table_is_missing(result: ProbeResult) -> None:
    assert np.isfinite(result.table()[["estimate", "lower", "upper"]].to_numpy(float)).all()
