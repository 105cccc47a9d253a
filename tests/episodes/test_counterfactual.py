"""The same clicks in a world where the truth is another."""

from __future__ import annotations

import numpy as np
import pytest

from bcprobe.episodes.counterfactual import counterfactual, movable_steps
from bcprobe.episodes.record import frames, generate
from bcprobe.errors import InputError
from bcprobe.rng import split_seed
from bcprobe.tasks.counterfactual import exchangeable, movable


@pytest.mark.parametrize("task", movable())
def test_the_truth_moves_and_nothing_else_does(task: str) -> None:
    episode = generate(task, split_seed("test", 2))
    step = movable_steps(episode)[0]
    near, far = (counterfactual(episode, shift, step) for shift in (0.0, 24.0))
    clicks = [one.click for one in episode.steps[: step + 2]]
    for made in (near, far):
        assert [one.click for one in made.episode.steps] == clicks
        assert made.step == step
        assert len(made.episode) == step + 2
    assert not near.mistake
    assert far.mistake
    before = [one.latents.mistake for one in episode.steps[: step + 1]]
    assert [one.latents.mistake for one in far.episode.steps[:-1]] == before
    assert far.episode.steps[-1].latents.mistake_kind in ("spatial", "identity", "structural")
    shown, own = list(near.frames()), list(frames(episode))[: step + 2]
    assert np.array_equal(np.stack(shown), np.stack(own))
    changed = np.stack(list(far.frames()))
    assert not np.array_equal(changed, np.stack(own))
    marks = [one.action for one in far.episode.steps]
    assert marks == [one.action for one in episode.steps[: step + 2]]


def test_a_mistake_begins_at_the_tolerance() -> None:
    episode = generate("colored_dot_tracking", split_seed("test", 2))
    made = [counterfactual(episode, shift).mistake for shift in (0, 2, 9, 20)]
    assert made == [False, False, True, True]
    again = counterfactual(episode, 9)
    assert again.step == counterfactual(episode, 20).step


@pytest.mark.parametrize("task", exchangeable())
def test_classes_and_identities_are_exchanged(task: str) -> None:
    made = counterfactual(generate(task, split_seed("test", 3)), None)
    assert made.mistake
    assert made.episode.steps[-1].latents.mistake_kind in ("categorical", "identity")
    assert len(list(made.frames())) == len(made.episode)


def test_what_cannot_be_changed_is_said() -> None:
    dots = generate("colored_dot_tracking", split_seed("test", 2))
    with pytest.raises(InputError, match=r"nothing of this episode .* can be exchanged"):
        counterfactual(dots, None)
    with pytest.raises(InputError, match="shift is -1; use 0 px or more"):
        counterfactual(dots, -1)
    with pytest.raises(InputError, match="step 0 cannot be changed"):
        counterfactual(dots, 5, step=0)
    with pytest.raises(InputError, match="cannot be moved 900 px"):
        counterfactual(dots, 900)
