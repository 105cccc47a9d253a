"""The sheet of shapes and the rules for joining them."""

from __future__ import annotations

import numpy as np
import pytest

from bcprobe.rng import generator
from bcprobe.tasks import get_task
from bcprobe.tasks.shape_matching import OUTLINES, State, World, place_of

TASK = get_task("shape_matching")


def sample(seed: int = 0, difficulty: str = "default") -> World:
    return TASK.sample(generator("test", seed), difficulty)


def pick(world: World, state: State, *, candidate: bool, index: int) -> State:
    return TASK.place(world, state, *place_of(candidate, index))


def test_an_outline_then_its_candidate_make_a_pair() -> None:
    world = sample()
    state = pick(world, TASK.open(world), candidate=False, index=2)
    assert state.picked == 2
    assert pick(world, state, candidate=False, index=1) == state
    state = pick(world, state, candidate=True, index=world.match[2])
    assert state.pairs == ((2, world.match[2]),)
    assert TASK.latents(world, state).progress == 1 / OUTLINES
    assert pick(world, state, candidate=False, index=2) == state


def test_a_line_between_different_shapes_is_an_identity_mistake() -> None:
    world = sample()
    state = pick(world, TASK.open(world), candidate=False, index=0)
    wrong = next(j for j in range(5) if j != world.match[0])
    state = pick(world, state, candidate=True, index=wrong)
    latents = TASK.latents(world, state)
    assert (latents.mistake, latents.mistake_kind, latents.progress) == (True, "identity", 0)
    assert TASK.press(world, state, "Undo").picked == 0


@pytest.mark.parametrize("difficulty", ["easy", "default", "hard"])
def test_a_candidate_is_the_turned_outline_and_one_fits_none(difficulty: str) -> None:
    for seed in range(5):
        world = sample(seed, difficulty)
        assert sorted(world.match) == sorted(set(world.match))
        assert [world.order[j] for j in world.match] == list(range(OUTLINES))
        assert np.abs(world.turns).max() <= world.settings.turn
        assert np.hypot(*np.moveaxis(world.shapes, -1, 0)).max() < 24


def test_a_line_joins_each_pair_on_the_screen() -> None:
    world = sample()
    state = State(picks=(0, world.match[0], 1))
    view = TASK.draw(world, state)
    assert len(view.strokes) == 1
    assert [mark.kind for mark in view.marks] == ["dot", "dot", "ring"]
    assert dict(view.status) == {"Pairs": "1/4", "Pick": "match"}
