"""An evaluation in a few columns: one row a task, percent with their 95 % intervals."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from bcprobe.evaluation.mistakes import verdicts

#: Columns: heading -> metric and the kinds of click of which the first that occurs is shown.
TEACHER_FORCED = {
    "valid": ("validity", ("all",)),
    "buttons": ("accuracy", ("buttons",)),
    "placed": ("accuracy", ("place_right", "classify_right")),
    "undo": ("accuracy", ("undo",)),
    "done": ("accuracy", ("done",)),
}
#: Who works in closed loop beside the model.
OTHERS = ("annotator", "random", "repeat")

Table = tuple[str, list[str], list[list[str]]]


def tables(scores: pd.DataFrame) -> list[Table]:
    """Title, columns and rows of the tables that the scores can fill."""
    made = (_teacher_forced(scores), _closed_loop(scores), _mistakes(scores))
    return [table for table in made if table[2]]


def _teacher_forced(scores: pd.DataFrame) -> Table:
    own = scores[(scores["section"] == "teacher_forced") & (scores["policy"] == "model")]
    rows = [
        [str(task), *(_first(rows, metric, kinds) for metric, kinds in TEACHER_FORCED.values())]
        for task, rows in own.groupby("task", sort=False)
    ]
    title = "Teacher-forced: % right, 95 % interval (placed: within 5 px, or the right class)"
    return title, ["task", *TEACHER_FORCED], rows


def _closed_loop(scores: pd.DataFrame) -> Table:
    found = scores[(scores["section"] == "closed_loop") & (scores["metric"] == "success")]
    warm = sorted(found["temperature"].dropna().unique())
    others = [name for name in OTHERS if (found["policy"] == name).any()]
    rows = []
    for task, own in found.groupby("task", sort=False):
        own_loop = [_cell(own[own["temperature"] == temperature]) for temperature in warm]
        rows.append([str(task), *own_loop, *(_cell(own[own["policy"] == name]) for name in others)])
    return (
        "Closed loop: % of worlds that end in success, 95 % interval",
        ["task", *map(_warmth, warm), *others],
        rows,
    )


def _mistakes(scores: pd.DataFrame) -> Table:
    found = scores[(scores["section"] == "mistakes") & (scores["metric"] == "mistake_rate")]
    forced = scores[(scores["section"] == "forced_mistakes") & (scores["metric"] == "undo_next")]
    forced = forced[forced["policy"] == "model"]
    warm = sorted(found["temperature"].dropna().unique())
    verdict = verdicts(scores)
    rows = []
    for task, own in found.groupby("task", sort=False):
        own_loop = [_cell(own[own["temperature"] == temperature]) for temperature in warm]
        led = forced[forced["task"] == task].sort_values("temperature").head(1)
        data = _cell(own[own["policy"] == "data"])
        rows.append([str(task), data, *own_loop, verdict.get(str(task), ""), _cell(led)])
    columns = ["task", "data", *map(_warmth, warm), "than data", "Undo"]
    return (
        "Closed loop: % of placements mistaken; after a forced mistake: % Undo next",
        columns,
        rows,
    )


def _warmth(temperature: float) -> str:
    return f"T={temperature:g}"


def _first(rows: pd.DataFrame, metric: str, kinds: tuple[str, ...]) -> str:
    own = rows[rows["metric"] == metric]
    return next((c for c in (_cell(own[own["kind"] == kind]) for kind in kinds) if c != "-"), "-")


def _cell(rows: pd.DataFrame) -> str:
    """The score of one row in percent, or a dash."""
    if rows.empty or math.isnan(rows["estimate"].iloc[0]):
        return "-"
    return percent(rows.iloc[0])


def percent(score: Any) -> str:
    """A share and its interval in percent, ``97 95-99``; short enough for nine tasks in a table.

    The ends of the interval are rounded outwards; the share keeps a decimal near 0 and 100.
    """
    value = 100 * score.estimate
    near = 0 < value < 9.95 or 99 < value < 100
    shown = f"{value:.1f}" if near else f"{value:.0f}"
    if math.isnan(score.lower):
        return shown
    low, high = round(100 * score.lower, 6), round(100 * score.upper, 6)
    return f"{shown} {math.floor(low)}-{math.ceil(high)}"
