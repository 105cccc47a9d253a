"""The complexes, the views of them, and the rules of naming."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bcprobe.rng import generator
from bcprobe.tasks import get_task
from bcprobe.tasks.exploration_classification_3d import CLASSES, OBJECTS, VIEWS, State, World
from bcprobe.tasks.hexamer_drawing import CENTRE, HALF, camera, complex_points

TASK = get_task("3d_exploration_classification")


def sample(seed: int = 0, difficulty: str = "default") -> World:
    return TASK.sample(generator("test", seed), difficulty)


def press(world: World, state: State, *buttons: str) -> State:
    for button in buttons:
        state = TASK.press(world, state, button)
    return state


def ends(rise: float) -> tuple[float, float]:
    """Mean height of the points just left and just right of the seam, seen from the front."""
    points, _ = complex_points(18, rise, 60)
    x, y, depth = camera(0, 2) @ points.T
    front = depth > 0.4
    return float(y[front & (x < -0.1)].mean()), float(y[front & (x > 0.1)].mean())


def test_a_right_handed_spiral_ends_high_on_the_left_and_a_left_handed_one_on_the_right() -> None:
    assert ends(0.9)[0] > ends(0.9)[1] + 0.3
    assert ends(-0.9)[1] > ends(-0.9)[0] + 0.3


def test_an_open_ring_lacks_points_at_its_seam() -> None:
    for gap, clear in ((48, True), (0, False)):
        points, _ = complex_points(gap, 0.0, 60)
        angle = np.abs(np.rad2deg(np.arctan2(points[:, 1], points[:, 0])))
        assert (angle.min() > 12) == clear


def test_a_turn_changes_the_complex_and_leaves_the_pictures_of_the_classes() -> None:
    images = TASK.images(sample())
    assert len(images) == OBJECTS * VIEWS
    first, other = images[2].astype(int), images[12].astype(int)
    foot = CENTRE[1] + HALF
    assert (first[:foot] != other[:foot]).mean() > 0.02
    assert np.array_equal(first[foot:], other[foot:])


def test_twelve_turns_come_round_and_elevation_ends() -> None:
    world = sample()
    state = TASK.open(world)
    assert press(world, state, *["Right"] * 12) == state
    assert press(world, state, "Left", "Right") == state
    assert press(world, state, *["Up"] * 9).elevation == 4
    assert not TASK.states(world, press(world, state, *["Down"] * 9))[3].enabled


def test_all_classes_right_is_a_success_and_a_wrong_one_a_mistake() -> None:
    world = sample()
    state = TASK.open(world)
    for number, truth in enumerate(world.classes):
        wrong = press(world, state, CLASSES[(truth + 1) % 4])
        assert TASK.latents(world, wrong).mistake_kind == "categorical"
        assert press(world, wrong, "Undo") == state
        state = press(world, state, CLASSES[truth])
        assert TASK.latents(world, state).progress == pytest.approx((number + 1) / OBJECTS)
        state = press(world, state, "Next")
    assert TASK.score(world, press(world, state, "Done")).success


def test_undo_after_next_goes_back_to_the_object_as_it_was_named() -> None:
    world = sample()
    turned = press(world, TASK.open(world), "Right", "Right")
    gone_on = press(world, turned, "B", "Next", "Left")
    assert gone_on.index == 1
    assert press(world, gone_on, "Undo") == turned


def test_the_screen_tells_the_view() -> None:
    world = sample()
    state = replace(TASK.open(world), azimuth=3, elevation=0)
    assert dict(TASK.draw(world, state).status) == {
        "Object": "1/3", "Az": "090", "El": "-60", "Class": "-",
    }  # fmt: skip
    latents = TASK.latents(world, state)
    assert (latents.azimuth, latents.elevation) == (90, -60)
    assert TASK.phase(world, state, "Left") == "explore"
    assert TASK.phase(world, press(world, state, "A"), "Left") == "verify"
