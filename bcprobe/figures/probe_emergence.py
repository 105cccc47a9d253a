"""When each latent becomes readable, against when the skill appears."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.curves import band
from bcprobe.figures.style import new_figure
from bcprobe.palette import COLOURS

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
    """Score of the best layer of each latent and, below, accuracy over training.

    A pair of panels for each checkpoint. ``table`` is that of
    `bcprobe.tables.probing.probe_emergence`: ``what`` is ``probe`` or ``skill``, ``name`` the
    latent or kind of click.
    """
    names = list(dict.fromkeys(table["checkpoint"]))
    figure = new_figure(3.0 * len(names) + 0.3)
    panels = figure.subplots(2 * len(names), 1, sharex=True)
    for number, name in enumerate(names):
        own = table[table["checkpoint"] == name]
        above, below = panels[2 * number : 2 * number + 2]
        _lines(above, own[own["what"] == "probe"], LATENTS)
        _lines(below, own[own["what"] == "skill"], SKILLS)
        above.set(title=name, ylabel="probe, best layer")
        above.set_ylim(max(-0.1, above.get_ylim()[0]), 1.03)
        below.set(ylabel="accuracy", ylim=(-0.03, 1.03))
    panels[-1].set_xlabel("frames seen in training")
    panels[-1].set_xscale("log")
    for axis, edge in ((panels[0], "upper"), (panels[1], "lower")):
        handles, labels = axis.get_legend_handles_labels()
        figure.legend(handles, labels, loc=f"outside {edge} center", ncols=2)
    return figure


def _lines(axis: Axes, rows: pd.DataFrame, names: dict[str, tuple[str, str]]) -> None:
    for (name, (label, colour)), marker in zip(names.items(), "Dos^", strict=True):
        own = rows[(rows["name"] == name) & (rows["frames"] > 0)]
        if len(own):
            band(axis, own, "frames", COLOURS[colour], label, marker)
