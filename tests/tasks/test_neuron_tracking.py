"""The stack of micrographs and the rules of its annotation tool."""

from __future__ import annotations

import numpy as np
import pytest

from bcprobe.rng import generator
from bcprobe.tasks.neuron_tracking import SLICES, NeuronTracking, State, World

TASK = NeuronTracking()


@pytest.fixture(scope="module", params=["easy", "default", "hard"])
def world(request: pytest.FixtureRequest) -> World:
    return TASK.sample(generator("test", 1), request.param)


def mark_all(world: World) -> State:
    state = TASK.open(world)
    for x, y in np.rint(world.centres).astype(int).tolist():
        state = TASK.press(world, TASK.place(world, state, x, y), "+z")
    return state


def test_the_cell_to_follow_is_roomy_and_moves_on_the_canvas(world: World) -> None:
    assert world.slices == SLICES
    assert 16 < world.centres.min() < world.centres.max() < 240
    assert np.ptp(world.centres, axis=0).max() > 2
    for z, (x, y) in enumerate(np.rint(world.centres).astype(int)):
        for dx, dy in ((-4, 0), (4, 0), (0, -4), (0, 4)):
            state = TASK.place(world, State(z=z), int(x + dx), int(y + dy))
            assert not TASK.latents(world, state).mistake


def test_membranes_are_darker_than_the_insides_of_cells(world: World) -> None:
    assert world.gap is not None
    section = TASK.images(world)[5, ::2, ::2, 0].astype(float)
    inside, membrane = section[world.gap[5] > 48].mean(), section[world.gap[5] < 6].mean()
    assert membrane < inside - 25


def test_score_is_one_when_every_section_is_marked(world: World) -> None:
    full = mark_all(world)
    assert TASK.score(world, full).score == 1
    assert TASK.score(world, TASK.press(world, full, "Done")).success
    assert TASK.latents(world, full).progress == 1


def test_a_neighbouring_cell_is_a_mistake_until_it_is_undone(world: World) -> None:
    y, x = np.argwhere(world.cells[0] != world.target)[0] * 2
    off = TASK.place(world, TASK.open(world), int(x), int(y))
    assert TASK.latents(world, off).mistake_kind == "spatial"
    assert TASK.press(world, off, "Undo") == TASK.open(world)


def test_the_target_is_crossed_in_section_0_only(world: World) -> None:
    first, second = (TASK.draw(world, State(z=z, marks=((0, 9, 9),))) for z in (0, 1))
    assert [mark.kind for mark in first.marks] == ["cross", "ring"]
    assert [mark.kind for mark in second.marks] == ["dot"]
    assert dict(second.status) == {"Z": "01/23", "Points": "01", "Next": "01"}


def test_a_given_stack_is_shown_as_it_is_and_sets_the_number_of_sections() -> None:
    stack = np.arange(3 * 256 * 256, dtype=np.uint8).reshape(3, 256, 256)
    cells = np.zeros((3, 256, 256), dtype=np.int64)
    cells[:, 100:140, 90:130] = 7
    world = World(cells, 7, np.full((3, 2), 115.0), stack=stack)
    assert np.array_equal(TASK.images(world)[..., 2], stack)
    assert TASK.states(world, State(z=2))[0].enabled is False
    assert TASK.score(world, mark_all(world)).score == 1
