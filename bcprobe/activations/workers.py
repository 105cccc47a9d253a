"""Activations of sources, gathered by separate programs, one per core."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from bcprobe.activations.dataset import DONE, Activations, Gathered, Source, activations_of
from bcprobe.errors import InputError
from bcprobe.machine import cores
from bcprobe.model.registry import checkpoint_hash

#: One thread each, and huge pages, with which torch is a tenth faster.
_SETTINGS = {"OMP_NUM_THREADS": "1", "THP_MEM_ALLOC_ENABLE": "1"}
_MODULE = "bcprobe.activations.extract"
#: Programs at most; each takes about 0.7 GB.
MOST = 8

Process = subprocess.Popen[str]
#: Number of a program and a line of it; empty at its end.
Lines = SimpleQueue[tuple[int, str]]


def gather_sources(
    sources: Sequence[Source], *, workers: int | None = None, progress: bool = False
) -> Iterator[Activations]:
    """Activations of each source's checkpoint and of an untrained model of its shape, in order.

    Each worker (default: one a core, at most `MOST`) makes its share of every source's episodes,
    composes their frames and shows them to both models, on one thread. ``progress`` draws a bar
    on standard error.
    """
    count = min(workers or min(cores(), MOST), max(source.episodes for source in sources))
    total = sum(source.episodes for source in sources)
    with _bar(progress, total) as advance, tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}" for number in range(count)]
        _write_jobs(sources, paths)
        with _started(paths) as processes:
            lines, done = _follow(processes), [0] * count
            for number, source in enumerate(sources):
                while min(done) <= number:
                    worker, line = lines.get()
                    if line == DONE:
                        done[worker] += 1
                    elif line:
                        advance(int(line))
                    else:
                        unfinished = done[worker] < len(sources)
                        _check(processes[worker].wait(), paths[worker], unfinished=unfinished)
                yield _take(source, [Path(f"{path}.{number}") for path in paths])


def _write_jobs(sources: Sequence[Source], paths: Sequence[Path]) -> None:
    """A list of jobs per program: its share of each source, which may be nothing."""
    shares = [np.array_split(source.world_seeds, len(paths)) for source in sources]
    for path, own in zip(paths, zip(*shares, strict=True), strict=True):
        jobs = [_job(*job) for job in zip(sources, (part.tolist() for part in own), strict=True)]
        path.with_suffix(".json").write_text(json.dumps(jobs))


def _job(source: Source, world_seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "checkpoint": str(source.checkpoint.resolve()),
        "sites": list(source.sites),
        "task": source.task,
        "layout": source.layout,
        "difficulty": source.difficulty,
        "world_seeds": world_seeds,
        "untrained_seed": source.seed,
    }


def _take(source: Source, paths: Sequence[Path]) -> Activations:
    """What the programs made of a source; their files go."""
    there = [path for path in paths if path.exists()]
    parts = [pickle.loads(path.read_bytes()) for path in there]
    for path in there:
        path.unlink()
    return activations_of(_joined(parts), checkpoint=checkpoint_hash(source.checkpoint))


def _check(returncode: int, path: Path, *, unfinished: bool) -> None:
    """Raise if a program failed, or ended before its last job."""
    said = path.with_suffix(".log").read_text()
    if returncode == 2:
        raise InputError(said.strip().splitlines()[-1])
    if returncode or unfinished:
        raise RuntimeError(f"gathering activations ended with {returncode}:\n{said}")


@contextmanager
def _started(paths: Sequence[Path]) -> Iterator[list[Process]]:
    """A program per path; none is left running after the block."""
    processes = [_start(path) for path in paths]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start(path: Path) -> Process:
    found = os.pathsep.join(map(os.path.abspath, sys.path))
    with path.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", _MODULE, f"{path}.json", str(path)],
            env={**os.environ, **_SETTINGS, "PYTHONPATH": found},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _follow(processes: Sequence[Process]) -> Lines:
    """Where the programs' lines come as they are printed."""
    lines: Lines = SimpleQueue()
    for number, process in enumerate(processes):
        Thread(target=_read, args=(number, process, lines), daemon=True).start()
    return lines


def _read(number: int, process: Process, lines: Lines) -> None:
    if process.stdout is None:
        raise ValueError("the program's output is not piped")
    with process.stdout as printed:
        for line in printed:
            lines.put((number, line.strip()))
    lines.put((number, ""))


def _joined(parts: Sequence[Gathered]) -> Gathered:
    """The shares, in order, as if one had gathered them."""
    sites = tuple(
        {site: np.concatenate([part.sites[i][site] for part in parts]) for site in values}
        for i, values in enumerate(parts[0].sites)
    )
    episodes = tuple(episode for part in parts for episode in part.episodes)
    return Gathered(episodes, sites, np.concatenate([part.pixels for part in parts]))


@contextmanager
def _bar(shown: bool, total: int) -> Iterator[Callable[[int], None]]:
    """Something to tell of every finished episode; a bar on standard error if ``shown``."""
    if not shown:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("activations", total=total)
        yield lambda count: bar.advance(task, count)
