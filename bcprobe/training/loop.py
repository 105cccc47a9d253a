"""The training loop, on the CPU or one GPU."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bcprobe.errors import InputError
from bcprobe.training.config import Experiment
from bcprobe.training.keeper import Keeper, write_checkpoint
from bcprobe.training.progress import Progress
from bcprobe.training.run import Run
from bcprobe.training.saving import claim_folder, load_state
from bcprobe.training.stream import Stream, StreamError


@dataclass(frozen=True)
class Settings:
    """What of a run changes its speed, not its weights.

    ``threads`` (CPU; None: as torch has it, or as the run began) is the exception: other
    numbers of threads add floats up in another order.
    """

    device: str = "auto"
    workers: int = 1
    threads: int | None = None
    save_seconds: float = 300.0
    progress: bool = True


def train(
    experiment: Experiment,
    folder: Path | str,
    *,
    resume: bool = False,
    frames: int | None = None,
    settings: Settings = Settings(),
) -> Path:
    """Train to the end and return the folder of the final checkpoint.

    ``frames`` changes the run's length. The folder gets the checkpoint, ``training.parquet``
    and ``validation.parquet``, saved steps under ``steps/`` and the state for resuming under
    ``resume/``. A resumed run ends, on the CPU, with the weights of one never stopped, bit
    for bit. Ctrl-C saves and raises ``KeyboardInterrupt``.

    Raises `InputError` for a folder it cannot have, `Diverged` when the loss is no longer
    finite (the last good state is kept), `StreamError` when a data worker dies.
    """
    folder = Path(folder)
    if frames is not None:
        experiment = replace(experiment, frames=frames)
    claim_folder(folder, experiment, resume=resume)
    run = _open_run(experiment, folder, settings)
    if run.finished and (folder / "config.json").exists():
        return folder
    keeper = Keeper(run, folder, settings.save_seconds)
    with Progress(run, shown=settings.progress) as progress, _interruption() as interrupted:
        _loop(run, keeper, settings, progress, interrupted)
    write_checkpoint(run, folder)
    return folder


def _open_run(experiment: Experiment, folder: Path, settings: Settings) -> Run:
    saved = load_state(folder)
    threads = settings.threads or (saved.values["threads"] if saved else None)
    if threads is not None:
        torch.set_num_threads(threads)
    run = Run(experiment, pick_device(settings.device))
    if saved is not None:
        run.restore(saved)
    return run


def _loop(
    run: Run, keeper: Keeper, settings: Settings, progress: Progress, interrupted: threading.Event
) -> None:
    shape = run.experiment.rows, run.experiment.row_length
    pinned = run.device.type == "cuda"
    with Stream(
        run.experiment.data, *shape, workers=settings.workers, start=run.position, pinned=pinned
    ) as stream:
        keeper.look()
        while not run.finished:
            waited = stream.waited
            try:
                batch, after = next(stream)
            except StreamError:
                keeper.save()
                raise
            run.learn(batch, after, stream.waited - waited)
            keeper.look()
            progress.show()
            if interrupted.is_set():
                keeper.save()
                raise KeyboardInterrupt
    keeper.save()


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
