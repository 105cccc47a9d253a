"""When each latent becomes readable, against when the skill appears."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.style import COLOURS, in_style, new_figure

#: Latent -> label, colour.
LATENTS = {
    "mistake": ("mistake (AUC)", "vermillion"),
    "phase": ("phase (balanced accuracy)", "blue"),
    "position": ("position (R2)", "green"),
    "progress": ("progress (R2)", "purple"),
}
#: Kind of click -> label, colour.
SKILLS = {
    "buttons": ("buttons", "blue"),
    "place": ("placements", "green"),
    "undo": ("undo", "vermillion"),
    "done": ("done", "orange"),
}


def plot(table: pd.DataFrame) -> Figure:
    """Score of the best layer of each latent (above) and accuracy (below) over training.

    ``table`` is that of `bcprobe.tables.probing.probe_emergence`: ``what`` is ``probe`` or
    ``skill``, ``name`` the latent or kind of click.
    """
    with in_style():
        figure = new_figure(4.2)
        above, below = figure.subplots(2, 1, sharex=True)
        _lines(above, table[table["what"] == "probe"], LATENTS)
        _lines(below, table[table["what"] == "skill"], SKILLS)
        above.set_ylabel("probe, best layer")
        below.set_ylabel("accuracy")
        below.set_xlabel("frames seen")
        below.set_ylim(-0.02, 1.02)
        above.set_ylim(bottom=max(-0.1, above.get_ylim()[0]))
        below.set_xscale("log", base=2)
        for axis in (above, below):
            axis.legend(loc="upper left", fontsize=6)
    return figure


def _lines(axis: Axes, rows: pd.DataFrame, names: dict[str, tuple[str, str]]) -> None:
    for name, (label, colour) in names.items():
        own = rows[(rows["name"] == name) & (rows["frames"] > 0)].sort_values("frames")
        if own.empty:
            continue
        axis.plot(own["frames"], own["estimate"], "o-", color=COLOURS[colour], label=label)
        axis.fill_between(
            own["frames"], own["lower"], own["upper"], color=COLOURS[colour], alpha=0.2, lw=0
        )
