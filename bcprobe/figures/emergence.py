"""When each skill appears in training, and in which order."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.style import new_figure
from bcprobe.palette import COLOURS

#: Skills: name in the table -> name shown, colour, line, marker.
CURVES = {
    "valid": ("valid click", "black", ":", "."),
    "buttons": ("buttons", "blue", "-", "o"),
    "place": ("placement, within 5 px", "orange", "-", "s"),
    "done": ("done", "green", "--", "^"),
    "undo": ("undo", "vermillion", "-", "D"),
}
TITLES = {
    "dots-nano": "dots, pointer head",
    "dots-nano-independent": "dots, independent head",
}


def plot(table: pd.DataFrame) -> Figure:
    """Accuracy against frames seen, a panel per checkpoint, with 95 % intervals.

    Below each panel, in the order of their appearance, the frames from which on each skill was
    at half of its last accuracy; at the edge, from the beginning. ``table`` has the columns of
    `bcprobe.evaluation.emergence.emergence_rows`, ``checkpoint`` and ``tasks``.
    """
    names = list(dict.fromkeys(table["checkpoint"]))
    figure = new_figure(height=1.95 * len(names) + 0.4)
    shares = [1.0, 0.5] * len(names)
    panels = figure.subplots(len(shares), 1, squeeze=False, height_ratios=shares, sharex=True)[:, 0]
    first = table.loc[table["frames"] > 0, "frames"].min()
    for number, name in enumerate(names):
        own = table[table["checkpoint"] == name]
        upper, lower = panels[2 * number : 2 * number + 2]
        _curves(upper, own[own["metric"] == "accuracy"])
        _halves(lower, own[own["metric"] == "half"], 0.75 * first)
        upper.set_title(TITLES.get(name, _title(name, own)))
    panels[-1].set(xscale="log", xlim=(0.7 * first, 1.3 * table["frames"].max()))
    panels[-1].set_xlabel("frames seen in training")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _title(name: str, table: pd.DataFrame) -> str:
    tasks = int(table["tasks"].iloc[0])
    return f"{name}: {tasks} tasks" if tasks > 1 else name


def _curves(axis: Axes, table: pd.DataFrame) -> None:
    for skill, (label, colour, line, marker) in CURVES.items():
        rows = table[(table["skill"] == skill) & (table["frames"] > 0)].sort_values("frames")
        shade = COLOURS[colour]
        axis.fill_between(
            rows["frames"], rows["lower"], rows["upper"], color=shade, alpha=0.18, lw=0
        )
        axis.plot(
            rows["frames"], rows["estimate"], line, color=shade, label=label, marker=marker, ms=2.5
        )
    axis.set(ylim=(-0.03, 1.03), ylabel="accuracy")


def _halves(axis: Axes, table: pd.DataFrame, edge: float) -> None:
    """The order of the skills: first on top; nothing lies left of the edge."""
    ends = ["estimate", "lower", "upper"]
    table = table.assign(**table[ends].clip(lower=edge))
    known = table[table["estimate"].notna()].sort_values("estimate", ascending=False)
    for place, row in enumerate(known.itertuples()):
        _, colour, _, marker = CURVES[row.skill]
        shade = COLOURS[colour]
        axis.plot([row.lower, row.upper], [place, place], color=shade, lw=2, alpha=0.6)
        axis.plot(row.estimate, place, marker, color=shade)
    axis.set(yticks=[], ylim=(-0.7, len(CURVES) - 0.3))
    axis.set_ylabel("half is\nthere", rotation=0, ha="right", va="center", fontsize=7)
    axis.spines["left"].set_visible(False)
