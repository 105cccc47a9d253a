"""How far a run is, on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from bcprobe.training.run import Run

#: Seconds between lines where there is no terminal.
LINE_EVERY = 60.0
#: Steps the shown loss is averaged over.
WINDOW = 50


class Progress:
    """A bar on a terminal, a line a minute elsewhere; nothing unless ``shown``."""

    def __init__(self, run: Run, *, shown: bool = True) -> None:
        self.run, self.shown = run, shown
        self.console = Console(stderr=True)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (shown and self.console.is_terminal),
        )
        self.task = self.bar.add_task("", total=run.experiment.frames, completed=run.frames)
        self.written = 0.0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def show(self) -> None:
        """Show where the run is."""
        if not self.shown:
            return
        if self.console.is_terminal:
            self.bar.update(self.task, completed=self.run.frames, description=self.summary())
        elif time.monotonic() - self.written >= LINE_EVERY:
            self.written = time.monotonic()
            sys.stderr.write(self.summary() + "\n")
            sys.stderr.flush()

    def summary(self) -> str:
        """Frames, loss and speed in one line."""
        rows = self.run.training.rows[-WINDOW:]
        columns = self.run.training.columns
        means = {
            name: sum(row[columns.index(name)] for row in rows) / max(1, len(rows))
            for name in ("loss", "frames_per_second", "data_wait")
        }
        return (
            f"{self.run.frames:,}/{self.run.experiment.frames:,} frames  "
            f"loss {means['loss']:.3f}  {means['frames_per_second']:.0f} frames/s  "
            f"data wait {means['data_wait']:.1%}"
        )
