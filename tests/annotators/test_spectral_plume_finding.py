"""The annotator of plumes: its sweep, its outline, and its mistakes."""

from __future__ import annotations

import numpy as np

from bcprobe.annotators.spectral_plume_finding import OFF, TILE, mistake_tiles
from bcprobe.episodes.record import generate, open_world
from bcprobe.tasks.plume_drawing import BANDS
from bcprobe.tasks.spectral_plume_finding import CLEAREST, TOLERANCE

NAME = "spectral_plume_finding"


def test_it_sweeps_all_bands_and_outlines_in_the_clearest() -> None:
    for seed in range(10):
        world = open_world(NAME, seed).world
        steps = generate(NAME, seed).steps
        assert [step.widget for step in steps[: BANDS - 1]] == ["+band"] * (BANDS - 1)
        bands = {step.latents.position for step in steps if step.action == "place"}
        assert bands == {CLEAREST[world.gas]}


def test_an_outline_without_mistakes_has_six_to_ten_vertices() -> None:
    for seed in range(30):
        episode = generate(NAME, seed)
        if episode.persona["error_rate"] == 0:
            placed = sum(step.action == "place" for step in episode.steps)
            assert 6 <= placed <= 10
            assert episode.outcome.counts["iou"] > 0.75


def test_mistaken_vertices_lie_clearly_off_the_rim() -> None:
    for seed in range(10):
        world = open_world(NAME, seed).world
        tiles = mistake_tiles(world, *world.rim[0])
        assert len(tiles)
        corners = (tiles[:, None] + [[0, 0], [TILE, 0], [0, TILE], [TILE, TILE]]).reshape(-1, 1, 2)
        away = np.hypot(*np.moveaxis(corners - world.rim, -1, 0)).min(axis=1)
        assert away.min() > OFF - TILE > 1.8 * TOLERANCE
