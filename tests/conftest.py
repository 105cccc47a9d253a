"""Settings of every test: one thread for torch, examples drawn the same way each time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from bcprobe.activations.dataset import Activations, Source
    from bcprobe.model.transformer import ClickTransformer

os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("bcprobe", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("bcprobe")


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Hold torch to one thread, in tests that have it loaded; the others need not load it."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_model() -> ClickTransformer:
    import torch

    from bcprobe.model.config import ClickTransformerConfig
    from bcprobe.model.transformer import ClickTransformer

    torch.manual_seed(3)
    config = ClickTransformerConfig(
        d_model=16, n_layers=2, n_heads=2, stem=((40, 30, 8), (2, 3, 16)), context=3
    )
    return ClickTransformer(config).eval()


@pytest.fixture(scope="session")
def checkpoint(small_model: ClickTransformer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bcprobe.model.checkpoint import save_checkpoint

    return save_checkpoint(small_model, tmp_path_factory.mktemp("checkpoints") / "small")


@pytest.fixture(scope="session")
def source(checkpoint: Path) -> Source:
    from bcprobe.activations.dataset import make_source

    return make_source(checkpoint, "colored_dot_tracking", 6)


@pytest.fixture(scope="session")
def lone_source(checkpoint: Path) -> Source:
    """One episode, so that of two workers one has nothing to do."""
    from bcprobe.activations.dataset import make_source

    return make_source(checkpoint, "3d_exploration_classification", 1)


@pytest.fixture(scope="session")
def gathered_both(source: Source, lone_source: Source) -> list[Activations]:
    """What two processes made of two sources: the one time that torch starts in others."""
    from bcprobe.activations.gather import gather_sources

    return list(gather_sources([source, lone_source], workers=2))


@pytest.fixture(scope="session")
def gathered(gathered_both: list[Activations]) -> Activations:
    """What two workers made of the source."""
    return gathered_both[0]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BCPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


LENGTH = 40


def labels_of(episodes: int, rng: np.random.Generator, length: int = LENGTH) -> pd.DataFrame:
    """Episodes in which every third click places a mark, some mistaken.

    A mistake is taken back at once.
    """
    rows = []
    for episode in range(episodes):
        standing = 0
        for t in range(length + int(rng.integers(5))):
            placed = t > 0 and t % 3 == 0
            mistaken = placed and rng.random() < 0.3
            standing = 1 if mistaken else 0
            row = {
                "task": "colored_dot_tracking",
                "episode": episode,
                "world_seed": episode,
                "group": episode,
                "step": t,
                "position": t // 3 % 12,
                "progress": t / length,
                "phase": ("annotate", "verify")[standing > 0],
                "mistake": standing > 0,
                "mistake_kind": "spatial" if standing else "",
                "undo_next": standing == 1,
                "previous_action": "place" if placed else "navigate",
                "just_placed": placed,
                "previous_right": placed and standing == 0,
                "previous_mistaken": mistaken,
                "errable": (placed and t % 2 == 0) or mistaken,
                "click_x": 10 * (t % 7),
                "click_y": 10 * (t % 5),
                "placed_x": 10 * (t // 3 % 12),
                "placed_y": 40,
            }
            rows.append(row)
    from bcprobe.activations.labels import COLUMNS

    return pd.DataFrame(rows).reindex(columns=[*COLUMNS, "group"])


@pytest.fixture(scope="session")
def labels() -> pd.DataFrame:
    return labels_of(30, np.random.default_rng(0))


@pytest.fixture(scope="session")
def planted(labels: pd.DataFrame) -> Activations:
    """Three sites: noise; "just placed" along one direction; the mistake along another."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(len(labels), 12)).astype(np.float32)
    placed, mistake = noise.copy(), noise.copy()
    placed[:, 3] += 4 * labels["just_placed"].to_numpy()
    mistake[:, 5] += 4 * labels["mistake"].to_numpy()
    names = [f"blocks.{i}.hook_resid_post" for i in range(3)]
    values = dict(zip(names, (noise, placed, mistake), strict=True))
    untrained = {name: rng.normal(size=noise.shape).astype(np.float32) for name in names}
    pixels = rng.normal(size=(len(labels), 6)).astype(np.float32)
    hashes = {"checkpoint": "c" * 64, "episodes": "e" * 64}
    from bcprobe.activations.dataset import Activations

    return Activations(values, labels, (untrained,), pixels, hashes)


@pytest.fixture
def make_labels() -> Callable[..., pd.DataFrame]:
    return labels_of
