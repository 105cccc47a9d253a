"""The virtual annotator beside the people of the paper."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bcprobe.figures.style import new_figure
from bcprobe.palette import COLOURS

#: Quantities shown, with the name and the factor they are shown with.
QUANTITIES = {
    "navigate": ("navigation, % of clicks", 100),
    "place": ("placement, % of clicks", 100),
    "view": ("projection, % of clicks", 100),
    "undo": ("undo, % of clicks", 100),
    "error_undo_rate": ("undo / (place + undo), %", 100),
    "steps": ("clicks per episode", 1),
}


def plot(table: pd.DataFrame) -> Figure:
    """Range of the people and estimate of the annotator, one quantity a row.

    ``table`` is `bcprobe.evaluation.behaviour.behaviour_table` of one task.
    """
    figure = new_figure(height=2.5)
    axes = figure.subplots(len(QUANTITIES), 1)
    rows = table.set_index("quantity")
    for axis, (quantity, (label, factor)) in zip(axes, QUANTITIES.items(), strict=True):
        row = factor * rows.loc[quantity, ["estimate", "lower", "upper"]].astype(float)
        low, high = (
            factor * float(rows.loc[quantity, f"human_{end}"]) for end in ("lower", "upper")
        )
        axis.barh(0, high - low, left=low, height=0.7, color=COLOURS["sky"], alpha=0.55, lw=0)
        axis.plot([row.lower, row.upper], [0, 0], color=COLOURS["vermillion"], lw=2)
        axis.plot(row.estimate, 0, "o", color=COLOURS["vermillion"])
        spread = high - low
        axis.set(xlim=(low - 0.4 * spread, high + 0.4 * spread), ylim=(-0.6, 0.6), yticks=[])
        axis.set_ylabel(label, rotation=0, ha="right", va="center")
        axis.spines["left"].set_visible(False)
        axis.locator_params(axis="x", nbins=4)
        axis.tick_params(axis="x", pad=1, length=2)
    axes[0].set_title("bar: range of 3 people; dot: annotator, 95 %", fontsize=7, loc="right")
    return figure
