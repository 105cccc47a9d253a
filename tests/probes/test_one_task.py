from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations, Source, make_source
from bcprobe.errors import InputError
from bcprobe.probes import one_task as running
from bcprobe.probes.cards import read_card
from bcprobe.probes.controls import CONTROLS
from bcprobe.probes.one_task import analyse, choose, run
from bcprobe.probes.result import COLUMNS, ProbeResult
from bcprobe.results import read_table

TASK = "colored_dot_tracking"
NOISE, PLACED, MISTAKE = (f"blocks.{i}.hook_resid_post" for i in range(3))


class Layered(Source):
    def layer(self, site: str) -> int:
        return int(site[7]) + 1


@pytest.fixture(scope="module")
def result(planted: Activations, checkpoint: Path) -> ProbeResult:
    source = make_source(checkpoint, TASK, 30)
    return analyse(planted, "mistake", Layered(**vars(source)), list(planted.values), "small")


def test_the_planted_site_is_best_and_scored_where_it_was_not_chosen(result: ProbeResult) -> None:
    assert (result.best.site, result.best.layer, result.best.negatives) == (MISTAKE, 3, "matched")
    assert result.best.score is not None
    whole = result.probes["matched"][MISTAKE]
    assert 0 < result.best.score.n < whole.n
    assert result.best.as_dict()["scored_on"] == "episodes 1, 3, 5..."


def test_table_and_json_hold_the_same_numbers(result: ProbeResult) -> None:
    table, plain = result.table(), result.as_dict()
    assert tuple(table.columns) == COLUMNS
    json.dumps(plain, allow_nan=False)
    assert set(plain["controls"]) == set(CONTROLS)
    assert set(plain["negatives"]) == {"matched", "all"}
    assert list(plain["negatives"]["matched"]) == [NOISE, PLACED, MISTAKE]
    probes = table[(table.kind == "probe") & (table.negatives == "all")].set_index("site")
    for site, number in plain["negatives"]["all"].items():
        assert probes.estimate[site] == number["estimate"]
    for name, number in plain["controls"].items():
        rows = table[(table.kind == name) & (table.negatives == "matched")]
        assert number["estimate"] in rows.estimate.tolist()
    assert {"estimate", "lower", "upper", "n"} == set(plain["controls"]["selectivity"])
    assert plain["card"]["controls"] == plain["controls"]
    assert plain["metric"] == "auc"


def test_files_are_written_and_read_back(result: ProbeResult, tmp_path: Path) -> None:
    drawn = []
    result.write(tmp_path / "out", lambda *given: drawn.append(given))
    ((table, folder, name),) = drawn
    assert (folder, name) == (tmp_path / "out", "mistake_probe")
    stored = read_table(folder / "mistake_probe.parquet", COLUMNS)
    pd.testing.assert_frame_equal(stored, table, check_dtype=False)
    assert json.loads((folder / "mistake_probe.json").read_text()) == result.as_dict()
    card, directions = read_card(folder)
    assert card == result.card
    assert np.allclose(directions, result.direction.directions)


def test_too_few_episodes_to_halve_are_said_so(planted: Activations) -> None:
    rows = planted.labels["episode"] < 3
    few = Activations({s: v[rows] for s, v in planted.values.items()}, planted.labels[rows])
    question = running.ask(few.labels, "progress")
    odd = replace(question, groups=question.groups * 2 + 1)
    probes = running.probe_sites(odd, few.values, list(few.values))
    best = choose(odd, few, probes, dict.fromkeys(few.values, 1))
    assert best.score is None
    assert best.as_dict()["chosen_on"] == "all episodes"


def test_a_run_from_names_to_files(
    checkpoint: Path, gathered: Activations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "gather_sources", lambda sources, progress: [gathered])
    found = run("position", checkpoint, TASK, episodes=6, out=tmp_path / "out", progress=False)
    assert (found.episodes, found.steps, found.metric) == (6, len(gathered), "r2")
    assert list(found.as_dict()["negatives"]) == ["all"]
    assert (tmp_path / "out" / "position_probe.parquet").is_file()
    site = "blocks.1.hook_resid_post"
    again = run("position", checkpoint, TASK, [site], 6)
    assert again.probes["all"] == {site: found.probes["all"][site]}
    with pytest.raises(InputError, match="one class only"):
        run("mistake_kind", checkpoint, TASK, episodes=6)


def test_bad_names_are_told(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'mistake'"):
        run("mistakes", checkpoint)
    with pytest.raises(InputError, match="unknown checkpoint"):
        run("mistake", "dots-nanoo")
    with pytest.raises(InputError, match="episodes is 0"):
        run("mistake", checkpoint, episodes=0)
