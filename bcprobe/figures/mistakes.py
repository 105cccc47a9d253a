"""Mistakes in the data and of the model alone, and what it does after one it did not make."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bcprobe.figures.rows import Look, draw_marks, label_rows, ordered, shade_rows, warm
from bcprobe.figures.style import new_figure

DATA = Look("annotators, the data", "black", "|")
TWIN = Look("model, T = 0, placement right", "vermillion", "x")
#: Panels of the rates: metric -> title.
RATES = {
    "mistake_rate": "placements\nmistaken, %",
    "error_undo_rate": "undo / (place\n+ undo), %",
}


def plot(table: pd.DataFrame) -> Figure:
    """A row a task: mistake rate, undo rate, P(Undo) after a forced mistake, with intervals.

    ``table`` has the columns of an evaluation: its sections ``mistakes`` and
    ``forced_mistakes``.
    """
    tasks = ordered(table)
    figure = new_figure(height=0.32 * len(tasks) + 1.45)
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (metric, title) in zip(axes, RATES.items(), strict=False):
        rows = table[(table["section"] == "mistakes") & (table["metric"] == metric)]
        draw_marks(axis, tasks, [(DATA, rows[rows["policy"] == "data"]), *warm(rows)])
        axis.set_title(title, fontsize=7)
        axis.set_xlim(left=-1)
    _forced(figure, tasks, table[table["section"] == "forced_mistakes"])
    label_rows(axes[0], tasks)
    for axis in axes:
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    for axis in axes[1:]:
        shade_rows(axis, len(tasks))
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2)
    return figure


def _forced(figure: Figure, tasks: list[str], table: pd.DataFrame) -> None:
    axis = figure.axes[-1]
    after = table[table["metric"] == "undo_next"]
    twins = table[(table["metric"] == "undo_next_if_right") & (table["policy"] == "model")]
    coldest = twins[twins["temperature"] == twins["temperature"].min()]
    data = (DATA, after[after["policy"] == "annotator"])
    draw_marks(axis, tasks, [data, *warm(after), (TWIN, coldest)])
    axis.set_title("undo, led into\na mistake, %", fontsize=7)
    axis.set(xlim=(-4, 104), xticks=(0, 50, 100))
