"""Mice that cross each other's paths, and the rules for marking them."""

from __future__ import annotations

import numpy as np

from bcprobe.rng import generator
from bcprobe.tasks import get_task
from bcprobe.tasks.animal_behavioral_tracking import ENDS, MICE, State, World
from bcprobe.tasks.arena_mice import APART, EDGE, LENGTH

TASK = get_task("animal_behavioral_tracking")


def sample(seed: int = 0, difficulty: str = "default") -> World:
    return TASK.sample(generator("test", seed), difficulty)


def put(world: World, state: State, mouse: int, end: int, at: tuple[int, int]) -> State:
    x, y = np.rint(world.ends[state.t, at[0], at[1]]).astype(int)
    chosen = TASK.press(world, TASK.press(world, state, MICE[mouse]), ENDS[end])
    return TASK.place(world, chosen, int(x), int(y))


def test_mice_keep_their_length_stay_inside_and_apart() -> None:
    for seed in range(40):
        world = sample(seed)
        lengths = np.hypot(*np.moveaxis(world.ends[:, :, 0] - world.ends[:, :, 1], -1, 0))
        assert np.allclose(lengths, LENGTH)
        assert world.ends.min() >= EDGE
        assert world.ends.max() <= 256 - EDGE
        for frame in world.ends:
            for a in range(world.mice.count):
                for b in range(a):
                    gaps = np.hypot(*np.moveaxis(frame[a][:, None] - frame[b], -1, 0))
                    assert gaps.min() >= APART


def test_two_or_three_mice_and_only_their_buttons_answer() -> None:
    worlds = [sample(seed) for seed in range(20)]
    assert {world.mice.count for world in worlds} == {2, 3}
    two = next(world for world in worlds if world.mice.count == 2)
    assert not TASK.states(two, TASK.open(two))[2].enabled
    assert TASK.press(two, TASK.open(two), "Mouse 3") == TASK.open(two)


def test_what_is_chosen_stays_chosen() -> None:
    world = sample()
    state = put(world, TASK.open(world), 1, 1, (1, 1))
    assert (state.mouse, state.end) == (1, 1)
    assert TASK.press(world, state, "+t").mouse == 1


def test_a_marker_on_another_end_or_mouse_is_an_identity_mistake() -> None:
    world = sample()
    for at in ((0, 1), (1, 0), (1, 1)):
        state = put(world, TASK.open(world), 0, 0, at)
        assert TASK.latents(world, state).mistake_kind == "identity"
    off = TASK.place(world, TASK.open(world), 3, 3)
    assert TASK.latents(world, off).mistake_kind == "spatial"


def test_the_first_frame_numbers_the_mice_and_later_ones_show_ghosts() -> None:
    world = sample()
    state = put(world, TASK.open(world), 0, 0, (0, 0))
    first = TASK.draw(world, state)
    assert [label.text for label in first.labels] == ["1", "2", "3"][: world.mice.count]
    later = TASK.draw(world, TASK.press(world, state, "+t"))
    assert [(mark.kind, label.text) for mark, label in zip(later.marks, later.labels, strict=True)
            ] == [("dot", "1")]  # fmt: skip
