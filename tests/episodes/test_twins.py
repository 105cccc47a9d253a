"""Twins differ in one click, and in whether a mistake stands after it."""

from __future__ import annotations

import pytest

from bcprobe.episodes.record import generate
from bcprobe.episodes.twins import placements, twin
from bcprobe.errors import InputError
from bcprobe.tasks import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_twins_differ_in_one_click_and_the_mistake_after_it(task: str) -> None:
    episode = generate(task, 1)
    steps = placements(episode)
    assert steps
    for step in (steps[0], steps[len(steps) // 2], steps[-1]):
        twins = twin(episode, step)
        assert twins.wrong
        for kind, wrong in twins.wrong.items():
            for made in (twins.right, wrong):
                assert len(made) == len(episode)
                others = [t for t, one in enumerate(made.steps) if t != step]
                assert all(made.steps[t].click == episode.steps[t].click for t in others)
                assert made.steps[:step] == episode.steps[:step]
            assert not twins.right.steps[step + 1].latents.mistake
            assert wrong.steps[step + 1].latents.mistake
            assert wrong.steps[step + 1].latents.mistake_kind == kind
        own = episode.steps[step].click
        assert own in {made.steps[step].click for made in (twins.right, *twins.wrong.values())}


def test_an_equal_seed_gives_equal_twins() -> None:
    episode = generate("colored_dot_tracking", 2)
    step = placements(episode)[3]
    assert twin(episode, step, seed=1) == twin(episode, step, seed=1)
    assert twin(episode, step, seed=1) != twin(episode, step, seed=2)


def test_steps_that_place_nothing_are_refused() -> None:
    episode = generate("colored_dot_tracking", 2)
    with pytest.raises(InputError, match="no placement"):
        twin(episode, 0)
    with pytest.raises(InputError, match="outside"):
        twin(episode, len(episode))
