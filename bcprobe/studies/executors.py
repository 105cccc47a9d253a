"""Where members work: processes of this machine, one per GPU or so many on the CPU; a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from bcprobe.errors import InputError, check_name
from bcprobe.machine import cores
from bcprobe.studies.run import LOG, perform_by_name
from bcprobe.studies.study import Member

#: Where members run: here, on a cluster by submitit, or by submitit's stand-in for one.
CLUSTERS = ("here", "slurm", "local")
#: Most minutes that a cluster gives a member, and cores that it gets there.
MINUTES, CORES = 8 * 60, 8
Process = subprocess.Popen[bytes]


class Place(Protocol):
    """Somewhere to work, on several ``slots`` at a time."""

    slots: tuple[str, ...]

    def work(self, study: str, folder: Path, member: Member, slot: str) -> str:
        """Do a member's work; why it failed, in one line, or empty."""
        ...

    def stop(self) -> None:
        """Tell those at work to save and end."""
        ...


def make_place(cluster: str, jobs: int | None, folder: Path) -> Place:
    """The place for a sweep in ``folder``; raises `InputError` if it is not to be had."""
    check_name("cluster", cluster, CLUSTERS)
    return Here(jobs) if cluster == "here" else Cluster(cluster, jobs, folder)


def gpus() -> tuple[str, ...]:
    """Names of the GPUs here, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        return ()
    if named:
        return tuple(named.split(","))
    return tuple(map(str, range(torch.cuda.device_count())))


class Here:
    """Processes of this machine: one per GPU, or one on the CPU; ``jobs`` in all if given.

    The cores are shared evenly; more jobs than GPUs share those.
    """

    def __init__(self, jobs: int | None = None) -> None:
        devices = gpus() or ("",)
        count = jobs or len(devices)
        self.slots = tuple(f"{i}:{devices[i % len(devices)]}" for i in range(count))
        self.running: dict[str, Process] = {}
        self.stopped = False

    def work(self, study: str, folder: Path, member: Member, slot: str) -> str:
        """See `Place`."""
        with (folder / LOG).open("w") as log:
            process = self._start(study, folder, slot, log)
            self.running[slot] = process
            if self.stopped:
                self._end(process)
            code = process.wait()
            self._end(process)
        return "" if code == 0 else _reason(code, (folder / LOG).read_text())

    def _start(self, study: str, folder: Path, slot: str, log: Any) -> Process:
        found = os.pathsep.join(map(os.path.abspath, sys.path))
        device = slot.partition(":")[2]
        settings = {
            "PYTHONPATH": found,
            **({"CUDA_VISIBLE_DEVICES": device} if device else {}),
        }
        usual = {
            "OMP_NUM_THREADS": str(max(1, cores() // len(self.slots))),
            "THP_MEM_ALLOC_ENABLE": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "bcprobe.studies.run", study, str(folder)],
            env={**usual, **os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def stop(self) -> None:
        """See `Place`."""
        self.stopped = True
        for process in self.running.values():
            self._end(process)

    def _end(self, process: Process) -> None:
        if process.stdin is not None:
            process.stdin.close()


def _reason(code: int, said: str) -> str:
    lines = said.strip().splitlines()
    if code == 130:
        return "interrupted"
    return lines[-1] if lines else f"ended with {code}"


class Cluster:
    """Jobs of a cluster's own scheduler, through submitit; ``jobs`` at a time (default: all)."""

    def __init__(self, kind: str, jobs: int | None, folder: Path) -> None:
        try:
            submitit = import_module("submitit")
        except ImportError:
            raise InputError(
                'cluster needs the package submitit: pip install "bcprobe[slurm]"'
            ) from None
        try:
            self.executor = submitit.AutoExecutor(folder=folder / "jobs", cluster=kind)
        except RuntimeError as error:
            raise InputError(f"no cluster '{kind}' here: {str(error).splitlines()[0]}") from error
        gpus_each = {"gpus_per_node": 1} if kind == "slurm" else {}
        self.executor.update_parameters(timeout_min=MINUTES, cpus_per_task=CORES, **gpus_each)
        self.slots = tuple(map(str, range(jobs or 1000)))
        self.jobs: list[Any] = []

    def work(self, study: str, folder: Path, member: Member, slot: str) -> str:
        """See `Place`."""
        self.executor.update_parameters(name=f"{study}-{member.name}"[:64])
        job = self.executor.submit(perform_by_name, study, str(folder.resolve()))
        self.jobs.append(job)
        return _outcome(job.result)

    def stop(self) -> None:
        """See `Place`."""
        for job in self.jobs:
            job.cancel(check=False)


def _outcome(result: Callable[[], None]) -> str:
    """Why a job failed, or empty; whatever it raised is told, not raised."""
    try:
        result()
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip(" -")]
        return lines[-1].strip() if lines else type(error).__name__
    return ""
