"""How well a latent reads from each layer, beside what reads it without the network."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.style import in_style, new_figure
from bcprobe.palette import COLOURS

AXIS = {"auc": "ROC AUC", "balanced_accuracy": "balanced accuracy", "r2": "$R^2$"}
PROBES = {
    "matched": ("probe, matched negatives", COLOURS["blue"], "o"),
    "all": ("probe, all steps", COLOURS["vermillion"], "s"),
}
#: Controls read from a network's layers: label, colour, dashes, marker.
LAYERED = {
    "untrained": ("untrained network", COLOURS["green"], (0, (4, 1.5)), "^"),
    "control_task": ("control task", COLOURS["purple"], (0, (2, 1)), "v"),
    "shuffled": ("shuffled labels", COLOURS["grey"], (0, (1, 1)), "x"),
}
#: Controls that no layer belongs to: label, colour, dashes.
FLAT = {
    "pixels": ("pixels", COLOURS["orange"], (0, (5, 1, 1, 1))),
    "previous_action": ("previous action, step", COLOURS["sky"], (0, (3, 1, 1, 1, 1, 1))),
}
LOWEST = -0.25


def plot(table: pd.DataFrame) -> Figure:
    """Figure of one column: the score against the layer, with 95 % bands.

    ``table`` has columns ``kind`` (``probe`` or a control), ``negatives``, ``site``,
    ``metric``, ``chance``, ``estimate``, ``lower`` and ``upper``. Controls are those of the
    leading negatives. A bar stands at the edge of the axis for R2 below what is shown.
    """
    probes = table[table.kind == "probe"]
    sites = list(dict.fromkeys(probes.site))
    leading = "matched" if (probes.negatives == "matched").any() else "all"
    controls = table[table.negatives == leading]
    with in_style():
        figure = new_figure(2.9)
        axis = figure.subplots()
        _draw_controls(axis, controls, sites)
        for name, (label, colour, marker) in PROBES.items():
            _draw_line(
                axis, probes[probes.negatives == name], sites, label, colour, marker, band=True
            )
        axis.axhline(float(table.chance.iloc[0]), color=COLOURS["black"], lw=0.6, label="chance")
        _finish(axis, str(table.metric.iloc[0]), sites)
        _legend(figure, axis)
    return figure


def _draw_controls(axis: Axes, controls: pd.DataFrame, sites: list[str]) -> None:
    for name, (label, colour, dashes) in FLAT.items():
        for row in controls[controls.kind == name].itertuples():
            axis.axhline(row.estimate, color=colour, ls=dashes, label=label)
            axis.axhspan(row.lower, row.upper, color=colour, alpha=0.12, lw=0)
    for name, (label, colour, layered, marker) in LAYERED.items():
        rows = controls[controls.kind == name]
        _draw_line(axis, rows, sites, label, colour, marker, dashes=layered)


def _draw_line(
    axis: Axes,
    rows: pd.DataFrame,
    sites: list[str],
    label: str,
    colour: str,
    marker: str,
    *,
    dashes: object = "-",
    band: bool = False,
) -> None:
    if rows.empty:
        return
    x = [sites.index(site) for site in rows.site]
    axis.plot(x, rows.estimate, color=colour, ls=dashes, marker=marker, label=label)
    if band:
        axis.fill_between(x, rows.lower, rows.upper, color=colour, alpha=0.2, lw=0)
    else:
        axis.vlines(x, rows.lower, rows.upper, color=colour, lw=0.8)


def _finish(axis: Axes, metric: str, sites: list[str]) -> None:
    labels = [site_label(site) for site in sites]
    plain = all(label.isdigit() for label in labels)
    axis.set_xticks(np.arange(len(sites)), labels)
    if not plain:
        for label in axis.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    axis.set_xlabel("layers passed" if plain else "site")
    axis.set_ylabel(AXIS.get(metric, metric))
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, LOWEST), min(high, 1.02))
    axis.set_xlim(-0.25, len(sites) - 0.75)


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    order = [label for label, *_ in (*PROBES.values(), *LAYERED.values(), *FLAT.values())]
    rank = {label: number for number, label in enumerate(order)}
    shown = sorted(zip(labels, handles, strict=True), key=lambda pair: rank.get(pair[0], 99))
    figure.legend(
        [handle for _, handle in shown],
        [label for label, _ in shown],
        loc="outside lower center",
        ncols=2,
        columnspacing=1.2,
    )


def site_label(site: str) -> str:
    """Layers passed, for the residual stream between blocks; else block and hook, shortened."""
    if site == "blocks.0.hook_resid_pre":
        return "0"
    after = re.fullmatch(r"blocks\.(\d+)\.hook_resid_post", site)
    if after:
        return str(int(after[1]) + 1)
    return site.removeprefix("blocks.").replace("hook_", "")
