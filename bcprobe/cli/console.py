"""How the command line speaks: tables for people, JSON for programs, bars on stderr."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: The space in ``0.95 [0.91, 0.97]`` and in ``95 91-97``.
_BEFORE_INTERVAL = re.compile(r"(?<=\d) (?=\[|\d+-\d+$)")
#: Columns of an estimate: the value, its 95 % interval, and what it is over.
SCORE = ("estimate", "lower", "upper", "n")


def print_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def print_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    """Print a table on standard output; all but the first column stand to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=title or None, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in fitted(columns, rows, console.width):
        table.add_row(*row)
    console.print(table)


def fitted(columns: list[str], rows: list[list[Any]], width: int) -> list[list[str]]:
    """Cells as text. In a table too wide, intervals take a second line, and so do the names of
    the rows if it then fits."""
    cells = [[str(cell) for cell in row] for row in rows]
    if _width(columns, cells) > width:
        cells = [[_BEFORE_INTERVAL.sub("\n", cell) for cell in row] for row in cells]
    if _width(columns, cells) > width:
        cut = [[in_two_lines(row[0]), *row[1:]] for row in cells]
        cells = cut if _width(columns, cut) <= width else cells
    return cells


def _width(columns: list[str], rows: list[list[str]]) -> int:
    """Characters of a table's line, borders included."""
    lines = [
        [line for row in [columns, *rows] for line in row[n].split("\n")]
        for n in range(len(columns))
    ]
    return sum(max(map(len, own)) + 3 for own in lines) + 1


def in_two_lines(name: str) -> str:
    """A name cut after the underscore that leaves the shorter longest line."""
    cuts = [place + 1 for place, letter in enumerate(name) if letter == "_"]
    if not cuts:
        return name
    cut = min(cuts, key=lambda place: max(place, len(name) - place))
    return f"{name[:cut]}\n{name[cut:]}"


def number(row: Any) -> str:
    """Estimate and interval of a row with ``estimate``, ``lower``, ``upper``."""
    return f"{row.estimate:.3f} [{row.lower:.3f}, {row.upper:.3f}]"


def print_scores(scores: pd.DataFrame, title: str) -> None:
    """Print estimates with their intervals under the names that say which is which.

    A name that is set nowhere is left out.
    """
    names = [c for c in scores.columns if c not in SCORE and scores[c].notna().any()]
    rows = [
        [*(_shown(getattr(row, name)) for name in names), number(row), int(row.n)]
        for row in scores.itertuples()
    ]
    print_table([*names, "estimate [95 %]", "n"], rows, title)


def _shown(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def people_range(row: Any) -> str:
    """Range of the people in a row of a behaviour table; empty where none is known."""
    return "" if row.human_like is None else f"{row.human_lower:.3f} - {row.human_upper:.3f}"


def verdict(inside: Any) -> str:
    """Yes, no, or empty where there is nothing to compare with."""
    return {None: "", True: "yes", False: "no"}.get(inside, "")


def progress(items: Any, label: str) -> Any:
    """The items, with a bar on standard error while they are worked through."""
    from rich.console import Console
    from rich.progress import track

    return track(items, label, console=Console(stderr=True), transient=True)
