"""The study of recoveries: what its members are given, and what its numbers say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcprobe.episodes.record import generate
from bcprobe.episodes.store import read_episodes
from bcprobe.studies import recoveries
from bcprobe.studies.sweep import carry_out
from tests.studies.conftest import TASKS, Inside


@pytest.fixture(scope="module")
def tried(checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("recoveries")
    settings = replace(
        recoveries.SETTINGS["tiny"], checkpoint=checkpoint, checkpoints=(checkpoint,), probed=6
    )
    runs = recoveries.runs(settings)
    found = carry_out(recoveries.STUDY, runs, folder, Inside(recoveries.STUDY))
    assert found.failed == {}
    return folder, found.table


def test_all_ways_to_learn_are_measured_alike(tried: tuple[Path, pd.DataFrame]) -> None:
    table = tried[1]
    methods = {"start", "plain", "recoveries", "recoveries_minus_plain"}
    for metric in (*recoveries.SHARES, "accuracy", "nll", "auc"):
        own = table[table["metric"] == metric]
        assert set(own["method"]) == methods
        assert "all" in set(own["task"])
    loop = table[table["metric"] == "success"]
    assert set(loop["temperature"]) == {0.0, 0.5}
    assert set(loop["task"]) == {"all", *TASKS}
    assert "annotator" in set(table.loc[table["metric"] == "auc", "kind"])


def test_only_one_way_learns_from_recoveries_and_both_from_as_many_frames(
    tried: tuple[Path, pd.DataFrame], checkpoint: str
) -> None:
    visited = tried[0] / "runs" / "rollouts" / "visited"
    settings = replace(recoveries.SETTINGS["cpu"], checkpoint=checkpoint, checkpoints=(checkpoint,))
    runs = {
        run.parameters["method"]: recoveries.experiment(run.parameters, visited)
        for run in recoveries.runs(settings)[2:4]
    }
    plain, mixed = runs["plain"], runs["recoveries"]
    assert (plain.data.visits, plain.data.disturbed) == (0, 0.0)
    assert mixed.data.visits == 9
    assert mixed.data.disturbed == pytest.approx(1 / 3)
    same = replace(mixed.data, visited="", disturbed=0.0)
    assert replace(mixed, name=plain.name, data=same) == plain


def test_rollouts_are_the_models_own_in_worlds_that_nobody_else_takes(
    tried: tuple[Path, pd.DataFrame],
) -> None:
    folder = tried[0] / "runs" / "rollouts"
    visited, probed = (read_episodes(folder / kind) for kind in ("visited", "probed"))
    assert {episode.origin for episode in (*visited, *probed)} == {"model"}
    assert {episode.task for episode in visited} == set(TASKS)
    assert len(visited) == 2
    assert len(probed) == 12
    assert not {e.world_seed for e in visited} & {e.world_seed for e in probed}


def test_counts_of_an_annotators_episodes() -> None:
    episodes = [generate(TASKS[0], seed) for seed in range(6)]
    counts = recoveries.loop_counts(episodes)
    assert (counts["success"] == 1).all()
    assert (counts["corrected"] == counts["mistakes"]).all()
    assert counts["mistakes"].sum() > 0
    assert counts["needless_undos"].sum() == 0
    undos = [sum(step.action == "undo" for step in episode.steps) for episode in episodes]
    assert counts["undos"].tolist() == undos


def loop_rows(method: str, seed: int, success: float) -> pd.DataFrame:
    numbers = dict.fromkeys({name for pair in recoveries.SHARES.values() for name in pair}, 1.0)
    rows = [{"task": task, "world": world, **numbers} for task in TASKS for world in range(5)]
    loop = pd.DataFrame(rows).assign(section="loop", temperature=0.0, success=success)
    clicks = loop[["task", "world", "n"]].assign(section="clicks", kind="undo", hits=0.0, nll=1.0)
    return pd.concat([loop, clicks]).assign(method=method, seed=seed)


def probe_rows(method: str, seed: int, good: bool) -> pd.DataFrame:
    truth = np.tile([True, False], 10)
    value = truth.astype(float) if good else np.zeros(20)
    world = np.arange(20) // 4
    known = pd.DataFrame({"task": TASKS[0], "world": world, "truth": truth, "value": value})
    return known.assign(section="probe", kind="own", site="s", fold=0, method=method, seed=seed)


def test_differences_are_paired_by_world_and_seed() -> None:
    runs = [("start", 0, 0.0), ("plain", 0, 0.25), ("plain", 1, 0.25)]
    runs += [("recoveries", 0, 0.75), ("recoveries", 1, 0.75)]
    rows = [
        part
        for method, seed, success in runs
        for part in (loop_rows(method, seed, success), probe_rows(method, seed, success > 0.5))
    ]
    table = recoveries.summarise(pd.concat(rows, ignore_index=True))
    loop = table[(table["metric"] == "success") & (table["task"] == "all")].set_index("method")
    assert loop.loc["recoveries_minus_plain", ["estimate", "lower", "upper"]].tolist() == [0.5] * 3
    assert loop.loc["start", "estimate"] == 0
    assert loop.loc["plain", "n"] == 20
    probe = table[table["metric"] == "auc"].set_index("method")
    assert probe.loc["recoveries", "estimate"] == 1
    assert probe.loc["plain", "estimate"] == 0.5
    assert probe.loc["recoveries_minus_plain", ["lower", "upper"]].tolist() == [0.5, 0.5]
