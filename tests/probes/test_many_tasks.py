"""Probes across tasks: a direction that tasks share carries over, one of their own does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations, combine, make_pool
from bcprobe.errors import InputError
from bcprobe.probes import many_tasks, protocol
from bcprobe.probes.protocol import run
from bcprobe.probes.result import MEAN, ProbeResult, table_of
from bcprobe.types import ALL
from tests.conftest import labels_of

SHARED, OWN = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
NAMES = ("colored_dot_tracking", "neuron_tracking", "cell_lineage_tracking")
WIDTH = 8


def planted(number: int) -> Activations:
    """A task whose mistakes stand along one direction for all, and along one of its own."""
    rng = np.random.default_rng(number)
    labels = labels_of(12, rng).assign(task=NAMES[number])
    mistake = labels["mistake"].to_numpy(float)[:, None]
    shared, own = np.eye(WIDTH)[0], np.eye(WIDTH)[number + 1]
    noise = rng.normal(size=(2, len(labels), WIDTH))
    values = {SHARED: noise[0] + 4 * mistake * shared, OWN: noise[1] + 4 * mistake * own}
    untrained = {site: rng.normal(size=noise[0].shape) for site in values}
    return Activations(
        values,
        labels,
        (untrained,),
        rng.normal(size=(len(labels), 3)),
        {"checkpoint": "c", "episodes": str(number)},
    )


@pytest.fixture(scope="module")
def parts() -> dict[str, Activations]:
    return {name: planted(number) for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def table(parts: dict[str, Activations]) -> pd.DataFrame:
    schemes = many_tasks.schemes_of(parts, "mistake")
    rows = many_tasks.scheme_rows(schemes, [SHARED, OWN], SHARED)
    rows = [*rows, *many_tasks.scheme_rows(schemes, [OWN], OWN)]
    return table_of(rows, {SHARED: 1, OWN: 2})


def mean_of(table: pd.DataFrame, scheme: str, site: str) -> float:
    rows = table[(table["scheme"] == scheme) & (table["site"] == site)]
    rows = rows[(rows["test_task"] == MEAN) & (rows["negatives"] == "errable")]
    return float(rows["estimate"].iloc[0])


def test_what_tasks_share_is_read_in_the_one_left_out(table: pd.DataFrame) -> None:
    assert mean_of(table, "within", SHARED) > 0.95
    assert mean_of(table, "left_out", SHARED) > 0.95
    assert mean_of(table, "within", OWN) > 0.95
    assert 0.35 < mean_of(table, "left_out", OWN) < 0.65
    assert mean_of(table, "pooled", OWN) > 0.9


def test_the_matrix_has_every_pair_of_different_tasks(table: pd.DataFrame) -> None:
    cells = table[(table["scheme"] == "matrix") & (table["site"] == SHARED)]
    pairs = set(zip(cells["train_task"], cells["test_task"], strict=True))
    assert pairs == {(a, b) for a in NAMES for b in NAMES if a != b}
    probes, chance = cells[cells["kind"] == "probe"], cells[cells["kind"] == "p_value"]
    assert (probes["estimate"] > 0.9).all()
    assert (probes["lower"] <= probes["estimate"]).all()
    assert len(chance) == len(probes)
    assert (chance["estimate"] < 0.05).all()


def test_a_task_apart_is_told_from_chance_by_no_permutation(table: pd.DataFrame) -> None:
    cells = table[(table["scheme"] == "matrix") & (table["site"] == OWN)]
    assert (cells.loc[cells["kind"] == "p_value", "estimate"] > 0.05).all()


def test_means_over_tasks_draw_tasks_and_layers_are_simultaneous(table: pd.DataFrame) -> None:
    rows = table[(table["kind"] == "probe") & (table["negatives"] == "errable")]
    at = rows[(rows["site"] == SHARED) & (rows["scheme"] == "left_out")].set_index("test_task")
    assert at.loc[MEAN, "interval"] == "tasks"
    assert set(at.drop(MEAN)["interval"]) <= {"refit max_t", "exact"}
    assert (at["lower"] <= at["estimate"]).all()
    assert (at["upper"] >= at["estimate"]).all()
    least = table[(table["kind"] == "detectable") & (table["site"] == OWN)]
    assert least["estimate"].between(0, 0.6).all()


def test_cosines_are_high_where_the_direction_is_shared(parts: dict[str, Activations]) -> None:
    for site, low, high in ((SHARED, 0.8, 1.0), (OWN, -0.3, 0.4)):
        rows = pd.DataFrame(many_tasks.cosine_rows(parts, "mistake", site, resamples=6))
        between = rows[(rows["train_task"] != ALL) & (rows["test_task"] != ALL)]
        assert len(between) == 3
        assert between["estimate"].between(low, high).all()
        assert (rows["lower"] <= rows["upper"]).all()


def test_combined_episodes_keep_apart(parts: dict[str, Activations]) -> None:
    together = combine(parts)
    assert together.labels["episode"].nunique() == 12 * len(parts)
    assert len(together) == sum(map(len, parts.values()))
    table = together.frame("mistake", SHARED, None)
    assert set(table["task"]) == set(NAMES)
    assert table["group"].nunique() == together.labels["episode"].nunique()
    assert table["y"].dtype == bool
    assert {"x0", f"x{WIDTH - 1}"} <= set(table)


@pytest.fixture
def found(
    parts: dict[str, Activations], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> ProbeResult:
    monkeypatch.setattr(protocol, "activations", lambda *_, **__: combine(parts))
    return run("mistake", checkpoint, NAMES, [SHARED, OWN], 12, progress=False)


def test_a_whole_run_is_a_table_a_document_and_a_card(found: ProbeResult, tmp_path: Path) -> None:
    assert found.card.task == ALL
    assert found.best.site in (SHARED, OWN)
    plain = found.as_dict()
    json.dumps(plain, allow_nan=False)
    schemes = {row["scheme"] for row in plain["scores"]}
    assert schemes >= {"within", "pooled", "left_out", "matrix", "cosine"}
    assert set(plain["controls"]) >= {
        "shuffled", "selectivity", "untrained", "pixels", "previous_action",
    }  # fmt: skip
    summary = found.summary().set_index("task")
    assert summary.loc[MEAN, "within"].estimate > 0.9
    found.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "mistake_probe.parquet", "mistake_probe.json",
        "card.json", "direction.safetensors", "README.md",
    }  # fmt: skip


def test_one_task_with_anything_to_tell_is_not_enough(
    parts: dict[str, Activations], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = planted(1)
    blank.labels[["mistake", "previous_mistaken"]] = False
    some = {NAMES[0]: parts[NAMES[0]], NAMES[1]: blank}
    monkeypatch.setattr(protocol, "activations", lambda *_, **__: combine(some))
    with pytest.raises(InputError, match="1 of 2 tasks"):
        run("mistake", checkpoint, NAMES[:2], [SHARED], 12, progress=False)


def test_a_pool_is_named_by_all_it_holds(checkpoint: Path) -> None:
    one, two = (make_pool(checkpoint, NAMES[:n], 5) for n in (1, 2))
    assert one.key != two.key
    assert two.episodes == 10
    assert two.tasks == NAMES[:2]
