"""Measurements of a run sent to a tracker while it trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from bcprobe.errors import InputError, check_name
from bcprobe.training.run import Table


class LogError(InputError):
    """A tracker lets nobody in: no key, no network."""


LOGS = ("none", "tensorboard", "wandb")


class Log(Protocol):
    """Where numbers go."""

    def write(self, values: dict[str, float], frames: int) -> None:
        """Send numbers measured after so many frames."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class NoLog:
    """Keeps nothing."""

    def write(self, values: dict[str, float], frames: int) -> None:
        """See `Log`."""

    def close(self) -> None:
        """See `Log`."""


class TensorBoardLog:
    """Event files under ``tensorboard/`` of the run's folder."""

    def __init__(self, folder: Path, name: str) -> None:
        module = _optional("torch.utils.tensorboard", "tensorboard")
        self.writer = module.SummaryWriter(str(folder / "tensorboard"))

    def write(self, values: dict[str, float], frames: int) -> None:
        """See `Log`."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, frames)

    def close(self) -> None:
        """See `Log`."""
        self.writer.close()


class WandbLog:
    """A run of the project ``bcprobe`` at Weights & Biases."""

    def __init__(self, folder: Path, name: str) -> None:
        module = _optional("wandb", "wandb")
        with _refusals(module):
            self.run = module.init(project="bcprobe", name=name, dir=str(folder))

    def write(self, values: dict[str, float], frames: int) -> None:
        """See `Log`."""
        self.run.log(values | {"frames": frames})

    def close(self) -> None:
        """See `Log`."""
        self.run.finish()


def _optional(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise InputError(f"log '{package}' needs the package {package}: pip install it") from None


@contextmanager
def _refusals(wandb: Any) -> Iterator[None]:
    """What wandb refuses (no key, no network) in one line that says what to do."""
    try:
        yield
    except wandb.Error as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise LogError(f"log 'wandb': {reason}; without an account: WANDB_MODE=offline") from None


def check_log(kind: str) -> None:
    """Raise `InputError` if there is no such log or package, `LogError` if it lets nobody in."""
    check_name("log", kind, LOGS)
    if kind != "none":
        module = _optional("torch.utils.tensorboard" if kind == "tensorboard" else kind, kind)
    if kind == "wandb":
        with _refusals(module):
            module.login()


def open_log(kind: str, folder: Path, name: str) -> Log:
    """The log of that kind for a run called ``name``. Raises as `check_log`."""
    check_log(kind)
    if kind == "none":
        return NoLog()
    return TensorBoardLog(folder, name) if kind == "tensorboard" else WandbLog(folder, name)


class Follower:
    """Sends the rows that its tables have gained since it last looked."""

    def __init__(self, log: Log, tables: dict[str, Table]) -> None:
        self.log, self.tables = log, tables
        self.sent = {name: len(table.rows) for name, table in tables.items()}

    def look(self) -> None:
        """Send the new rows, each number as ``table/column``."""
        for name, table in self.tables.items():
            for row in table.rows[self.sent[name] :]:
                values = dict(zip(table.columns, row, strict=True))
                known = {f"{name}/{k}": v for k, v in values.items() if math.isfinite(v)}
                self.log.write(known, int(values["frames"]))
            self.sent[name] = len(table.rows)
