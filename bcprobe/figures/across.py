"""A probe over several tasks: by depth, as curves, task by task, and from task to task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.style import TASKS, TEXT, in_style, new_figure
from bcprobe.palette import COLOURS

ALL, MEAN = "all", "mean"
#: Scheme -> label, colour, marker.
SCHEMES = {
    "within": ("within the task", "blue", "o"),
    "pooled": ("pooled over tasks", "green", "s"),
    "left_out": ("task left out", "vermillion", "^"),
}
#: Control of the pooled probe -> label, dashes.
CONTROLS: dict[str, tuple[str, Any]] = {
    "untrained": ("untrained", "--"),
    "pixels": ("pixels", "-."),
    "previous_action": ("previous action", ":"),
    "shuffled": ("shuffled labels", (0, (1, 3))),
}
METRICS = {"auc": "ROC AUC", "balanced_accuracy": "balanced accuracy", "r2": "R2"}


def plot(table: pd.DataFrame) -> Figure:
    """Mean over tasks by layer with controls, ROC, each task, and the task x task matrix.

    ``table`` is that of `bcprobe.probes.result.ProbeResult`, of a binary latent.
    """
    table = table[table["negatives"] == leading(table)]
    with in_style():
        figure = new_figure(5.2, TEXT)
        axes = figure.subplots(2, 2, height_ratios=(1, 1.15))
        draw_layers(axes[0, 0], table)
        _draw_roc(axes[0, 1], table)
        draw_tasks(axes[1, 0], table)
        cells = table[table["scheme"].isin(["matrix", "within"])]
        cells = cells[cells["site"] == best_site(table)]
        draw_matrix(axes[1, 1], cells, (0.0, 1.0), "RdBu")
        axes[1, 1].set(xlabel="tested on", ylabel="fitted on")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def plot_tasks(table: pd.DataFrame) -> Figure:
    """Mean over tasks by layer with controls (left), and each task (right), of any latent."""
    table = table[table["negatives"] == leading(table)]
    with in_style():
        figure = new_figure(2.9, TEXT)
        left, right = figure.subplots(1, 2)
        draw_layers(left, table)
        draw_tasks(right, table)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def plot_directions(table: pd.DataFrame) -> Figure:
    """Cosines between the tasks' directions, and with that of all tasks.

    ``table`` is that of `bcprobe.probes.result.ProbeResult`, of a latent with one direction.
    """
    cosines = table[table["scheme"] == "cosine"]
    mirrored = cosines.rename(columns={"train_task": "test_task", "test_task": "train_task"})
    with in_style():
        figure = new_figure(3.3)
        axis = figure.subplots()
        draw_matrix(axis, pd.concat([cosines, mirrored]), (-1.0, 1.0), "RdBu")
        axis.set_title("cosine of directions", loc="left")
    return figure


def leading(table: pd.DataFrame) -> str:
    """Negatives that lead: matched where there are any."""
    return "matched" if (table["negatives"] == "matched").any() else "all"


def best_site(table: pd.DataFrame) -> str:
    """Site at which the controls and the matrix stand."""
    sites = table.loc[table["kind"] == "selectivity", "site"]
    return str(sites.iloc[0])


def draw_layers(axis: Axes, table: pd.DataFrame) -> None:
    """Means over the tasks by layers passed; the pooled probe's controls."""
    for scheme, (label, name, marker) in SCHEMES.items():
        rows = table[(table["scheme"] == scheme) & (table["test_task"] == MEAN)]
        rows, colour = rows.sort_values("layer"), COLOURS[name]
        axis.plot(rows["layer"], rows["estimate"], marker=marker, color=colour, label=label)
        axis.fill_between(
            rows["layer"].astype(float), rows["lower"], rows["upper"], color=colour, alpha=0.2, lw=0
        )
    best = best_site(table)
    for kind, (label, dashes) in CONTROLS.items():
        rows = table[(table["kind"] == kind) & table["site"].isin(["", best])]
        for row in rows.itertuples():
            axis.axhline(row.estimate, color=COLOURS["grey"], ls=dashes, label=label)
            axis.axhspan(row.lower, row.upper, color=COLOURS["grey"], alpha=0.12, lw=0)
    probes = table[table["scheme"] == "within"]
    axis.axhline(probes["chance"].iloc[0], color=COLOURS["black"], lw=0.6, label="chance")
    axis.set_ylabel(METRICS.get(str(probes["metric"].iloc[0]), ""))
    axis.set_xlabel("layers passed")
    axis.set_xticks(sorted(probes["layer"].dropna().unique()))


def _draw_roc(axis: Axes, table: pd.DataFrame) -> None:
    curves = table[table["scheme"] == "roc"]
    for scheme, (label, name, _) in SCHEMES.items():
        rows = curves[curves["kind"] == scheme].sort_values("chance")
        axis.plot(rows["chance"], rows["estimate"], color=COLOURS[name], label=label)
        axis.fill_between(
            rows["chance"], rows["lower"], rows["upper"], color=COLOURS[name], alpha=0.15, lw=0
        )
    axis.plot([0, 1], [0, 1], color=COLOURS["black"], lw=0.6)
    axis.set(xlabel="false positives", ylabel="true positives", xlim=(0, 1), ylim=(0, 1.01))
    axis.set_title("mean over tasks, quartiles shaded", loc="right")


def draw_tasks(axis: Axes, table: pd.DataFrame) -> None:
    """Each task at the best site: within, pooled, left out."""
    at = table[(table["site"] == best_site(table)) & (table["kind"] == "probe")]
    tasks = [task for task in TASKS if task in set(at["test_task"])]
    for shift, (scheme, (_, name, marker)) in zip((-0.22, 0, 0.22), SCHEMES.items(), strict=True):
        rows = at[(at["scheme"] == scheme) & at["test_task"].isin(tasks)]
        y = [tasks.index(task) + shift for task in rows["test_task"]]
        axis.plot(rows["estimate"], y, marker, color=COLOURS[name], ls="")
        axis.hlines(y, rows["lower"], rows["upper"], color=COLOURS[name], lw=0.8)
    axis.axvline(at["chance"].iloc[0], color=COLOURS["black"], lw=0.6)
    axis.set_yticks(range(len(tasks)), [TASKS[task] for task in tasks])
    axis.invert_yaxis()
    axis.set_xlabel(METRICS.get(str(at["metric"].iloc[0]), ""))


def draw_matrix(axis: Axes, cells: pd.DataFrame, limits: tuple[float, float], colours: str) -> None:
    """Numbers from task to task; rows are what was fitted on, columns what was tested on."""
    names = {**TASKS, ALL: "all tasks"}
    known = set(cells["train_task"]) & set(cells["test_task"])
    tasks = [task for task in names if task in known]
    values = cells[cells["test_task"].isin(tasks)]
    grid = values.pivot_table(index="train_task", columns="test_task", values="estimate")
    grid = grid.reindex(index=tasks, columns=tasks)
    axis.imshow(grid, vmin=limits[0], vmax=limits[1], cmap=colours, aspect="auto")
    middle, span = sum(limits) / 2, limits[1] - limits[0]
    for i, j in np.ndindex(*grid.shape):
        value = grid.iloc[i, j]
        if value == value:
            ink = "white" if abs(value - middle) > 0.38 * span else "black"
            text = f"{value:.2f}".replace("0.", ".", 1).replace("-", "−")
            axis.text(j, i, text, ha="center", va="center", color=ink, fontsize=5.5)
    labels = [names[task] for task in tasks]
    axis.set_xticks(range(len(tasks)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(tasks)), labels)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
