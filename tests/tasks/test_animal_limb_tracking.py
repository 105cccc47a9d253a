"""The walking animal and the rules for its keypoints."""

from __future__ import annotations

import numpy as np
import pytest

from bcprobe.rng import generator
from bcprobe.tasks import get_task
from bcprobe.tasks.animal_limb_tracking import KEYPOINTS, TOLERANCE, State, World
from bcprobe.tasks.walking_animal import FRAMES, GROUND, PHASES, STANCE, skeleton

TASK = get_task("animal_limb_tracking")


def sample(seed: int = 0, difficulty: str = "default") -> World:
    return TASK.sample(generator("test", seed), difficulty)


def put(world: World, state: State, keypoint: int, at: int | None = None) -> State:
    x, y = np.rint(world.keypoints[state.t, keypoint if at is None else at]).astype(int)
    return TASK.place(world, TASK.press(world, state, KEYPOINTS[keypoint]), int(x), int(y))


@pytest.mark.parametrize("seed", range(4))
def test_feet_stand_on_the_ground_for_their_share_of_a_stride(seed: int) -> None:
    walk = sample(seed).walk
    heights = np.array([GROUND - skeleton(walk, t).legs[:2, 3, 1] for t in range(FRAMES)])
    phases = (walk.phase + walk.cadence * np.arange(FRAMES)[:, None] + (0.0, 0.25)) % 1
    assert np.allclose(heights[phases < STANCE], 0)
    assert (heights[(phases > STANCE + 0.05) & (phases < 0.95)] > 1).all()


@pytest.mark.parametrize("seed", range(4))
def test_standing_feet_do_not_slide(seed: int) -> None:
    walk = sample(seed).walk
    paws = np.stack([skeleton(walk, t).legs[:, 3, 0] for t in range(FRAMES)])
    phases = (walk.phase + walk.cadence * np.arange(FRAMES)[:, None] + PHASES) % 1
    standing = (phases[:-1] < phases[1:]) & (phases[1:] < STANCE)
    assert standing.any()
    assert np.allclose(np.diff(paws, axis=0)[standing], 0)


def test_far_paws_are_darker_than_near_ones() -> None:
    for seed in range(6):
        world = sample(seed, "easy")
        frames = TASK.images(world).astype(float).mean(axis=-1)
        near, far = (3, 2) if world.walk.facing > 0 else (2, 3)
        grey = {
            k: [frames[t, y, x] for t, (x, y) in enumerate(_shins(world, k))] for k in (near, far)
        }
        assert np.median(grey[near]) > np.median(grey[far]) + 10


def _shins(world: World, keypoint: int) -> list[tuple[int, int]]:
    """A pixel of each frame a little above a front paw."""
    leg = 1 if (world.walk.facing > 0) == (keypoint == 3) else 3
    joints = [skeleton(world.walk, t).legs[leg] for t in range(FRAMES)]
    return [tuple(np.rint(0.4 * j[2] + 0.6 * j[3]).astype(int)) for j in joints]


def test_the_near_side_is_the_animal_s_right_when_it_faces_right() -> None:
    worlds = [sample(seed) for seed in range(12)]
    assert {world.walk.facing for world in worlds} == {-1, 1}
    for world in worlds:
        near, far = (3, 2) if world.walk.facing > 0 else (2, 3)
        bones = skeleton(world.walk, 0)
        assert np.array_equal(world.keypoints[0, near], bones.legs[1, 3])
        assert np.array_equal(world.keypoints[0, far], bones.legs[3, 3])


def test_all_keypoints_stay_in_the_picture() -> None:
    for seed in range(60):
        keypoints = sample(seed).keypoints
        assert keypoints.min() > 6
        assert keypoints.max() < 250


def test_a_tab_is_ticked_and_stays_chosen() -> None:
    world = sample()
    state = put(world, TASK.open(world), 2)
    shown = TASK.states(world, state)
    assert [s.ticked for s in shown[:6]] == [False, False, True, False, False, False]
    assert shown[2].active
    assert not any(s.ticked for s in TASK.states(world, TASK.press(world, state, "+t"))[:6])


def test_a_keypoint_on_the_other_side_is_an_identity_mistake() -> None:
    world = next(
        w for w in map(sample, range(50))
        if np.hypot(*(w.keypoints[0, 2] - w.keypoints[0, 3])) > 2 * TOLERANCE
    )  # fmt: skip
    swapped = put(world, TASK.open(world), 2, at=3)
    assert TASK.latents(world, swapped).mistake_kind == "identity"
    off = TASK.place(world, TASK.open(world), 5, 5)
    assert TASK.latents(world, off).mistake_kind == "spatial"


def test_placing_again_moves_the_keypoint_and_undo_brings_it_back() -> None:
    world = sample()
    wrong = TASK.place(world, TASK.open(world), 5, 5)
    moved = put(world, wrong, 0)
    assert not TASK.latents(world, moved).mistake
    assert TASK.latents(world, moved).progress == pytest.approx(1 / 36)
    assert TASK.press(world, moved, "Undo").marks == wrong.marks
