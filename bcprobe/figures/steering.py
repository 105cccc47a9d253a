"""What moving [cls] along the mistake direction does to the probability of Undo."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.style import COLOURS, new_figure

STARTS = {"right": "after a right placement", "wrong": "after a mistake"}
LOOKS = {"probe": ("blue", "mistake direction"), "random": ("grey", "random, same norm")}
EDITS = {
    ("none", ""): ("as it is", "black"),
    ("ablate", "probe"): ("ablated", "vermillion"),
    ("swap", "probe"): ("swapped along it", "purple"),
    ("swap", "all"): ("[cls] swapped whole", "green"),
}


def plot(table: pd.DataFrame) -> Figure:
    """Dose response at the site with the largest effect (left), other edits by layer (right).

    ``table`` is that of `bcprobe.probes.steering.Intervention`; upper row: twins with the
    placement right, lower row: with it wrong.
    """
    figure = new_figure(height=4.0)
    axes = figure.subplots(2, 2, sharey="row")
    undo = table[table["metric"] == "p_undo"]
    site = _strongest(undo)
    for line, (start, title) in zip(axes, STARTS.items(), strict=True):
        rows = undo[undo["start"] == start]
        _doses(line[0], rows[rows["site"] == site])
        _layers(line[1], rows)
        line[0].set(ylabel="P(Undo)")
        line[0].set_title(title, loc="left")
    axes[1, 0].set_xlabel("dose (separations of the means)")
    axes[1, 1].set_xlabel("layers passed")
    for column, place in ((0, "outside lower left"), (1, "outside lower right")):
        handles, labels = axes[1, column].get_legend_handles_labels()
        figure.legend(handles, labels, loc=place, handlelength=1)
    return figure


def _strongest(undo: pd.DataFrame) -> str:
    """Site at which adding the direction moves P(Undo) most, over both twins."""
    added = undo[(undo["operation"] == "add") & (undo["direction"] == "probe")]
    spread = added.groupby(["site", "start"])["estimate"].agg(lambda p: p.max() - p.min())
    return str(spread.groupby("site").sum().idxmax())


def _doses(axis: Axes, rows: pd.DataFrame) -> None:
    plain = rows[rows["operation"] == "none"]
    for direction, (colour, label) in LOOKS.items():
        own = rows[(rows["operation"] == "add") & (rows["direction"] == direction)]
        own = pd.concat([own, plain]).sort_values("alpha")
        axis.plot(own["alpha"], own["estimate"], "o-", color=COLOURS[colour], label=label)
        axis.fill_between(
            own["alpha"], own["lower"], own["upper"], color=COLOURS[colour], alpha=0.2, lw=0
        )


def _layers(axis: Axes, rows: pd.DataFrame) -> None:
    for (operation, direction), (label, colour) in EDITS.items():
        own = rows[(rows["operation"] == operation) & (rows["direction"] == direction)]
        own = own.sort_values("layer")
        axis.plot(own["layer"], own["estimate"], "o-", color=COLOURS[colour], label=label)
        axis.vlines(own["layer"], own["lower"], own["upper"], color=COLOURS[colour], lw=0.8)
    axis.set_xticks(sorted(rows["layer"].unique()))
