"""What the machine offers."""

from __future__ import annotations

import os


def cores() -> int:
    """Processors this process may use."""
    known = getattr(os, "sched_getaffinity", None)
    return len(known(0)) if known else os.cpu_count() or 1
