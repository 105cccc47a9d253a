"""Two channels, their beads, and the transform estimated from pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bcprobe.rng import generator
from bcprobe.tasks import get_task
from bcprobe.tasks.multichannel_image_alignment import (
    Pick,
    State,
    World,
    estimate,
    residual,
)
from bcprobe.tasks.rigid import fixed_point, kabsch, move, rotation

TASK = get_task("multichannel_image_alignment")


def sample(seed: int = 0, difficulty: str = "default") -> World:
    return TASK.sample(generator("test", seed), difficulty)


def pair(world: World, bead: int, other: int | None = None) -> tuple[Pick, Pick]:
    a = np.rint(world.first[bead]).astype(int)
    b = np.rint(world.second[bead if other is None else other]).astype(int)
    return Pick(1, int(a[0]), int(a[1])), Pick(2, int(b[0]), int(b[1]))


def paired(world: World) -> State:
    picks = [pick for bead in range(len(world.first)) for pick in pair(world, bead)]
    return State("Ch2", tuple(picks))


def test_kabsch_finds_the_transform_it_is_given() -> None:
    points = np.array([(10, 20), (200, 40), (90, 180), (30, 220)], dtype=float)
    there = points @ rotation(0.12).T + (7, -11)
    turn, shift = kabsch(
        tuple((*a, *b) for a, b in zip(points.tolist(), there.tolist(), strict=True))
    )
    assert math.atan2(turn[1, 0], turn[0, 0]) == pytest.approx(0.12)
    assert shift == pytest.approx([7, -11])


def test_an_overlay_shows_channel_2_where_channel_1_is() -> None:
    a, b, c, d, e, f = fixed_point(rotation(0.1), np.array([5.0, -3.0]))
    x, y = 100, 60
    wanted = rotation(0.1) @ (x, y) + (5, -3)
    assert ((a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16) == tuple(
        np.floor(wanted + 0.5).astype(int)
    )


@pytest.mark.parametrize("difficulty", ["easy", "default", "hard"])
def test_beads_lie_in_both_channels_within_shift_and_turn(difficulty: str) -> None:
    for seed in range(10):
        world = sample(seed, difficulty)
        assert 3 <= len(world.first) <= 5
        assert np.allclose(world.second, move(world.first, world.turn, world.shift))
        assert world.second.min() >= 16
        assert np.hypot(*world.shift) <= 40
        assert abs(math.degrees(world.turn)) <= 8


def test_a_bead_is_a_bright_spot_of_both_channels() -> None:
    world = sample(2, "easy")
    images = TASK.images(world)
    for channel, beads in ((0, world.first), (1, world.second)):
        for x, y in np.rint(beads).astype(int):
            assert images[channel, y, x, 0] > 150


def test_align_waits_for_three_pairs_and_undo_takes_it_back() -> None:
    world = sample()
    state = paired(world)
    assert not TASK.states(world, State("Ch2", state.picks[:4]))[3].enabled
    aligned = TASK.press(world, state, "Align")
    assert aligned.aligned
    assert residual(world, aligned) < 1.5
    assert TASK.score(world, aligned).score == 1
    assert TASK.latents(world, aligned).progress == 1
    assert TASK.press(world, aligned, "Undo") == state
    assert TASK.place(world, TASK.press(world, aligned, "Ch1"), 9, 9).picks == aligned.picks


def test_points_go_to_the_channel_that_is_due() -> None:
    world = sample()
    first, second = pair(world, 0)
    state = TASK.place(world, TASK.open(world), first.x, first.y)
    assert TASK.place(world, state, 50, 50) == state
    shown = TASK.press(world, state, "Ch2")
    assert TASK.draw(world, shown).marks[-1].kind == "cross"
    assert TASK.place(world, shown, second.x, second.y).picks == (first, second)


def test_a_partner_on_another_bead_is_a_spatial_mistake() -> None:
    world = sample()
    state = State("Ch2", pair(world, 0, other=1))
    assert TASK.latents(world, state).mistake_kind == "spatial"
    assert TASK.latents(world, State("Ch1", (Pick(1, 2, 2),))).mistake
    assert not TASK.latents(world, State("Ch2", pair(world, 0))).mistake


def test_the_estimate_moves_the_overlay() -> None:
    world = sample()
    state = TASK.press(world, TASK.press(world, paired(world), "Align"), "Overlay")
    view = TASK.draw(world, state)
    assert view.overlay is not None
    assert view.overlay.matrix == fixed_point(*estimate(state))
    assert TASK.draw(world, State("Overlay")).overlay.matrix[:2] == (65536, 0)
