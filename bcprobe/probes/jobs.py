"""Gathering activations in as many processes as there are cores, none of them this one.

Torch takes seconds to load and is needed only where a model runs; the processes do
(`bcprobe.probes.gather`), and this one keeps the count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import bcprobe
from bcprobe.errors import InputError, check_name
from bcprobe.gui.layouts import get_layout
from bcprobe.rng import SPLITS
from bcprobe.tasks import get_task

#: More processes than this gain little on one machine: each loads torch and a model.
MOST_PROCESSES = 8
#: Fewer episodes than this are not worth a process of their own.
FEWEST_EPISODES = 8


@dataclass(frozen=True)
class Worlds:
    """Episodes of the virtual annotator in the first ``count`` worlds of a split."""

    task: str
    count: int
    layout: str = "original"
    difficulty: str = "default"
    split: str = "test"

    def __post_init__(self) -> None:
        task = get_task(self.task)
        get_layout(self.layout)
        check_name("difficulty", self.difficulty, task.settings)
        check_name("split", self.split, SPLITS)
        if self.count < 1:
            raise InputError(f"episodes is {self.count}; it must be 1 or more")


@dataclass(frozen=True)
class Job:
    """Activations to gather: episodes ``first`` to ``last`` of some worlds or of a folder.

    Shards and episodes are written into ``folder`` under the number of the ``part``.
    """

    checkpoint: str
    sites: tuple[str, ...]
    untrained_seed: int
    device: str
    folder: str
    first: int
    last: int
    part: int = 0
    worlds: Worlds | None = None
    episodes: str | None = None


def spread(job: Job, processes: int) -> list[Job]:
    """Parts of about equal numbers of episodes, in order."""
    count = job.last - job.first
    parts = max(1, min(processes, count // FEWEST_EPISODES))
    edges = [job.first + count * i // parts for i in range(parts + 1)]
    return [
        Job(**{**vars(job), "first": edges[i], "last": edges[i + 1], "part": i})
        for i in range(parts)
    ]


def default_processes(device: str) -> int:
    """One process per core at hand, up to `MOST_PROCESSES`; one for a GPU."""
    if device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MOST_PROCESSES)


def run_here(job: Job, seen: Callable[[int], None]) -> None:
    """Do the job in this process."""
    from bcprobe.probes import gather

    gather.work(asdict(job), seen)


def run_apart(jobs: Sequence[Job], seen: Callable[[int], None]) -> None:
    """Do each job in a process of its own; ``seen(n)`` is told of every ``n`` more episodes.

    Raises `InputError` with the last line that a failing process wrote; the others end.
    """
    processes = [_start(job) for job in jobs]
    try:
        with ThreadPoolExecutor(len(processes)) as pool:
            watches = [pool.submit(_watch, process, seen) for process in processes]
            try:
                for watch in watches:
                    watch.result()
            except BaseException:
                _end(processes)
                raise
    finally:
        _end(processes)


def _start(job: Job) -> subprocess.Popen[str]:
    root = str(Path(bcprobe.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    huge_pages = {"THP_MEM_ALLOC_ENABLE": "1"}  # read by torch: fewer page faults
    return subprocess.Popen(
        [sys.executable, "-m", "bcprobe.probes.gather", json.dumps(asdict(job))],
        env={**os.environ, **one_thread, **huge_pages, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _watch(process: subprocess.Popen[str], seen: Callable[[int], None]) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        seen(int(line))
    said = process.stderr.read().strip().splitlines()
    if process.wait():
        reason = said[-1] if said else f"its process ended with {process.returncode}"
        raise InputError(reason if process.returncode == 2 else f"gathering failed: {reason}")


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None and not pipe.closed and process.poll() is not None:
                pipe.close()
