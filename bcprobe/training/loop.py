"""The training loop, on the CPU or one GPU."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from bcprobe.errors import InputError
from bcprobe.training.config import Experiment
from bcprobe.training.keeper import Keeper, write_checkpoint
from bcprobe.training.progress import Progress
from bcprobe.training.run import Run
from bcprobe.training.saving import claim_folder, load_state
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
) -> Path:
    """Train to the end and return the folder of the final checkpoint.

    ``frames`` changes the run's length. ``workers`` processes make episodes; ``threads`` is
    torch's number on the CPU (None: what it is, or what the run began with; others add floats
    up in another order). ``save_seconds`` is the time between two saved states.

    The folder gets the checkpoint, ``training.parquet`` and ``validation.parquet``, saved
    steps under ``steps/`` and the state for resuming under ``resume/``. A resumed run ends, on
    the CPU, with the weights of one never stopped, bit for bit. Ctrl-C saves and raises
    ``KeyboardInterrupt``.

    Raises `InputError` for a folder it cannot have, `DivergedError` when the loss is no longer
    finite (the last good state is kept), `StreamError` when a data worker dies.
    """
    folder = Path(folder)
    if frames is not None:
        experiment = replace(experiment, frames=frames)
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}; it must be 1 or more")
    on = pick_device(device)
    claim_folder(folder, experiment, resume=resume)
    run = _open_run(experiment, folder, on, threads)
    if run.finished and (folder / "config.json").exists():
        return folder
    keeper = Keeper(run, folder, save_seconds)
    with Progress(run, shown=progress) as bar, _interruption() as interrupted:
        _loop(run, keeper, bar, workers, interrupted)
    write_checkpoint(run, folder)
    return folder


def _open_run(
    experiment: Experiment, folder: Path, device: torch.device, threads: int | None
) -> Run:
    """The run where it was left off, or a new one."""
    saved = load_state(folder)
    if threads is None and saved is not None:
        threads = int(saved.values["threads"])
    if threads is not None:
        torch.set_num_threads(threads)
    run = Run(experiment, device)
    if saved is not None:
        run.restore(saved)
    return run


def _loop(
    run: Run, keeper: Keeper, bar: Progress, workers: int, interrupted: threading.Event
) -> None:
    data, rows, length = run.experiment.data, run.experiment.rows, run.experiment.row_length
    pinned = run.device.type == "cuda"
    with Stream(data, rows, length, workers=workers, start=run.position, pinned=pinned) as stream:
        keeper.look()
        while not run.finished:
            _learn(run, stream, keeper)
            keeper.look()
            bar.show()
            if interrupted.is_set():
                keeper.save()
                raise KeyboardInterrupt
    keeper.save()


def _learn(run: Run, stream: Stream, keeper: Keeper) -> None:
    """Take a batch and learn from it; if there is none, save before saying so."""
    waited = stream.waited
    try:
        batch, after = next(stream)
    except StreamError:
        keeper.save()
        raise
    run.learn(batch, after, stream.waited - waited)


def pick_device(name: str) -> torch.device:
    """Device of that name; ``auto`` is the GPU if there is one.

    Raises `InputError` for a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device '{name}'; use auto, cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"unknown device '{name}'; use auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"no device '{name}' here; use cpu")
    return device


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
