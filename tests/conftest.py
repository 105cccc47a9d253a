"""Settings of every test: one thread for torch, examples drawn the same way each time."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("bcprobe", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("bcprobe")


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Hold torch to one thread, in tests that have it loaded; the others need not load it."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
