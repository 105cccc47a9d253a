"""Learning a held-out task from few episodes, and what becomes of the mistake direction."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.curves import band, short_sites
from bcprobe.figures.style import new_figure
from bcprobe.palette import COLOURS

#: How a network began: name shown, colour, marker.
STARTS = {
    "fine_tuned": ("fine-tuned", COLOURS["blue"], "o"),
    "scratch": ("from scratch", COLOURS["vermillion"], "s"),
}
#: Pairs right by chance: one of five candidates.
CHANCE = 0.2
#: Without learning: name shown, dashes.
AS_IT_IS = {"zero_shot": ("zero-shot", "--"), "in_context": ("in context", ":")}
#: When the direction is looked at: name shown, colour, marker.
WHEN = {
    "before": ("before", COLOURS["green"], "^"),
    "after": ("after, fitted anew", COLOURS["blue"], "o"),
    "kept": ("after, the old one", COLOURS["purple"], "D"),
}


def plot(table: pd.DataFrame) -> Figure:
    """Four panels of one column; ``table`` is that of `bcprobe.studies.transfer.summarise`.

    Success and the share of pairs right against the episodes learned from; the AUC of the mistake
    direction of the other tasks at each layer; what adding it changes in P(Undo) after a wrong
    pair, beside a random direction. 95 % intervals in all but the last.
    """
    figure = new_figure(height=7.0)
    success, score, reading, steering = figure.subplots(4, 1)
    _learned(success, table[table["metric"] == "success"], "success alone")
    _learned(score, table[table["metric"] == "score"], "pairs right")
    score.axhline(CHANCE, color=COLOURS["black"], lw=0.6)
    score.text(60, CHANCE + 0.1, "chance, one of five", fontsize=7)
    success.legend(ncols=2, loc="upper left")
    sites = list(dict.fromkeys(table["site"].dropna()))
    rows = table[table["metric"] == "auc"]
    for when, (label, colour, marker) in WHEN.items():
        own = _placed(rows[rows["when"] == when], sites)
        band(reading, own, "place", colour, label, marker)
    reading.axhline(0.5, color=COLOURS["black"], lw=0.6)
    reading.set(ylabel="ROC AUC of the\nmistake direction", ylim=(-0.03, 1.03))
    reading.legend(loc="upper left")
    _steered(steering, table[table["metric"] == "p_undo"], sites)
    for axis in (reading, steering):
        axis.set_xticks(range(len(sites)), short_sites(sites))
        axis.set_xlabel("layer")
    return figure


def _learned(axis: Axes, rows: pd.DataFrame, label: str) -> None:
    for start, (name, colour, marker) in STARTS.items():
        band(axis, rows[rows["start"] == start], "episodes", colour, name, marker)
    for start, (name, dashes) in AS_IT_IS.items():
        value = float(rows.loc[rows["start"] == start, "estimate"].iloc[0])
        axis.axhline(value, color=COLOURS["grey"], ls=dashes, lw=1, label=name)
    axis.set(xscale="log", ylim=(-0.03, 1.03), xlabel="episodes learned from", ylabel=label)


def _placed(rows: pd.DataFrame, sites: list[str]) -> pd.DataFrame:
    return rows.assign(place=[sites.index(site) for site in rows["site"]])


def _steered(axis: Axes, rows: pd.DataFrame, sites: list[str]) -> None:
    rows = rows[rows["side"] == "wrong"]
    for when, (_, colour, marker) in WHEN.items():
        for direction, line in (("mistake", "-"), ("random", ":")):
            own = rows[(rows["when"] == when) & (rows["direction"] == direction)]
            values = own.pivot_table(index="site", columns="alpha", values="estimate")
            change = (values[1.0] - values[-1.0]).reindex(sites)
            axis.plot(range(len(sites)), change, line, marker=marker, ms=2.8, color=colour)
    axis.axhline(0, color=COLOURS["black"], lw=0.6)
    axis.set_ylabel("P(Undo), added\nless subtracted")
    axis.set_title("solid: mistake direction; dotted: random", fontsize=7)
