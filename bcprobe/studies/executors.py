"""Where runs are executed: processes of this machine, one per GPU or so many on the CPU; a cluster.

A run has a process of its own, which ends with it: one that dies, of too little memory say, takes
no other with it, its GPU's memory is free afterwards, and it can be stopped on its own.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from bcprobe.errors import InputError, check_name
from bcprobe.machine import cores
from bcprobe.parallel import Process
from bcprobe.studies.run import LOG, execute_by_name
from bcprobe.studies.study import StudyRun

#: Where runs are executed: here, on a cluster by submitit, or by submitit's stand-in for one.
CLUSTERS = ("here", "slurm", "local")
#: Most minutes that a cluster gives a run, and the cores it gets there.
MINUTES, CORES = 8 * 60, 8


class Executor(Protocol):
    """Executes runs, on several ``slots`` at a time."""

    slots: tuple[str, ...]

    def execute(self, study: str, folder: Path, run: StudyRun, slot: str) -> str:
        """Do the work of a run; why it failed, in one line, or empty."""
        ...

    def stop(self) -> None:
        """Tell the runs at work to save and end."""
        ...


def make_executor(cluster: str, jobs: int | None, folder: Path) -> Executor:
    """The executor of a study in ``folder``; raises `InputError` if it is not available."""
    check_name("cluster", cluster, CLUSTERS)
    return LocalExecutor(jobs) if cluster == "here" else ClusterExecutor(cluster, jobs, folder)


def gpus() -> tuple[str, ...]:
    """Names of the GPUs of this machine, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        return ()
    if named:
        return tuple(named.split(","))
    return tuple(map(str, range(torch.cuda.device_count())))


class LocalExecutor:
    """Processes of this machine: one per GPU, or one on the CPU; ``jobs`` in all if given.

    The cores are shared evenly; with more jobs than GPUs, several share one.
    """

    def __init__(self, jobs: int | None = None) -> None:
        devices = gpus() or ("",)
        count = jobs or len(devices)
        self.slots = tuple(f"{i}:{devices[i % len(devices)]}" for i in range(count))
        self.running: dict[str, Process] = {}
        self.stopped = False

    def execute(self, study: str, folder: Path, run: StudyRun, slot: str) -> str:
        """See `Executor`."""
        device = slot.partition(":")[2]
        threads = str(max(1, cores() // len(self.slots)))
        settings = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
        settings |= {"CUDA_VISIBLE_DEVICES": device} if device else {}
        process = self.running[slot] = Process(settings)
        if self.stopped:
            process.stop()
        try:
            return process.call(_execute_logged, study, str(folder))
        except OSError as error:
            return str(error)
        except KeyboardInterrupt:  # before the run began
            return "interrupted"
        finally:
            del self.running[slot]

    def stop(self) -> None:
        """See `Executor`."""
        self.stopped = True
        for process in list(self.running.values()):
            process.stop()


def _execute_logged(study: str, folder: str) -> str:
    """Execute a run in this process, which writes to the run's log from now on."""
    with (Path(folder) / LOG).open("w") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    try:
        execute_by_name(study, folder)
    except InputError as error:
        return str(error)
    except KeyboardInterrupt:
        return "interrupted"
    except Exception as error:
        traceback.print_exc()
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    return traceback.format_exception_only(error)[-1].strip().splitlines()[-1]


class ClusterExecutor:
    """Jobs of a cluster's own scheduler, through submitit; ``jobs`` at a time (default: all)."""

    def __init__(self, kind: str, jobs: int | None, folder: Path) -> None:
        try:
            submitit = import_module("submitit")
        except ImportError:
            raise InputError(
                'cluster needs the package submitit: pip install "bcprobe[slurm]"'
            ) from None
        try:
            self.scheduler = submitit.AutoExecutor(folder=folder / "jobs", cluster=kind)
        except RuntimeError as error:
            raise InputError(f"no cluster '{kind}' here: {str(error).splitlines()[0]}") from error
        gpus_each = {"gpus_per_node": 1} if kind == "slurm" else {}
        self.scheduler.update_parameters(timeout_min=MINUTES, cpus_per_task=CORES, **gpus_each)
        self.slots = tuple(map(str, range(jobs or 1000)))
        self.jobs: list[Any] = []

    def execute(self, study: str, folder: Path, run: StudyRun, slot: str) -> str:
        """See `Executor`."""
        self.scheduler.update_parameters(name=f"{study}-{run.name}"[:64])
        job = self.scheduler.submit(execute_by_name, study, str(folder.resolve()))
        self.jobs.append(job)
        try:
            job.result()
        except Exception as error:
            lines = [line for line in str(error).splitlines() if line.strip(" -")]
            return lines[-1].strip() if lines else type(error).__name__
        return ""

    def stop(self) -> None:
        """See `Executor`."""
        for job in self.jobs:
            job.cancel(check=False)
