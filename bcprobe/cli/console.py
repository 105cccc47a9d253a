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
#: A cell of numbers, with unit or interval; an empty one counts as such, a list of numbers not.
_NUMBER = re.compile(r"$|([-+]?[\d.]|nan)((?!\d, \d)[^\[])*(\[[^\]]*\])?$")
#: Spaces between columns: a padding, and the place of a line.
_GAP = 2
#: Columns of an estimate: the value, its 95 % interval, and what it is over.
SCORE = ("estimate", "lower", "upper", "n")


def print_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def print_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    """Print a table on standard output: text to the left, numbers to the right, names whole.

    In a terminal too narrow for it intervals take a second line; in one too narrow for that,
    every row becomes a list of its values.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    cells = fitted(columns, rows, console.width)
    if cells is None:
        return _print_lists(console, columns, rows, title)
    if title:
        console.print(title, style="italic", markup=False, highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, _GAP - 1, 0, 0))
    widths = _widths(columns, cells, console.width)
    for place, column in enumerate(columns):
        numeric = place > 0 and _numeric(cells, place)
        justify: Any = "right" if numeric else "left"
        table.add_column(column, justify=justify, width=widths[place])
    for row in cells:
        table.add_row(*row)
    console.print(table)
    return None


def _print_lists(console: Any, columns: list[str], rows: list[list[Any]], title: str) -> None:
    """Rows one below the other, a value a line, wrapped nowhere."""
    lines = [title] if title else []
    for row in rows:
        lines.append(str(row[0]))
        lines += [f"  {c}: {v}" for c, v in zip(columns[1:], row[1:], strict=True) if str(v)]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def fitted(columns: list[str], rows: list[list[Any]], width: int) -> list[list[str]] | None:
    """Cells as text, intervals on a second line if that is needed; None if that is too wide too."""
    cells = [[str(cell) for cell in row] for row in rows]
    if _width(columns, cells) > width:
        cells = [[_BEFORE_INTERVAL.sub("\n", cell) for cell in row] for row in cells]
    return cells if _width(columns, cells) <= width else None


def _width(columns: list[str], rows: list[list[str]]) -> int:
    """Characters of a table's line at least: names and numbers are whole, text wraps at spaces."""
    least = [_least(rows, place, column) for place, column in enumerate(columns)]
    return sum(least) + _GAP * (len(least) - 1)


def _widths(columns: list[str], rows: list[list[str]], width: int) -> list[int]:
    """Characters of each column: what it takes at least, and of the rest what its text can use."""
    found = [_least(rows, place, column) for place, column in enumerate(columns)]
    spare = width - _width(columns, rows)
    for place, column in enumerate(columns):
        lines = [line for row in rows for line in row[place].split("\n")]
        more = min(spare, max(map(len, [column, *lines])) - found[place])
        found[place] += more
        spare -= more
    return found


def _least(rows: list[list[str]], place: int, column: str) -> int:
    """Characters that a column takes at least."""
    texts = [row[place] for row in rows]
    whole = place == 0 or _numeric(rows, place)
    parts = [part for text in texts for part in (text.split("\n") if whole else text.split())]
    return max(map(len, [*column.split(), *parts]), default=0)


def _numeric(rows: list[list[str]], place: int) -> bool:
    """Whether a column holds numbers, and nothing else but empty cells."""
    return all(_NUMBER.match(row[place].replace("\n", " ")) for row in rows)


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
