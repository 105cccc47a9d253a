"""The scene and its plume, and the rules of outlining."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bcprobe.rng import generator
from bcprobe.tasks import get_task
from bcprobe.tasks.plume_drawing import BANDS, filled
from bcprobe.tasks.spectral_plume_finding import ABSORPTION, CLEAREST, State, World

TASK = get_task("spectral_plume_finding")


def sample(seed: int = 0, difficulty: str = "default") -> World:
    return TASK.sample(generator("test", seed), difficulty)


def outlined(world: World, closed: bool = True, gas: str = "") -> State:
    picks = np.rint(np.arange(world.count) * len(world.rim) / world.count).astype(int)
    vertices = tuple((int(x), int(y)) for x, y in np.rint(world.rim[picks]))
    return State(vertices=vertices, closed=closed, gas=gas)


def test_an_outline_is_filled_exactly() -> None:
    square = np.array([[10, 20], [30, 20], [30, 50], [10, 50]], dtype=float)
    mask = filled(square)
    assert mask.sum() == 20 * 30
    assert mask[20:50, 10:30].all()


def test_the_plume_darkens_its_bands_only_and_two_to_four_of_them() -> None:
    for seed in range(6):
        world = sample(seed, "easy")
        ratios = TASK.images(world)[BANDS:].mean(axis=3)
        inside = filled(world.rim)
        contrast = [ratio[~inside].mean() - ratio[inside].mean() for ratio in ratios]
        depths = np.array(ABSORPTION[world.gas])
        assert 2 <= (depths > 0).sum() <= 4
        assert int(np.argmax(contrast)) == CLEAREST[world.gas]
        assert min(np.array(contrast)[depths > 0]) > max(np.array(contrast)[depths == 0])


def test_the_rim_runs_clockwise_from_the_top_at_equal_steps() -> None:
    for seed in range(10):
        rim = sample(seed).rim
        on = np.roll(rim, -1, axis=0)
        assert (rim[:, 0] * on[:, 1] - rim[:, 1] * on[:, 0]).sum() > 0
        assert rim[:, 1].argmin() == 0
        assert np.hypot(*(on - rim).T).max() < 3


def test_a_right_outline_and_gas_score_one() -> None:
    for seed in range(10):
        world = sample(seed)
        state = replace(outlined(world, gas=world.gas), done=True)
        outcome = TASK.score(world, state)
        assert outcome.success
        assert outcome.counts["iou"] > 0.78
        latents = TASK.latents(world, state)
        assert (latents.progress, latents.mistake) == (1, False)


def test_the_wrong_gas_is_categorical_and_a_vertex_off_the_rim_spatial() -> None:
    world = sample()
    wrong = next(gas for gas in "ABC" if gas != world.gas)
    assert TASK.latents(world, outlined(world, gas=wrong)).mistake_kind == "categorical"
    off = State(vertices=((2, 2),))
    assert TASK.latents(world, off).mistake_kind == "spatial"


def test_vertices_out_of_turn_and_an_outline_closed_too_soon_are_mistakes() -> None:
    world = sample()
    right = outlined(world, closed=False).vertices
    assert not TASK.latents(world, State(vertices=right[:3])).mistake
    assert TASK.latents(world, State(vertices=right[:1] + right[2:0:-1])).mistake
    early = replace(State(vertices=right[:-2]), closed=True)
    assert TASK.latents(world, early).mistake


def test_undo_takes_back_gas_closing_and_vertices_in_turn() -> None:
    world = sample()
    state = outlined(world, closed=False)
    closed = TASK.press(world, state, "Close")
    named = TASK.press(world, closed, "Gas B")
    assert TASK.place(world, closed, 5, 5) == closed
    assert TASK.press(world, state, "Gas B") == state
    for expected in (closed, state, replace(state, vertices=state.vertices[:-1])):
        named = TASK.press(world, named, "Undo")
        assert named == expected


@pytest.mark.parametrize("ratio", [False, True])
def test_the_screen_tells_the_band_and_the_bands_of_each_gas(ratio: bool) -> None:
    view = TASK.draw(sample(), State(band=4, ratio=ratio))
    assert view.image == 4 + BANDS * ratio
    assert dict(view.status)["Band"] == "05/12"
    assert all(f"{gas} 0" in view.labels[0].text for gas in ABSORPTION)
