from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bcprobe.episodes.sequences import overlapping_rows
from bcprobe.experiments import tiny
from bcprobe.model.transformer import ClickTransformer
from bcprobe.training.validation import Validation, validation_set
from bcprobe.types import ACTIONS


@pytest.fixture(scope="module")
def validation() -> Validation:
    return Validation(replace(tiny(), validation_episodes=4))


@pytest.mark.parametrize(
    ("total", "length", "overlap"), [(50, 8, 3), (8, 8, 0), (5, 8, 7), (9, 8, 5)]
)
def test_every_frame_is_scored_once_and_with_its_context(
    total: int, length: int, overlap: int
) -> None:
    index, valid = overlapping_rows(total, length, overlap)
    assert sorted(index[valid]) == list(range(total))
    for row, counted in zip(index, valid, strict=True):
        for place in np.flatnonzero(counted):
            assert place >= min(overlap, row[place])


def test_held_out_annotators_have_the_manner_learned_from() -> None:
    plan = replace(tiny(), validation_episodes=2)
    made = []
    for manner in ("usual", "graded"):
        own = validation_set(replace(plan, data=replace(plan.data, manner=manner)))
        made.append([one.recording.clicks.tolist() for one in own])
    assert made[0] != made[1]


def test_half_of_the_episodes_hold_an_undo(validation: Validation) -> None:
    undo = ACTIONS.index("undo")
    assert [bool((w.recording.actions == undo).any()) for w in validation.watched] == [
        False, False, True, True,
    ]  # fmt: skip


class Oracle(ClickTransformer):
    """Answers with the recorded click, or with a wrong one."""

    def __init__(self, validation: Validation, wrong: bool) -> None:
        super().__init__(tiny().model)
        self.clicks, self.wrong = validation.sequence.clicks, wrong
        self.calls = 0
        self.index = validation.index
        self.rows = validation.rows

    def forward(self, frames: Tensor, previous: Tensor, segments: Tensor | None = None) -> Oracle:
        rows = np.arange(self.calls, self.calls + self.rows) % len(self.index)
        self.calls += self.rows
        self.answer = torch.from_numpy(self.clicks[self.index[rows]])
        return self

    def click_log_prob(self, xy: Tensor) -> Tensor:
        return torch.where((xy == self.answer).all(-1), -1.0, -9.0)

    def argmax(self) -> Tensor:
        return torch.zeros_like(self.answer) if self.wrong else self.answer


def test_the_annotators_own_clicks_score_full_marks(validation: Validation) -> None:
    found = validation.measure(Oracle(validation, wrong=False))
    assert found["loss"] == 1.0
    assert found["accuracy_button"] == found["accuracy_place"] == found["accuracy_undo"] == 1.0
    assert found["valid"] == 1.0
    assert found["n_done"] == 4
    assert found["n_place"] == 4 * 16
    assert np.isnan(found["accuracy_idle"])


def test_clicks_into_a_corner_score_nothing(validation: Validation) -> None:
    found = validation.measure(Oracle(validation, wrong=True))
    assert found["accuracy_button"] == found["accuracy_place"] == found["valid"] == 0.0


def test_measuring_leaves_the_model_as_it_was(validation: Validation) -> None:
    model = ClickTransformer(tiny().model).train()
    first, second = validation.measure(model), validation.measure(model)
    assert model.training
    assert all(first[name] == second[name] or np.isnan(first[name]) for name in first)
