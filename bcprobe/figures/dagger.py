"""Learning from the annotator at states of the network's own making, on its worst tasks."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.style import TASKS, new_figure
from bcprobe.palette import COLOURS

#: Methods from top to bottom: name shown.
METHODS = {
    "none": "as it is",
    "cloning": "more cloning",
    "beta-0.1": "DAgger, beta 0.1",
    "beta-0": "DAgger, beta 0",
}
#: What is compared: metric, kind of click, name shown.
MEASURES = (
    ("success", "", "success alone"),
    ("score", "", "score alone"),
    ("accuracy", "all", "accuracy,\nteacher-forced"),
    ("nll", "all", "loss, nats,\nteacher-forced"),
)


def plot(table: pd.DataFrame) -> Figure:
    """A row of panels for each task that was mended, a mark for each method, 95 % intervals.

    ``table`` is that of `bcprobe.studies.dagger.summarise`.
    """
    tasks = list(dict.fromkeys(table.loc[table["method"] != "none", "task"]))
    figure = new_figure(height=1.5 * len(tasks) + 0.5, width=6.75)
    grid = figure.subplots(len(tasks), len(MEASURES), squeeze=False, sharey=True, sharex="col")
    for line, task in zip(grid, tasks, strict=True):
        own = table[table["task"] == task]
        for axis, (metric, kind, _) in zip(line, MEASURES, strict=True):
            rows = own[own["metric"] == metric]
            _marks(axis, rows[rows["kind"] == kind] if kind else rows)
        line[0].set_ylabel(TASKS[task])
    for axis, (metric, _, title) in zip(grid[0], MEASURES, strict=True):
        axis.set_title(title)
        if metric != "nll":
            axis.set_xlim(-0.03, 1.03)
    return figure


def _marks(axis: Axes, rows: pd.DataFrame) -> None:
    scores = rows.set_index("method").reindex([m for m in METHODS if m in set(rows["method"])])
    for place, row in enumerate(scores.itertuples()):
        colour = COLOURS["grey"] if row.Index == "none" else COLOURS["blue"]
        axis.hlines(place, row.lower, row.upper, color=colour, lw=1)
        axis.plot(row.estimate, place, "o", color=colour, clip_on=False)
    axis.set_yticks(range(len(scores)), [METHODS[name] for name in scores.index])
    axis.set_ylim(len(scores) - 0.5, -0.5)
