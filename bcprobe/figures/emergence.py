"""When each skill appears in training."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.style import COLOURS, new_figure

#: Curves: name, metric and kind of click in the table, colour, line.
CURVES = (
    ("valid click", "validity", "all", "black", ":"),
    ("buttons", "accuracy", "buttons", "blue", "-"),
    ("placement, within 5 px", "accuracy", "place_right", "orange", "-"),
    ("done", "accuracy", "done", "green", "--"),
    ("undo", "accuracy", "undo", "vermillion", "-"),
)
TITLES = {"dots-nano": "pointer head", "dots-nano-independent": "independent head"}


def plot(table: pd.DataFrame) -> Figure:
    """Accuracy against frames seen, a panel per head, with 95 % intervals.

    ``table`` has the columns of an evaluation and ``checkpoint`` and ``frames``.
    """
    names = [name for name in TITLES if name in set(table["checkpoint"])]
    figure = new_figure(height=1.95 * len(names))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axis, name in zip(panels, names, strict=True):
        _panel(axis, table[table["checkpoint"] == name])
        axis.set_title(TITLES[name])
    panels[-1].set_xlabel("frames seen in training")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _panel(axis: Axes, table: pd.DataFrame) -> None:
    for label, metric, kind, colour, line in CURVES:
        rows = table[(table["metric"] == metric) & (table["kind"] == kind) & (table["frames"] > 0)]
        rows = rows.sort_values("frames")
        shade = COLOURS[colour]
        axis.fill_between(
            rows["frames"], rows["lower"], rows["upper"], color=shade, alpha=0.18, lw=0
        )
        axis.plot(rows["frames"], rows["estimate"], line, color=shade, label=label, marker=".")
    axis.set(xscale="log", ylim=(-0.03, 1.03), ylabel="accuracy")
