"""Loss against frames, FLOPs and size; what each size takes for one loss, and does at it."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bcprobe.figures.curves import band, points
from bcprobe.figures.style import new_figure
from bcprobe.palette import COLOURS

#: Decisions and places: name shown, colour, marker.
KINDS = {
    "place_right": ("placement", COLOURS["orange"], "s"),
    "undo": ("undo", COLOURS["vermillion"], "D"),
    "done": ("done", COLOURS["green"], "^"),
}
MARKERS = "osD^vP"


def plot(table: pd.DataFrame) -> Figure:
    """Four panels of one column; ``table`` is that of `bcprobe.studies.scaling.summarise`.

    Loss against frames and against FLOPs, a line for each size; the frames each size takes to
    the loss that all reach; the accuracy of each kind of click there. 95 % intervals.
    """
    figure = new_figure(height=7.2)
    frames, flops, needed, decided = figure.subplots(4, 1)
    losses = table[table["metric"] == "loss"]
    _losses(frames, losses, "frames")
    frames.set_xlabel("frames learned from")
    own = float(table.loc[table["metric"] == "annotator_loss", "estimate"].iloc[0])
    for axis in (frames, flops):
        axis.axhline(own, color=COLOURS["grey"], ls=":", lw=1, label="annotator")
    _losses(flops, losses, "flops")
    flops.set_xlabel("FLOPs")
    frames.legend(title="parameters", title_fontsize=7, ncols=2)
    _needed(needed, table)
    _decided(decided, table)
    return figure


def _losses(axis: Axes, losses: pd.DataFrame, x: str) -> None:
    sizes = sorted(losses["parameters"].unique())
    for number, size in enumerate(sizes):
        colour = to_hex(colormaps["viridis"](0.9 * number / max(1, len(sizes) - 1)))
        own = losses[losses["parameters"] == size]
        band(axis, own, x, colour, _thousands(size), MARKERS[number % len(MARKERS)])
    axis.set(xscale="log", ylabel="loss, nats a click")


def _thousands(size: float) -> str:
    return f"{size / 1e6:.1f} M" if size >= 1e6 else f"{size / 1e3:.0f} k"


def _needed(axis: Axes, table: pd.DataFrame) -> None:
    rows = table[table["metric"] == "frames_to_loss"]
    points(axis, rows, "parameters", COLOURS["blue"], "", "o")
    factor = table[table["metric"] == "fewer_frames"].iloc[0]
    axis.set(xscale="log", yscale="log", xlabel="parameters")
    axis.set_ylabel(f"frames to {rows['level'].iloc[0]:.2f} nats")
    if math.isfinite(factor["estimate"]):
        ends = f"[{factor['lower']:.2f}, {factor['upper']:.2f}]"
        text = f"ten times the parameters: {factor['estimate']:.2f} {ends}\ntimes fewer frames"
        axis.set_title(text + " (paper: 3)", fontsize=7)


def _decided(axis: Axes, table: pd.DataFrame) -> None:
    rows = table[table["metric"] == "accuracy_at_loss"]
    for kind, (label, colour, marker) in KINDS.items():
        points(axis, rows[rows["name"] == kind], "parameters", colour, label, marker)
    axis.set(xscale="log", xlabel="parameters", ylabel="accuracy at that loss", ylim=(-0.03, 1.03))
    axis.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
