"""How far long work is, on standard error: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
#: Seconds between lines where there is no terminal.
LINE_EVERY = 60.0


class Progress:
    """A bar over ``total`` units of work, to be used as a context; nothing unless ``shown``.

    On a terminal the bar shows the last label and goes when the block ends. Elsewhere a label is
    written as a line, at most once in ``every`` seconds (0: each label).
    """

    def __init__(
        self, total: float, label: str = "", *, shown: bool = True, every: float = LINE_EVERY
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self.shown, self.every = shown, every
        self.terminal = console.is_terminal
        self.bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (shown and self.terminal),
        )
        self.task = self.bar.add_task(label, total=total)
        self.written = time.monotonic() if every else 0.0

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

    def advance(self, units: float = 1, label: str | None = None) -> None:
        """Note that so many more units are done; ``label`` says what is being worked on."""
        self.bar.update(self.task, advance=units)
        self._say(label)

    def at(self, done: float, label: str | None = None, total: float | None = None) -> None:
        """Note that ``done`` units are done in all, of ``total`` if that has changed."""
        self.bar.update(self.task, completed=done, total=total)
        self._say(label)

    def write(self, line: str) -> None:
        """Write a line that stays, above the bar."""
        if self.shown and self.terminal:
            self.bar.console.print(line, highlight=False, soft_wrap=True, markup=False)
        elif self.shown:
            _write(line)

    def _say(self, label: str | None) -> None:
        if label is None or not self.shown:
            return
        if self.terminal:
            self.bar.update(self.task, description=label)
        elif time.monotonic() - self.written >= self.every:
            self.written = time.monotonic()
            _write(label)


def track(items: Sequence[T], label: str, *, shown: bool = True) -> Iterator[T]:
    """The items one by one, with a bar while they are worked through."""
    with Progress(len(items), label, shown=shown) as bar:
        yield from _counted(items, bar)


def _counted(items: Iterable[T], bar: Progress) -> Iterator[T]:
    for item in items:
        yield item
        bar.advance()


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
