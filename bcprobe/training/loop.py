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

from bcprobe.errors import InputError, Interrupted
from bcprobe.machine import keep_freed_memory, pick_device
from bcprobe.model.precision import pick_precision
from bcprobe.progress import Progress
from bcprobe.training.checkpointer import Checkpointer, write_checkpoint
from bcprobe.training.config import Experiment
from bcprobe.training.logs import Follower, LogError, check_log, open_log
from bcprobe.training.processes import Processes, join_processes
from bcprobe.training.run import Run, starting_weights
from bcprobe.training.saving import abandon_folder, claim_folder, load_state
from bcprobe.training.step import check_parts
from bcprobe.training.stream import HEARTBEAT, Stream, StreamError
from bcprobe.training.timebox import TimeBox, TimeBoxError

#: Signals that ask a run to save and stop.
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))


def train(
    experiment: Experiment,
    folder: Path | str,
    *,
    resume: bool = False,
    device: str = "auto",
    frames: int | None = None,
    minutes: float | None = None,
    elapsed: float = 0.0,
    start_from: str | None = None,
    workers: int = 1,
    threads: int | None = None,
    save_seconds: float = 300.0,
    progress: bool = True,
    accumulation: int | None = None,
    log: str = "none",
    precision: str = "auto",
) -> Path:
    """Train to the end and return the folder of the final checkpoint.

    ``frames`` changes the run's length. With ``minutes`` it ends after that time instead, over all
    sittings: the length of the schedule follows the speed seen, so that the learning rate is at
    its lowest in the last step, and everything is written before the time is up; ``elapsed``
    seconds of it are gone already. ``start_from`` is the checkpoint to start from (`Experiment`).
    ``workers`` processes make episodes; ``threads`` is torch's number on the CPU (None: what it is,
    or what the run began with; others add floats up in another order). ``save_seconds`` is the time
    between two saved states. ``accumulation`` is the number of parts in which a step's rows are
    worked through (None: 1, or what the run began with). ``precision`` is one of
    `bcprobe.model.precision.PRECISIONS` (auto: what the run began with, or what is fastest here).
    ``log`` is one of `bcprobe.training.logs.LOGS`.

    Started by ``accelerate launch``, the processes share each batch's rows; only the main one
    writes.

    The folder gets the checkpoint, ``training.parquet`` and ``validation.parquet``, saved
    steps under ``steps/`` and the state for resuming under ``resume/``. A resumed run ends, on
    the CPU, with the weights of one never stopped, bit for bit. Ctrl-C saves and
    raises ``KeyboardInterrupt``, SIGTERM and SIGUSR1 save and raise `bcprobe.errors.Interrupted`.

    Raises `InputError` for a folder, a start or a time it cannot have, `DivergedError` when the
    loss is no longer finite (the last good state is kept), `StreamError` when a data worker dies.
    """
    with _interruption() as interrupted:
        folder = Path(folder)
        if minutes is not None and not minutes > 0:
            raise InputError(f"minutes is {minutes:g}; it must be above 0")
        changes: dict[str, Any] = {"frames": frames, "minutes": minutes, "start_from": start_from}
        experiment = replace(experiment, **{k: v for k, v in changes.items() if v is not None})
        box = TimeBox(experiment.minutes, elapsed) if experiment.minutes else None
        _check_counts(workers=workers, threads=threads, accumulation=accumulation)
        check_log(log)
        on = torch.device(pick_device(device))
        processes = join_processes(on)
        check_parts(experiment.rows, processes.count, accumulation or 1)
        start = {} if resume else starting_weights(experiment)
        was_there = folder.exists()
        processes.main_first(lambda: claim_folder(folder, experiment, resume=resume))
        run = _open_run(experiment, folder, start, on, processes, threads, accumulation, precision)
        if run.finished and (folder / "config.json").exists():
            return folder
        if box is not None:
            box.before += run.used
        try:
            with (
                closing(
                    open_log(log if processes.main else "none", folder, experiment.name)
                ) as sends,
                Progress(experiment.frames, shown=progress and processes.main) as bar,
            ):
                follower = Follower(sends, {"train": run.training, "validation": run.validation})
                checkpointer = Checkpointer(run, folder, save_seconds)
                _loop(run, checkpointer, bar, follower, workers, interrupted, box)
        except (TimeBoxError, LogError):
            if not resume and processes.main:
                abandon_folder(folder, was_there=was_there)
            raise
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
    interrupted: Interruption,
    box: TimeBox | None,
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
            if not _learn(run, stream, checkpointer, interrupted, box):
                checkpointer.save()
                raise interrupted.error()
            checkpointer.after_step()
            bar.at(run.frames, run.summary(), total=run.planned)
            follower.look()
    checkpointer.save()


def _learn(
    run: Run,
    stream: Stream,
    checkpointer: Checkpointer,
    interrupted: Interruption,
    box: TimeBox | None,
) -> bool:
    """Take a batch and learn from it; false if there was a signal to stop in any process.

    If a process has no batch, all save before saying so.
    """
    waited, failure, taken = stream.waited, None, None
    try:
        while taken is None and not interrupted.number:
            taken = stream.take(HEARTBEAT)
    except StreamError as error:
        failure = error
    if run.processes.highest(failure is not None):
        checkpointer.save()
        raise failure or StreamError("a data worker of another process died")
    interrupted.number = run.processes.highest(interrupted.number)
    if interrupted.number or taken is None:
        return False
    if box is not None and run.step == 0:
        box.writing = sum(checkpointer.took.values())
        box.check(run.experiment.name)
    run.learn(*taken, stream.waited - waited)
    if box is not None:
        box.writing = sum(checkpointer.took.values())
        planned = box.plan(run.frames, run.experiment.batch_frames)
        run.planned = run.processes.highest(planned if run.processes.main else 0)
        run.used = box.used
    return True


class Interruption:
    """The first signal that asked to stop: its ``number``, 0 for none."""

    number = 0

    def error(self) -> BaseException:
        """What to raise once all is saved."""
        return KeyboardInterrupt() if self.number == signal.SIGINT else Interrupted(self.number)


@contextmanager
def _interruption() -> Iterator[Interruption]:
    """Notes the first signal that asks to stop, so that no step is cut in half; a second one cuts.

    Signals are Ctrl-C, SIGTERM (what ends a job) and SIGUSR1 (what a queue sends before it does).
    """
    found = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return

    def note(number: int, _: object) -> None:
        found.number = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield found
    finally:
        restore()
