"""The volume and the rules of its annotation tool."""

from __future__ import annotations

import numpy as np
import pytest

from bcprobe.rng import generator
from bcprobe.tasks import get_task
from bcprobe.tasks.colored_dot_tracking import BACKGROUND, SLICES, TOLERANCE, State, World
from bcprobe.tasks.curves import CURVES, along

TASK = get_task("colored_dot_tracking")


def sample(seed: int = 0, difficulty: str = "default") -> World:
    return TASK.sample(generator("test", seed), difficulty)


def mark_all(world: World, offset: float = 0.0) -> State:
    state = TASK.open(world)
    for z in range(SLICES):
        x, y = np.rint(world.centres[z] + [offset, 0])
        state = TASK.press(world, TASK.place(world, state, int(x), int(y)), "+z")
    return state


def test_there_are_24_curves_inside_the_unit_square() -> None:
    assert len(CURVES) == 24
    for name in CURVES:
        points = along(name, np.linspace(0, 1, 50))
        assert points.shape == (50, 2)
        assert np.abs(points).max() <= 1.5


def test_every_dot_lies_on_the_canvas_and_is_the_brightest_spot_of_its_slice() -> None:
    for seed in range(5):
        world = sample(seed, "easy")
        images = TASK.images(world)
        for z in range(SLICES):
            y, x = np.unravel_index(images[z].max(axis=2).argmax(), (256, 256))
            assert np.hypot(*(world.centres[z] - (x, y))) < TOLERANCE


def test_a_dot_shows_faintly_in_the_neighbouring_slice_only() -> None:
    world = sample(3, "easy")
    x, y = np.rint(world.centres[8]).astype(int)
    images = TASK.images(world).astype(int)
    own, near, far = (images[z, y, x].max() - BACKGROUND for z in (8, 9, 12))
    assert own > near > 5
    assert far < near


def test_the_projection_is_the_maximum_over_slices() -> None:
    images = TASK.images(sample(1))
    assert np.array_equal(images[SLICES], images[:SLICES].max(axis=0))


@pytest.mark.parametrize("difficulty", ["easy", "default", "hard"])
def test_harder_volumes_are_noisier(difficulty: str) -> None:
    world = sample(0, difficulty)
    corner = TASK.images(world)[0, :16, :16, 0]
    assert corner.std() == pytest.approx(TASK.settings[difficulty].noise, abs=1.5)


def test_score_is_zero_at_the_start_and_one_when_all_is_marked() -> None:
    world = sample()
    assert TASK.score(world, TASK.open(world)).score == 0
    full = mark_all(world)
    assert TASK.score(world, full).score == 1
    assert not TASK.score(world, full).success
    assert TASK.score(world, TASK.press(world, full, "Done")).success
    assert TASK.latents(world, full).progress == 1


def test_marks_beyond_the_tolerance_are_mistakes_and_do_not_count() -> None:
    world = sample()
    off = mark_all(world, offset=TOLERANCE + 2)
    assert TASK.score(world, off).score == 0
    assert TASK.latents(world, off).mistake
    assert TASK.latents(world, off).mistake_kind == "spatial"
    assert TASK.latents(world, off).progress == 0


def test_a_second_mark_in_a_slice_is_a_mistake_until_it_is_undone() -> None:
    world = sample()
    x, y = np.rint(world.centres[0]).astype(int)
    once = TASK.place(world, TASK.open(world), int(x), int(y))
    twice = TASK.place(world, once, int(x), int(y))
    assert not TASK.latents(world, once).mistake
    assert TASK.latents(world, twice).mistake
    assert TASK.press(world, twice, "Undo") == once


def test_the_projection_blocks_movement_and_marks() -> None:
    world = sample()
    mip = TASK.press(world, TASK.open(world), "MIP")
    assert TASK.press(world, mip, "+z") == mip
    assert TASK.place(world, mip, 100, 100) == mip
    assert [s.enabled for s in TASK.states(world, mip)] == [False, False, True, False, True]
    assert TASK.press(world, mip, "MIP") == TASK.open(world)


def test_the_stack_ends_at_both_ends() -> None:
    world = sample()
    state = TASK.open(world)
    assert TASK.press(world, state, "-z") == state
    for _ in range(SLICES + 3):
        state = TASK.press(world, state, "+z")
    assert state.z == SLICES - 1
    assert not TASK.states(world, state)[0].enabled


def test_view_shows_rings_in_the_own_slice_and_dots_elsewhere() -> None:
    world = sample()
    state = State(z=1, marks=((0, 10, 10), (1, 50, 60)))
    view = TASK.draw(world, state)
    assert [m.kind for m in view.marks] == ["dot", "ring"]
    assert dict(view.status) == {"Z": "01/15", "Points": "2"}
    projection = TASK.draw(world, State(mip=True, marks=((5, 1, 2), (0, 10, 10), (2, 50, 60))))
    assert [m.kind for m in projection.marks] == ["ring"] * 3
    assert [(s.x0, s.x1) for s in projection.strokes] == [(10, 50), (50, 1)]


@pytest.mark.parametrize(
    ("state", "button", "phase"),
    [
        (State(), "+z", "explore"),
        (State(), "MIP", "explore"),
        (State(), "canvas", "annotate"),
        (State(z=0, marks=((0, 0, 0),)), "Undo", "correct"),
        (State(z=0, marks=((0, 0, 0),)), "+z", "verify"),
        (State(), "Done", "finish"),
    ],
)
def test_phase_of_simple_states(state: State, button: str, phase: str) -> None:
    assert TASK.phase(sample(), state, button) == phase


def test_moving_towards_unmarked_slices_is_annotating_and_back_is_verifying() -> None:
    world = sample()
    marks = tuple((z, *(int(v) for v in np.rint(world.centres[z]))) for z in range(3))
    state = State(z=2, marks=marks)
    assert TASK.phase(world, state, "+z") == "annotate"
    assert TASK.phase(world, state, "-z") == "verify"
    assert TASK.phase(world, state, "MIP") == "verify"
