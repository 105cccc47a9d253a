from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bcprobe.experiments import tiny
from bcprobe.training.config import Experiment
from bcprobe.training.loop import train


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def quick() -> Experiment:
    """Sixteen steps, validated three times."""
    return replace(tiny(), frames=256, first_save=128, validate_every=1 << 20)


@pytest.fixture(scope="session")
def whole(quick: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(quick, folder, threads=1, progress=False, device="cpu")
