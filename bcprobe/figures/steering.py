"""What moving [cls] along the mistake direction does to the probability of Undo."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from bcprobe.figures.style import TASKS, in_style, new_figure
from bcprobe.palette import COLOURS

ALL = "all"
STARTS = {"right": "after a right placement", "wrong": "after a mistake"}
SHORT = {"right": "after a right one", "wrong": "after a mistake"}
#: Direction -> colour, marker, label.
LOOKS = {
    "probe": ("blue", "o", "mistake direction"),
    "others": ("orange", "s", "that of other tasks"),
    "random": ("grey", "^", "random, same norm"),
}
EDITS = {
    ("none", ""): ("as it is", "black"),
    ("ablate", "probe"): ("ablated", "vermillion"),
    ("swap", "probe"): ("swapped along it", "purple"),
    ("swap", "all"): ("[cls] swapped whole", "green"),
}
#: Dose shown task by task, in the direction that should bring the other twin's answer.
DOSE = {"right": 2.0, "wrong": -2.0}


def plot(table: pd.DataFrame) -> Figure:
    """Dose response at the site with the largest effect (left), other edits by layer (right).

    ``table`` is that of `bcprobe.interventions.steering.Intervention`; upper row: twins with the
    placement right, next row: with it wrong. With several tasks these are means over all,
    and a last row shows each task by itself.
    """
    undo = table[table["metric"] == "p_undo"]
    several = undo["task"].nunique() > 1
    together = undo[undo["task"] == ALL] if several else undo
    site = _strongest(together)
    with in_style():
        figure = new_figure(height=6.6 if several else 4.0)
        if not several:
            _together(figure, together, site)
            return figure
        parts: Any = figure.subfigures(2, 1, height_ratios=(4.0, 2.6))
        _together(parts[0], together, site)
        _by_task(parts[1], undo[(undo["site"] == site) & (undo["task"] != ALL)])
    return figure


def _together(part: FigureBase, undo: pd.DataFrame, site: str) -> None:
    """Dose response at a site, and the other edits at every site, after either placement."""
    axes = part.subplots(2, 2, sharey="row")
    for line, (start, title) in zip(axes, STARTS.items(), strict=True):
        rows = undo[undo["start"] == start]
        _doses(line[0], rows[rows["site"] == site])
        _layers(line[1], rows)
        line[0].set(ylabel="P(Undo)")
        line[0].set_title(title, loc="left")
    axes[1, 0].set_xlabel("dose (separations)")
    axes[1, 1].set_xlabel("layers passed")
    for column, place in ((0, "outside lower left"), (1, "outside lower right")):
        handles, labels = axes[1, column].get_legend_handles_labels()
        part.legend(handles, labels, loc=place, handlelength=1)


def _strongest(undo: pd.DataFrame) -> str:
    """Site at which adding the direction moves P(Undo) most, over both twins."""
    added = undo[(undo["operation"] == "add") & (undo["direction"] == "probe")]
    spread = added.groupby(["site", "start"])["estimate"].agg(lambda p: p.max() - p.min())
    return str(spread.groupby("site").sum().idxmax())


def _doses(axis: Axes, rows: pd.DataFrame) -> None:
    plain = rows[rows["operation"] == "none"]
    for direction, (name, marker, label) in LOOKS.items():
        own = rows[(rows["operation"] == "add") & (rows["direction"] == direction)]
        if own.empty:
            continue
        own, colour = pd.concat([own, plain]).sort_values("alpha"), COLOURS[name]
        axis.plot(own["alpha"], own["estimate"], marker=marker, color=colour, label=label)
        axis.fill_between(own["alpha"], own["lower"], own["upper"], color=colour, alpha=0.2, lw=0)


def _layers(axis: Axes, rows: pd.DataFrame) -> None:
    for (operation, direction), (label, colour) in EDITS.items():
        own = rows[(rows["operation"] == operation) & (rows["direction"] == direction)]
        own = own.sort_values("layer")
        axis.plot(own["layer"], own["estimate"], "o-", color=COLOURS[colour], label=label)
        axis.vlines(own["layer"], own["lower"], own["upper"], color=COLOURS[colour], lw=0.8)
    axis.set_xticks(sorted(rows["layer"].unique()))


def _by_task(part: FigureBase, undo: pd.DataFrame) -> None:
    """Each task's P(Undo) as it is and after the dose that should bring the other answer."""
    axes = part.subplots(1, 2, sharey=True)
    tasks = [task for task in TASKS if task in set(undo["task"])]
    for axis, (start, dose) in zip(axes, DOSE.items(), strict=True):
        rows = undo[undo["start"] == start]
        _points(axis, rows[rows["operation"] == "none"], tasks, 0.0, "black", "|", "as it is")
        for shift, (direction, (colour, marker, label)) in zip(
            (-0.22, 0.0, 0.22), LOOKS.items(), strict=True
        ):
            own = rows[(rows["direction"] == direction) & (rows["alpha"] == dose)]
            _points(axis, own, tasks, shift, colour, marker, label)
        axis.set_xlabel(f"P(Undo), dose {dose:+.0f}".replace("-", "−"))
        axis.set_title(SHORT[start], loc="left")
    axes[0].set_yticks(range(len(tasks)), [TASKS[task] for task in tasks])
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    part.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=1)


def _points(
    axis: Axes,
    rows: pd.DataFrame,
    tasks: list[str],
    shift: float,
    colour: str,
    marker: str,
    label: str,
) -> None:
    y = [tasks.index(task) + shift for task in rows["task"]]
    large = 9 if marker == "|" else None
    axis.plot(
        rows["estimate"], y, marker, color=COLOURS[colour], label=label, ls="", markersize=large
    )
    axis.hlines(y, rows["lower"], rows["upper"], color=COLOURS[colour], lw=0.8)
