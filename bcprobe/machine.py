"""What the machine offers."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bcprobe.errors import InputError, at_least_one

#: Parameters of glibc's mallopt (malloc.h): freed memory returned, blocks mapped apart.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
#: The highest threshold there is; -1, the documented "never", left half of the faults.
_NEVER = 2**31 - 1


#: Files that a Linux machine with a GPU has; where none is there torch need not be asked.
_GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")


#: Environment variable with the most cores to use; programs started from here keep to it.
CORES = "BCPROBE_CORES"


def cores() -> int:
    """Processors this process may use: those it is given, at most ``BCPROBE_CORES``."""
    known = getattr(os, "sched_getaffinity", None)
    given = len(known(0)) if known else os.cpu_count() or 1
    most = os.environ.get(CORES, "")
    return min(given, int(most)) if most.isdecimal() and int(most) else given


def use_cores(most: int | None) -> None:
    """Use no more cores than that from here on: threads and processes; None: all there are.

    Raises `InputError` for numbers below 1.
    """
    if most is None:
        return
    os.environ[CORES] = os.environ["OMP_NUM_THREADS"] = str(at_least_one("threads", most))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(min(cores(), most))


def free_memory() -> int:
    """Bytes of memory that are free here; very many where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 1 << 62


def pick_device(name: str = "auto") -> str:
    """Name of the device to compute on: itself, or for ``auto`` a GPU if there is one.

    A process of `torchrun` takes its own GPU. Torch is loaded only where there may be one.
    Raises `InputError` for a device that is not there.
    """
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    there: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if name == "auto":
        name = "cuda" if there["cuda"]() else "cpu"
    kind = name.partition(":")[0]
    if kind not in (*there, "cpu", "meta"):
        raise InputError(f"unknown device '{name}'; use auto, cpu, cuda or mps")
    if kind in there and not there[kind]():
        raise InputError(f"no device '{name}' here; use cpu")
    try:
        index = torch.device(name).index or 0
    except RuntimeError:
        raise InputError(f"unknown device '{name}'; number GPUs as in cuda:0") from None
    if kind == "cuda" and index >= torch.cuda.device_count():
        raise InputError(f"no device '{name}' here; cuda:0 to {torch.cuda.device_count() - 1}")
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name


def _may_have_gpu() -> bool:
    return not sys.platform.startswith("linux") or any(Path(file).exists() for file in _GPU_FILES)


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
