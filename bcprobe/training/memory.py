"""How this process holds on to memory between steps."""

from __future__ import annotations

import ctypes

#: Parameters of glibc's mallopt (malloc.h): freed memory returned, blocks mapped apart.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Keep what a step frees for the next one, instead of returning it to the system.

    Otherwise every step asks for its activations anew, page by page: a quarter of a CPU
    step's time (``benchmarks/training.md``). Where the C library is not glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, -1)
        mallopt(_MMAP_MAX, 0)
