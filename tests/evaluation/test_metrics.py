"""Mistakes, corrections and kinds of clicks, counted on episodes made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from bcprobe.episodes.episode import Episode
from bcprobe.evaluation import metrics
from bcprobe.evaluation.metrics import (
    Mistake,
    kinds,
    mistakes,
    nested,
    row,
    score_table,
    step_table,
)
from bcprobe.results import Score

Make = Callable[..., Episode]


@pytest.fixture
def slips(scripted: Make) -> Episode:
    """One mistake undone at once, one undone after two looks, one left to stand."""
    return scripted(
        (0, 1, 0),
        "+z", (1, 20, 0), "Undo", (1, 0, 2),
        "+z", (2, 0, -20), "MIP", "MIP", "Undo", "Undo", (1, 0, 0),
        "+z", (3, 30, 0), "Done",
    )  # fmt: skip


def test_mistakes_are_found_with_their_undo(slips: Episode) -> None:
    assert mistakes(slips.steps) == (Mistake(2, 3, 3), Mistake(6, 9, 9), Mistake(11, None, None))
    assert [mistake.delay for mistake in mistakes(slips.steps)] == [0, 2, None]


def test_kinds_tell_right_mistaken_and_unjudged(scripted: Make) -> None:
    episode = scripted((0, 0, 0), (0, 9, 9), (0, 1, 1), "Undo", "Undo", "MIP", (0, 0, 0), "Done")
    assert kinds(episode.steps) == [
        "place_right", "place_mistaken", "place_unjudged", "undo", "undo",
        "view", "place_unjudged", "done",
    ]  # fmt: skip


def test_rates_by_hand(scripted: Make) -> None:
    first = scripted("+z", (1, 0, 0), "+z", (2, 20, 0), "Undo", (2, 0, 0), "Undo", "Done")
    second = scripted((0, 20, 0), "MIP", "MIP", "Undo", (0, 0, 0), "+z", (1, 0, 30), "Done")
    steps = step_table([first, second])
    expected = {
        metrics.error_undo_rate: 3 / 9,
        metrics.mistake_rate: 3 / 6,
        metrics.undone_placement_share: 2 / 6,
        metrics.correction_rate: 2 / 3,
        metrics.correction_delay: 1.0,
        metrics.needless_undo_rate: 1 / 3,
    }
    for rate, value in expected.items():
        score = rate(steps)
        assert score.estimate == pytest.approx(value), rate.__name__
        assert score.lower <= score.estimate <= score.upper


def test_a_clean_episode_has_no_corrections_to_rate(scripted: Make) -> None:
    steps = step_table([scripted((0, 0, 0), "Done")])
    assert metrics.mistake_rate(steps).estimate == 0
    assert math.isnan(metrics.correction_rate(steps).estimate)
    assert metrics.correction_delay(steps).n == 0


def test_intervals_are_over_episodes_not_clicks(scripted: Make) -> None:
    good = scripted(*["+z", "-z"] * 10)
    bad = scripted(*["-z"] * 20)
    steps = step_table([good, bad] * 10)
    score = metrics.share(steps, steps["valid"])
    assert score.estimate == pytest.approx(0.5)
    assert score.n == 400
    assert score.upper - score.lower > 0.3


def test_no_episodes_give_an_empty_table() -> None:
    steps = step_table([])
    assert len(steps) == 0
    assert steps["made"].dtype == bool


def test_table_and_json_hold_every_score() -> None:
    names = {"task": "dots", "section": "closed_loop"}
    rows = [
        row(Score(0.5, 0.25, 0.75, 8), metric="success", policy="model", temperature=0.5, **names),
        row(Score(math.nan, math.nan, math.nan, 0), metric="steps", policy="random", **names),
        row(Score(1.0, 1.0, 1.0, 3), metric="recovered", kind="5", policy="random", **names),
    ]
    table = score_table(rows)
    assert tuple(table.columns) == metrics.COLUMNS
    tree = nested(table)["dots"]["closed_loop"]
    assert tree["model T=0.5"]["success"] == {
        "estimate": 0.5,
        "lower": 0.25,
        "upper": 0.75,
        "n": 8,
    }
    assert tree["random"]["steps"]["estimate"] is None
    assert tree["random"]["recovered"]["5"]["n"] == 3
    json.dumps(tree, allow_nan=False)
    assert np.isnan(table["temperature"][1])
