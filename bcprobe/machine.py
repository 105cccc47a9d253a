"""What the machine offers."""

from __future__ import annotations

import ctypes
import os

#: Parameters of glibc's mallopt (malloc.h): freed memory returned, blocks mapped apart.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
#: The highest threshold there is; -1, the documented "never", left half of the faults.
_NEVER = 2**31 - 1


def cores() -> int:
    """Processors this process may use."""
    known = getattr(os, "sched_getaffinity", None)
    return len(known(0)) if known else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Keep what a step frees for the next one, instead of returning it to the system.

    Otherwise every step asks for its activations anew, page by page. Only with
    ``THP_MEM_ALLOC_ENABLE=1``, as ``bcprobe train`` sets it: without that alignment glibc 2.36
    finds no freed block again and the heap would grow. Where the C library is not glibc nothing
    changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and os.environ.get("THP_MEM_ALLOC_ENABLE") == "1":
        mallopt(_TRIM_THRESHOLD, _NEVER)
        mallopt(_MMAP_MAX, 0)
