"""How the command line speaks: tables for people, JSON for programs, bars on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: Columns of an estimate: the value, its 95 % interval, and what it is over.
SCORE = ("estimate", "lower", "upper", "n")


def print_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def print_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    """Print a table on standard output; all but the first column stand to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*[str(cell) for cell in row])
    Console().print(table)


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
