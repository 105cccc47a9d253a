"""How far an evaluation is, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]


@contextmanager
def telling(say: Say | None, total: int) -> Iterator[Say]:
    """Something to tell of each of ``total`` pieces of work when it begins.

    That is ``say`` if given; else a bar on a terminal, and a line each elsewhere.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if say is not None or not console.is_terminal:
        yield say or _to_stderr
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("", total=total, completed=-1)
        yield lambda line: bar.update(task, advance=1, description=line)


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
