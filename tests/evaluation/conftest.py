"""Hand-made episodes, and a model small enough to run at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bcprobe.episodes.clickers import ScriptClicker
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import open_world, work
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed
from bcprobe.types import Click

TASK = "colored_dot_tracking"
#: A button by name, or an offset (dx, dy) px from the dot of a slice: (slice, dx, dy).
Target = str | tuple[int, int, int]


@pytest.fixture(scope="session")
def scripted() -> Callable[..., Episode]:
    """Makes the episode in which the targets are clicked in turn, in test world 0."""
    simulator = open_world(TASK, split_seed("test", 0))
    names = [button.name for button in simulator.task.buttons]

    def aim(target: Target) -> Click:
        if isinstance(target, str):
            rect = simulator.arrangement.buttons[names.index(target)]
            return Click(rect.x + rect.width // 2, rect.y + rect.height // 2)
        z, dx, dy = target
        x, y = simulator.world.centres[z].round().astype(int)
        canvas = simulator.arrangement.canvas
        return Click(int(canvas.x + x + dx), int(canvas.y + y + dy))

    def make(*targets: Target, origin: str = "script") -> Episode:
        clicker = ScriptClicker([[aim(target) for target in targets]])
        seeds = [split_seed("test", 0)]
        return work(clicker, TASK, seeds, origin=origin, max_steps=len(targets))[0]

    return make


@pytest.fixture(scope="session")
def tiny() -> ClickTransformer:
    """An untrained ClickTransformer of two thin layers and three frames of context."""
    torch.manual_seed(0)
    stem = ((8, 6, 4), (5, 5, 8), (2, 3, 16))
    config = ClickTransformerConfig(d_model=16, n_layers=2, n_heads=2, stem=stem, context=3)
    return ClickTransformer(config)
