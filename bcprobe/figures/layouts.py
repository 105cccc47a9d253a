"""What a network of one layout does in the others, before and after it learns eight."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.curves import band, points, short_sites
from bcprobe.figures.style import new_figure
from bcprobe.palette import COLOURS

#: What was learned: name shown, colour, marker.
TRAINING = {
    "none": ("as it is", COLOURS["grey"], "o"),
    "one": ("more of its layout", COLOURS["orange"], "s"),
    "eight": ("eight layouts", COLOURS["blue"], "D"),
}
KINDS = {"buttons": "buttons", "place_right": "placement, 5 px", "undo": "undo"}
GROUPS = {"first": "its own", "trained": "7 others", "held_out": "3 held out"}


def plot(table: pd.DataFrame) -> Figure:
    """Accuracy by kind of click and group of layouts; below, the mistake probe across layouts.

    ``table`` is that of `bcprobe.studies.layouts.summarise`. The probe's lines are means over a
    group's layouts, before (dotted) and after eight were learned. 95 % intervals.
    """
    figure = new_figure(height=4.8)
    upper, lower = figure.subfigures(2, 1, squeeze=False)[:, 0]
    panels = upper.subplots(1, len(KINDS), sharey=True)
    rows = table[(table["metric"] == "accuracy") & table["layout"].isna()]
    for axis, (kind, title) in zip(panels, KINDS.items(), strict=True):
        _groups(axis, rows[rows["kind"] == kind])
        axis.set_title(title)
    panels[0].set_ylabel("accuracy")
    handles, labels = panels[0].get_legend_handles_labels()
    upper.legend(handles, labels, loc="outside lower center", ncols=3)
    probe = lower.subplots()
    _probed(probe, table[table["metric"] == "auc"])
    handles, labels = probe.get_legend_handles_labels()
    lower.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _groups(axis: Axes, rows: pd.DataFrame) -> None:
    names = list(GROUPS)
    for number, (training, (label, colour, marker)) in enumerate(TRAINING.items()):
        own = rows[rows["training"] == training]
        shift = 0.16 * (number - 1)
        own = own.assign(place=[names.index(group) + shift for group in own["group"]])
        points(axis, own, "place", colour, label, marker)
    axis.set_xticks(range(len(names)), list(GROUPS.values()), rotation=30, ha="right")
    axis.set(ylim=(-0.03, 1.03), xlim=(-0.4, len(names) - 0.6))


def _probed(axis: Axes, rows: pd.DataFrame) -> None:
    sites = list(dict.fromkeys(rows["site"]))
    looks = {"first": ("green", "^"), "trained": ("blue", "o"), "held_out": ("vermillion", "s")}
    for group, (colour, marker) in looks.items():
        for training, line in (("none", ":"), ("eight", "-")):
            own = rows[(rows["group"] == group) & (rows["training"] == training)]
            means = own.groupby("site", sort=False)[["estimate", "lower", "upper"]].mean()
            means = means.reindex(sites).assign(place=range(len(sites)))
            if training == "eight":
                band(axis, means, "place", COLOURS[colour], GROUPS[group], marker)
            else:
                axis.plot(means["place"], means["estimate"], line, color=COLOURS[colour])
    axis.axhline(0.5, color=COLOURS["black"], lw=0.6)
    axis.set_xticks(range(len(sites)), short_sites(sites))
    axis.set(xlabel="layer", ylabel="ROC AUC, mistake")
    axis.set_title("probe of one layout, read in others\n(dotted: before eight were learned)")
