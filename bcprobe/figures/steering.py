"""What moving [cls] along the mistake direction does to the probability of Undo."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from bcprobe.figures.marks import Look, legend, lines, rows, unjoined
from bcprobe.figures.style import TASKS, in_style, new_figure

ALL = "all"
STARTS = {"right": "after a right placement", "wrong": "after a mistake"}
#: Directions that are added.
DIRECTIONS = {
    "none": Look("unedited", "black", "|", ""),
    "probe": Look("mistake direction", "blue", "o"),
    "others": Look("that of other tasks", "orange", "s"),
    "random": Look("random, same norm", "grey", "^"),
}
#: Other edits: operation and direction.
EDITS = {
    "none ": Look("unedited", "black"),
    "ablate probe": Look("ablated", "vermillion"),
    "swap probe": Look("swapped along it", "purple"),
    "swap all": Look("[cls] swapped whole", "green"),
}
#: Coefficient shown task by task, in the direction that should bring the other twin's answer.
COEFFICIENT = {"right": 2.0, "wrong": -2.0}


@in_style()
def plot(table: pd.DataFrame) -> Figure:
    """Dose response at the site with the largest effect (left), other edits by layer (right).

    ``table`` is that of `bcprobe.interventions.steering.Intervention`; upper row: twins with the
    placement right, next row: with it wrong. With several tasks these are means over all,
    and a last row shows each task by itself.
    """
    undo = table[table["metric"] == "p_undo"]
    undo = undo[undo["start"].isin(STARTS)]
    several = undo["task"].nunique() > 1
    together = undo[undo["task"] == ALL] if several else undo
    site = strongest(together)
    figure = new_figure(height=6.6 if several else 4.0)
    if not several:
        _together(figure, together, site)
        return figure
    parts: Any = figure.subfigures(2, 1, height_ratios=(4.0, 2.6))
    above, below = parts
    _together(above, together, site)
    _by_task(below, undo[(undo["site"] == site) & (undo["task"] != ALL)])
    return figure


def strongest(undo: pd.DataFrame) -> str:
    """Site at which adding the direction moves P(Undo) most, over both twins."""
    added = undo[(undo["operation"] == "add") & (undo["direction"] == "probe")]
    spread = added.groupby(["site", "start"])["estimate"].agg(lambda p: p.max() - p.min())
    return str(spread.groupby("site").sum().idxmax())


def _together(part: FigureBase, undo: pd.DataFrame, site: str) -> None:
    """Dose response at a site, and the other edits at every site, after either placement."""
    axes = part.subplots(2, 2, sharey="row")
    for (left, right), (start, title) in zip(axes, STARTS.items(), strict=True):
        own = undo[undo["start"] == start]
        _doses(left, own[own["site"] == site])
        edits = own.assign(edit=own["operation"] + " " + own["direction"])
        lines(right, edits, "layer", "edit", EDITS, band=False)
        right.set_xticks(sorted(own["layer"].unique()))
        left.set(ylabel="P(Undo)")
        left.set_title(title, loc="left")
    axes[1, 0].set_xlabel("coefficient (distance of the\nmeans of the two sides)")
    axes[1, 1].set_xlabel("edit after layer")
    known = set(undo["direction"])
    added = [look for name, look in DIRECTIONS.items() if name in known]
    legend(part, added, "outside lower left", 1, handlelength=1)
    legend(part, EDITS.values(), "outside lower right", 1, handlelength=1)


def _doses(axis: Axes, undo: pd.DataFrame) -> None:
    """P(Undo) against the coefficient; 0 is the unedited model."""
    added = undo[undo["operation"] == "add"]
    plain = undo[undo["operation"] == "none"]
    zero = [plain.assign(direction=name) for name in added["direction"].unique()]
    lines(axis, pd.concat([added, *zero]), "alpha", "direction", DIRECTIONS)


def _by_task(part: FigureBase, undo: pd.DataFrame) -> None:
    """Each task's P(Undo) unedited and after the coefficient that should bring the other answer."""
    left, right = part.subplots(1, 2, sharey=True)
    tasks = {task: name for task, name in TASKS.items() if task in set(undo["task"])}
    for axis, (start, alpha) in zip((left, right), COEFFICIENT.items(), strict=True):
        own = undo[undo["start"] == start]
        moved = own[(own["operation"] == "add") & (own["alpha"] == alpha)]
        plain = own[own["operation"] == "none"].assign(direction="none")
        rows(axis, pd.concat([plain, moved]), tasks, "direction", DIRECTIONS)
        axis.set_xlabel(f"P(Undo) at {alpha:+.0f}".replace("-", "−"))
        axis.set_title("after a right one" if start == "right" else STARTS[start], loc="left")
    known = {"none", *undo["direction"]}
    shown = [look for name, look in DIRECTIONS.items() if name in known]
    legend(part, unjoined(shown), handlelength=1)
