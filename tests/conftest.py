"""Settings of every test: one thread for torch, examples drawn the same way each time."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("bcprobe", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("bcprobe")
