"""Activations of a source, gathered by separate programs, one per core."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bcprobe.errors import InputError
from bcprobe.model.registry import checkpoint_hash
from bcprobe.probes.activations import Activations, Gathered, Source, activations_of

#: One thread each, and huge pages, with which torch is a tenth faster.
_SETTINGS = {"OMP_NUM_THREADS": "1", "THP_MEM_ALLOC_ENABLE": "1"}
_MODULE = "bcprobe.probes.gather"
WORKERS = 2


def gather_source(source: Source, *, workers: int = WORKERS, progress: bool = False) -> Activations:
    """Activations of the source's checkpoint and of an untrained model of its shape.

    Each worker makes its share of the episodes, composes their frames and shows them to
    both models, on one thread. ``progress`` draws a bar on standard error.
    """
    shares = np.array_split(source.world_seeds, min(workers, source.episodes))
    with _bar(progress, source.episodes) as advance, tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}" for number in range(len(shares))]
        for path, share in zip(paths, shares, strict=True):
            path.with_suffix(".json").write_text(json.dumps(_job(source, share.tolist())))
        _run(paths, advance)
        parts = [pickle.loads(path.read_bytes()) for path in paths]
    joined = _joined(parts)
    return activations_of(joined, checkpoint=checkpoint_hash(source.checkpoint))


def _job(source: Source, world_seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "checkpoint": str(source.checkpoint.resolve()),
        "sites": list(source.sites),
        "task": source.task,
        "layout": source.layout,
        "difficulty": source.difficulty,
        "world_seeds": list(world_seeds),
        "untrained_seed": source.seed,
    }


def _run(paths: Sequence[Path], advance: Callable[[int], None]) -> None:
    """Run a worker per path; if one fails, or we are interrupted, none is left running."""
    processes = [_start(path) for path in paths]
    with ThreadPoolExecutor(len(processes)) as pool, _ended(processes):
        list(pool.map(lambda process: _follow(process, advance), processes))
    for path, process in zip(paths, processes, strict=True):
        _check(process.returncode, path.with_suffix(".log").read_text())


def _check(returncode: int, said: str) -> None:
    if returncode == 2:
        raise InputError(said.strip().splitlines()[-1])
    if returncode:
        raise RuntimeError(f"gathering activations ended with {returncode}:\n{said}")


@contextmanager
def _ended(processes: Sequence[subprocess.Popen[str]]) -> Iterator[None]:
    """No process is left running after the block."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start(path: Path) -> subprocess.Popen[str]:
    found = os.pathsep.join(map(os.path.abspath, sys.path))
    with path.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", _MODULE, f"{path}.json", str(path)],
            env={**os.environ, **_SETTINGS, "PYTHONPATH": found},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _follow(process: subprocess.Popen[str], advance: Callable[[int], None]) -> None:
    """Tell of the worker's progress until it ends."""
    if process.stdout is None:
        raise ValueError("the worker's output is not piped")
    with process.stdout as lines:
        for line in lines:
            advance(int(line))
    process.wait()


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
