"""What the worlds look like: a screen of each, and a film strip of an episode of each.

The tables hold seeds and clicks; the screens are composed again when a figure is drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bcprobe.episodes.record import generate, replay
from bcprobe.figures.style import TASKS, TEXT, in_style, new_figure
from bcprobe.palette import PHASE_COLOURS

_PER_ROW = 5


@in_style()
def plot_screens(table: pd.DataFrame) -> Figure:
    """A screen of every task, in the order of the paper.

    ``table`` is that of `bcprobe.tables.screens.shown_steps`, one row a task.
    """
    tasks = _ordered(table)
    rows = -(-len(tasks) // _PER_ROW)
    figure = new_figure(height=1.2 * rows, width=TEXT)
    axes = figure.subplots(rows, _PER_ROW, squeeze=False).ravel()
    for axis, task in zip(axes, tasks, strict=False):
        row = table[table["task"] == task].iloc[0]
        axis.imshow(screens_of(task, int(row["world_seed"]), [int(row["step"])])[0])
        axis.set_title(TASKS[task], fontsize=7, pad=2)
    for axis in axes:
        axis.axis("off")
    return figure


@in_style()
def plot_strips(table: pd.DataFrame) -> Figure:
    """A row of screens per task; the cross is the click about to be made, framed by phase.

    ``table`` is that of `bcprobe.tables.screens.shown_steps`, several rows a task.
    """
    tasks = _ordered(table)
    frames = int(table.groupby("task").size().max())
    figure = new_figure(height=0.74 * len(tasks) + 0.25, width=TEXT)
    axes = figure.subplots(len(tasks), frames, squeeze=False)
    for line, task in zip(axes, tasks, strict=True):
        rows = table[table["task"] == task]
        screens = screens_of(task, int(rows["world_seed"].iloc[0]), rows["step"].tolist())
        for axis, row, screen in zip(line, rows.itertuples(), screens, strict=False):
            _frame(axis, row, screen)
        line[0].set_ylabel(TASKS[task], fontsize=6.5)
    handles = [
        axes[0, 0].plot([], [], "s", color=colour, label=phase)[0]
        for phase, colour in PHASE_COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _frame(axis: Axes, row: Any, screen: NDArray[np.uint8]) -> None:
    colour = PHASE_COLOURS[row.phase]
    axis.imshow(screen)
    axis.plot(row.x, row.y, "+", color="white", markersize=6, mew=2)
    axis.plot(row.x, row.y, "+", color=colour, markersize=5, mew=1)
    axis.set_xlabel(f"{row.step + 1}/{row.of} {row.widget}", fontsize=5.5, labelpad=1)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, color=colour, linewidth=1.5)


def _ordered(table: pd.DataFrame) -> list[str]:
    present = set(table["task"])
    return [task for task in TASKS if task in present]


def screens_of(task: str, world_seed: int, steps: list[int]) -> list[NDArray[np.uint8]]:
    """Screens uint8 [360, 480, 3] before those steps of the annotator's episode."""
    found = {
        t: simulator.screen()
        for t, (simulator, _) in enumerate(replay(generate(task, world_seed)))
        if t in steps
    }
    return [found[t] for t in steps]
