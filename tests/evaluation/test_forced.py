"""Forced mistakes: they are mistakes, the annotator undoes them, chance does not."""

from __future__ import annotations

import pandas as pd
import pytest

from bcprobe.episodes.clickers import RandomClicker, RepeatClicker
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import open_world
from bcprobe.evaluation.forced import AnnotatorAgain, Forced, force, forced_rows, pooled_rows
from bcprobe.evaluation.metrics import row, score_table
from bcprobe.model.transformer import ClickTransformer
from bcprobe.results import Score
from bcprobe.rng import generator, split_seed
from bcprobe.tasks import TASKS
from bcprobe.types import Click

TASK = "colored_dot_tracking"
SEEDS = [split_seed("test", i) for i in range(20)]


@pytest.fixture(scope="module")
def forced() -> list[Forced]:
    return force(TASK, SEEDS)


def scores(rows: object) -> pd.Series:
    table = score_table(rows)  # type: ignore[arg-type]
    return table.set_index(["metric", "kind"])["estimate"]


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_wrong_click_makes_a_mistake_and_the_right_one_does_not(task: str) -> None:
    forced = force(task, SEEDS[:6])
    assert len(forced) >= 4
    for one in forced:
        assert stands_after(task, one.world_seed, one.wrong) == (False, True)
        assert stands_after(task, one.world_seed, one.right) == (False, False)


def stands_after(task: str, world_seed: int, clicks: tuple[Click, ...]) -> tuple[bool, bool]:
    """Whether a mistake stands before the last click, and after it."""
    simulator = open_world(task, world_seed)
    steps = [simulator.click(click) for click in clicks]
    now = simulator.task.latents(simulator.world, simulator.state)
    return steps[-1].latents.mistake, now.mistake


def test_the_same_seed_forces_the_same_mistakes(forced: list[Forced]) -> None:
    assert force(TASK, SEEDS) == forced
    assert force(TASK, SEEDS, 1) != forced


def test_twins_part_at_the_placement(forced: list[Forced]) -> None:
    for one in forced:
        assert one.wrong[:-1] == one.right[:-1]
        assert one.wrong[-1] != one.right[-1]


def test_annotator_undoes_them(forced: list[Forced]) -> None:
    again = AnnotatorAgain(TASK, [one.world_seed for one in forced])
    found = scores(forced_rows(again, forced))
    assert found["undone", ""] == 1
    assert found["undo_next", ""] >= 0.6
    assert found["undo_next_if_right", ""] == 0
    assert found["undo_delay", ""] < 2
    assert found["recovered", "10"] == 1
    assert found["recovered", "1"] == found["undo_next", ""]


def test_chance_does_not(forced: list[Forced]) -> None:
    for clicker in (RandomClicker(generator("test")), RepeatClicker()):
        found = scores(forced_rows(clicker, forced))
        assert found["undo_next", ""] < 0.3
        assert found["recovered", "5"] < 0.4


def test_a_model_is_led_and_let_go(forced: list[Forced], tiny: ClickTransformer) -> None:
    few = [one for one in forced if len(one.wrong) < 50][:3]
    found = scores(forced_rows(ModelPolicy(tiny), few))
    assert 0 <= found["undo_next", ""] <= 1
    assert found["recovered", "1"] <= found["recovered", "10"]


def test_no_worlds_no_scores() -> None:
    assert force(TASK, []) == []
    found = scores(forced_rows(RepeatClicker(), []))
    assert found.isna().all()


def test_forced_mistakes_of_several_tasks_are_taken_together() -> None:
    def told(task: str, policy: str, estimate: float, **more: float) -> dict[str, object]:
        score = Score(estimate, 0.0, 1.0, 4)
        return row(score, task=task, policy=policy, metric="undo_next", **more)

    rows = [
        told("a", "annotator", 0.5, temperature=float("nan")),
        told("b", "annotator", 1.0, temperature=float("nan")),
        told("a", "model", 0.25, temperature=1.0),
    ]
    found = {one["policy"]: one for one in pooled_rows(rows)}
    assert set(found) == {"annotator", "model"}
    assert (found["annotator"]["estimate"], found["annotator"]["n"]) == (0.75, 8)
    assert (found["model"]["estimate"], found["model"]["temperature"]) == (0.25, 1.0)
