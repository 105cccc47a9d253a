from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from bcprobe.experiments import tiny
from bcprobe.training.config import Experiment


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def quick() -> Experiment:
    """Sixteen steps, validated three times."""
    return replace(tiny(), frames=256, first_save=128, validate_every=1 << 20)
