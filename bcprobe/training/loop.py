"""The training loop: on the CPU, on one GPU, or in many processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bcprobe.errors import InputError
from bcprobe.machine import keep_freed_memory, pick_device
from bcprobe.model.precision import pick_precision
from bcprobe.progress import Progress
from bcprobe.training.checkpointer import Checkpointer, write_checkpoint
from bcprobe.training.config import Experiment
from bcprobe.training.logs import Follower, check_log, open_log
from bcprobe.training.processes import Processes, join_processes
from bcprobe.training.run import Run, starting_weights
from bcprobe.training.saving import claim_folder, load_state
from bcprobe.training.step import check_parts
from bcprobe.training.stream import Stream, StreamError


def train(
    experiment: Experiment,
    folder: Path | str,
    *,
    resume: bool = False,
    device: str = "auto",
    frames: int | None = None,
    workers: int = 1,
    threads: int | None = None,
    save_seconds: float = 300.0,
    progress: bool = True,
    accumulation: int | None = None,
    log: str = "none",
    precision: str = "auto",
) -> Path:
    """Train to the end and return the folder of the final checkpoint.

    ``frames`` changes the run's length. ``workers`` processes make episodes; ``threads`` is
    torch's number on the CPU (None: what it is, or what the run began with; others add floats
    up in another order). ``save_seconds`` is the time between two saved states.
    ``accumulation`` is the number of parts in which a step's rows are worked through (None: 1,
    or what the run began with). ``precision`` is one of `bcprobe.model.precision.PRECISIONS`
    (auto: what the run began with, or what is fastest here). ``log`` is one of
    `bcprobe.training.logs.LOGS`.

    Started by ``accelerate launch``, the processes share each batch's rows; only the main one
    writes.

    The folder gets the checkpoint, ``training.parquet`` and ``validation.parquet``, saved
    steps under ``steps/`` and the state for resuming under ``resume/``. A resumed run ends, on
    the CPU, with the weights of one never stopped, bit for bit. Ctrl-C saves and raises
    ``KeyboardInterrupt``.

    Raises `InputError` for a folder or a start it cannot have, `DivergedError` when the loss is
    no longer finite (the last good state is kept), `StreamError` when a data worker dies.
    """
    folder = Path(folder)
    if frames is not None:
        experiment = replace(experiment, frames=frames)
    _check_counts(workers=workers, threads=threads, accumulation=accumulation)
    check_log(log)
    on = torch.device(pick_device(device))
    processes = join_processes(on)
    check_parts(experiment.rows, processes.count, accumulation or 1)
    start = {} if resume else starting_weights(experiment)
    processes.main_first(lambda: claim_folder(folder, experiment, resume=resume))
    run = _open_run(experiment, folder, start, on, processes, threads, accumulation, precision)
    if run.finished and (folder / "config.json").exists():
        return folder
    sends = open_log(log if processes.main else "none", folder, experiment.name)
    with (
        closing(sends),
        Progress(run.experiment.frames, shown=progress and processes.main) as bar,
        _interruption() as interrupted,
    ):
        follower = Follower(sends, {"train": run.training, "validation": run.validation})
        _loop(run, Checkpointer(run, folder, save_seconds), bar, follower, workers, interrupted)
    processes.main_first(lambda: write_checkpoint(run, folder))
    return folder


def _check_counts(**counts: int | None) -> None:
    """Raise `InputError` for a number below 1."""
    for name, number in counts.items():
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}; it must be 1 or more")


def _open_run(
    experiment: Experiment,
    folder: Path,
    start: dict[str, torch.Tensor],
    device: torch.device,
    processes: Processes,
    threads: int | None,
    accumulation: int | None,
    precision: str,
) -> Run:
    """The run where it was left off, or a new one from the weights ``start``, if there are any.

    One that is to be resumed but was never saved starts anew.
    """
    keep_freed_memory()
    saved = load_state(folder)
    values = {} if saved is None else saved.values
    threads = threads or values.get("threads")
    if threads is not None:
        torch.set_num_threads(int(threads))
    if precision == "auto":
        precision = values.get("precision", precision)
    parts, products = (
        accumulation or values.get("accumulation", 1),
        pick_precision(precision, device),
    )
    run = Run(experiment, device, processes, parts, products)
    if saved is not None:
        run.restore(saved)
    elif weights := start or starting_weights(experiment):
        run.model.load_state_dict(weights)
    return run


def _loop(
    run: Run,
    checkpointer: Checkpointer,
    bar: Progress,
    follower: Follower,
    workers: int,
    interrupted: threading.Event,
) -> None:
    data, rows, length = run.experiment.data, run.experiment.rows, run.experiment.row_length
    options: dict[str, Any] = {
        "workers": workers,
        "start": run.position,
        "device": run.device,
        "share": run.processes.rows(rows),
        "weights": run.experiment.weights,
        "cell": run.experiment.model.cell,
    }
    with Stream(data, rows, length, **options) as stream:
        checkpointer.after_step()
        while not run.finished:
            _learn(run, stream, checkpointer)
            checkpointer.after_step()
            bar.at(run.frames, run.summary())
            follower.look()
            if run.processes.highest(interrupted.is_set()):
                checkpointer.save()
                raise KeyboardInterrupt
    checkpointer.save()


def _learn(run: Run, stream: Stream, checkpointer: Checkpointer) -> None:
    """Take a batch and learn from it; if a process has none, all save before saying so."""
    waited, failure = stream.waited, None
    try:
        batch, after = next(stream)
    except StreamError as error:
        failure = error
    if run.processes.highest(failure is not None):
        checkpointer.save()
        raise failure or StreamError("a data worker of another process died")
    run.learn(batch, after, stream.waited - waited)


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Event set by the first Ctrl-C, so that no step is cut in half; a second one cuts."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
