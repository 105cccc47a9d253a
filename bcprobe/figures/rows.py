"""Figures with a row a task: who works is told apart by colour, marker and height in the row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from bcprobe.figures.style import TASKS
from bcprobe.palette import COLOURS

#: Name shown of all tasks together.
TOGETHER = {"all": "all tasks"}


@dataclass(frozen=True)
class Look:
    """How one clicker is shown: its name, colour, marker, and whether that is filled."""

    label: str
    colour: str
    marker: str
    filled: bool = True


#: The model at its temperatures: the warmer, the brighter.
MODEL = {
    0.0: Look("model, T = 0", "blue", "o"),
    0.5: Look("model, T = 0.5", "green", "s"),
    1.0: Look("model, T = 1", "orange", "D"),
}


def ordered(table: pd.DataFrame) -> list[str]:
    """Tasks of a table in the order of the paper; all together last."""
    present = set(table["task"])
    return [task for task in (*TASKS, *TOGETHER) if task in present]


def label_rows(axis: Axes, tasks: Sequence[str]) -> None:
    """Name the tasks from top to bottom, with every other row shaded."""
    names = {**TASKS, **TOGETHER}
    axis.set_yticks(range(len(tasks)), [names[task] for task in tasks])
    axis.set_ylim(len(tasks) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    shade_rows(axis, len(tasks))


def shade_rows(axis: Axes, count: int) -> None:
    """Shade every other row."""
    for place in range(0, count, 2):
        axis.axhspan(place - 0.5, place + 0.5, color="0.94", lw=0, zorder=0)


def draw_marks(
    axis: Axes,
    tasks: Sequence[str],
    series: Iterable[tuple[Look, pd.DataFrame]],
    factor: float = 100,
) -> None:
    """Estimates and their 95 % intervals, a height in the row for each of the series.

    The tables have ``task``, ``estimate``, ``lower`` and ``upper``; nan is not drawn.
    """
    every = list(series)
    for number, (look, table) in enumerate(every):
        shift = 0.8 * ((number + 0.5) / len(every) - 0.5)
        known = table[table["task"].isin(tasks) & table["estimate"].notna()]
        y = [tasks.index(task) + shift for task in known["task"]]
        colour = COLOURS[look.colour]
        axis.hlines(y, factor * known["lower"], factor * known["upper"], color=colour, lw=1)
        axis.plot(
            factor * known["estimate"], y, look.marker, color=colour, label=look.label, ls="",
            ms=3.2, mfc=colour if look.filled else "white", mew=0.8, clip_on=False,
        )  # fmt: skip


def warm(
    table: pd.DataFrame, looks: Mapping[float, Look] = MODEL
) -> list[tuple[Look, pd.DataFrame]]:
    """The model's rows of a table, a series for each temperature."""
    own = table[table["policy"] == "model"]
    return [
        (look, own[own["temperature"] == temperature])
        for temperature, look in looks.items()
        if (own["temperature"] == temperature).any()
    ]
