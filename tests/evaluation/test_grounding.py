"""Offsets to targets are what can be counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.sequences import Predictions
from bcprobe.evaluation.grounding import grounding_rows
from bcprobe.evaluation.metrics import score_table
from bcprobe.evaluation.teacher_forced import PackedScreens, predict

PATCH = (40, 40)


class Shifted:
    """Predicts the clicks made, so many px to the right."""

    def __init__(self, dx: int) -> None:
        self.dx = dx

    def predict(self, sequence: PackedScreens) -> Predictions:
        clicks = sequence.clicks + np.array([self.dx, 0])
        return Predictions(clicks, np.zeros(len(clicks)))


@pytest.fixture(scope="module")
def episode(scripted: Callable[..., Episode]) -> Episode:
    return scripted("+z", (1, 0, 0), (1, 30, 0), "Undo", "Done")


def grounding(episode: Episode, dx: int) -> pd.Series:
    rows = grounding_rows(predict(Shifted(dx), [episode]), PATCH, task=episode.task)
    return score_table(rows).set_index(["metric", "kind"])["estimate"]


def test_clicks_on_the_target_have_no_offset(episode: Episode) -> None:
    found = grounding(episode, 0)
    assert (found["met"] == 1).all()
    assert (found["offset_px"] == 0).all()
    kinds = set(found["met"].index)
    assert kinds == {
        "all", "size point", "size over 32 px",
        "widget +z", "widget Undo", "widget Done", "widget canvas",
    }  # fmt: skip


def test_a_shift_is_measured_from_the_point_and_from_the_edge(episode: Episode) -> None:
    found = grounding(episode, 60)
    assert found["offset_px", "size point"] == 60  # one right placement; the mistake is no target
    assert found["offset_patches", "size point"] in (1, 2)
    assert found["met", "size point"] == 0
    assert found["met", "widget +z"] == 1  # the button is wider than that
    assert found["offset_px", "widget +z"] == 0


def test_the_shares_add_up_to_one(episode: Episode) -> None:
    for dx in (0, 7, 39, 100):
        found = grounding(episode, dx).unstack()
        parts = found.loc[["met", "same_patch", "one_patch", "farther", "other_widget"]]
        assert np.allclose(parts.sum(), 1)


def test_another_button_is_a_decision_and_no_offset(episode: Episode) -> None:
    made = predict(Shifted(0), [episode])
    undo = made.index[made["widget"] == "Undo"][0]
    done = made.index[made["widget"] == "Done"][0]
    made.loc[undo, ["x", "y"]] = made.loc[done, ["x", "y"]].to_numpy()
    made.loc[undo, ["hit", "elsewhere"]] = [False, True]
    found = score_table(grounding_rows(made, PATCH, task=episode.task))
    found = found.set_index(["metric", "kind"])["estimate"]
    assert found["other_widget", "widget Undo"] == 1
    assert np.isnan(found["offset_px", "widget Undo"])
    assert found["offset_px", "all"] == 0
