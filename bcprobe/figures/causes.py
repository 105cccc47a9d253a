"""Figures of causes: where the mistake is, along which route, and which directions move it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.marks import Look, legend, matrix, panels, rows, unjoined
from bcprobe.figures.style import FONT, TASKS, TEXT, in_style, new_figure
from bcprobe.palette import COLOURS

#: Token groups from the answer down, and what a figure calls them.
TOKENS = {
    "cls": "[cls]",
    "undo": "Undo's patches",
    "placed": "placed patch",
    "others": "other patches",
    "patches": "all patches",
    "previous": "previous click",
    "registers": "registers",
    "all": "all tokens",
}
#: The side that is edited where one is shown.
START = "wrong"
ACROSS = 3
#: Kinds of direction, from the one fitted on labels to those fitted on answers.
KINDS = {
    "logistic": Look("logistic", "blue", "o", ""),
    "mean_difference": Look("difference of means", "green", "s", ""),
    "lda": Look("LDA", "purple", "D", ""),
    "das 1": Look("DAS, rank 1", "vermillion", "^", ""),
}
#: Panels: operation, source of the direction, coefficient -> title.
EDITS = {
    ("add", "within", 2.0): "added, fitted\nwithin the task",
    ("add", "others", 2.0): "added, fitted\non the other tasks",
    ("swap", "within", 1.0): "swapped along it,\nfitted within the task",
}
#: Random directions: kind in the table, name shown.
CLOUDS = {
    "random_norm": Look("random, same norm (95 %)", "grey", "", ":"),
    "random_covariance": Look("random, same covariance (95 %)", "black", "", "--"),
}
#: Kinds of erasure and rank -> how they are shown.
ERASURES = {
    "none": Look("as it is", "black", "o", ""),
    "leace": Look("LEACE, rank 1", "blue", "s", ""),
    "projection": Look("projection, rank 4", "green", "D", ""),
    "random": Look("random, rank 4 (95 %)", "grey", "", ":"),
}
ERASED_RANKS = {"none": 0, "leace": 1, "projection": 4, "random": 4}
#: Columns of the erasure figure: metric, twin -> title.
ERASED = {
    ("auc", ""): "AUC of a new probe",
    ("p_undo", START): "P(Undo) after\na mistake",
    ("p_undo", "right"): "P(Undo) after\na right placement",
}
#: Conditions of the closed loop, and what is drawn of them (differences from the unedited model).
CONDITIONS = {
    "less mistake": Look("less mistake", "blue", "s", ""),
    "more mistake": Look("more mistake", "vermillion", "^", ""),
    "LEACE": Look("LEACE", "green", "D", ""),
    "random": Look("random, same norm", "grey", "o", "", filled=False),
    "random erasure": Look("random erasure", "black", "o", "", filled=False),
}
STEERED = {
    "corrected change": "mistakes corrected",
    "needless_undo change": "needless Undos",
    "success change": "success",
}
#: Columns of the circuit, left to right: what starts a node's name.
PLACES = (
    ("mark", "previous", "MLP"),
    ("placed",),
    ("head",),
    ("query", "keys", "Undo"),
    ("answer",),
)
HEADS = 2
#: Most tasks whose route is drawn.
ROUTES = 3
#: Edges that carry less of the difference are drawn thin and without a number.
FAINT = 0.05


@in_style()
def plot_patching(table: pd.DataFrame) -> Figure:
    """Share of the difference between twins that a swap of the residual stream brings about.

    ``table`` is that of `bcprobe.interventions.maps.Patching`, of one task or of several (column
    ``task``). Rows are token groups, columns layers; a panel for each task or, of one task, for
    each frame that is edited and each that answers. The twin with the mistake is edited.
    """
    own = table[(table["component"] == "resid") & (table["metric"] == "effect")]
    own = own[own["start"] == START]
    several = own["task"].nunique() > 1
    if several:
        own = own[(own["lag"] == 0) & (own["later"] == 0)]
    maps = list(own.groupby(["task", "lag", "later"], sort=False))
    maps.sort(key=lambda one: (list(TASKS).index(one[0][0]), *one[0][1:]))
    figure = new_figure(0.55 + 1.7 * -(-len(maps) // ACROSS), TEXT)
    axes = panels(figure, len(maps), ACROSS, sharey=True)
    for number, (axis, ((task, lag, later), part)) in enumerate(zip(axes, maps, strict=True)):
        _map(axis, part)
        frames = f"frame {lag} edited, answer at {later}"
        axis.set_title(TASKS[task] if several else frames, loc="left")
        if number >= len(maps) - ACROSS:
            axis.set_xlabel("after layer")
    if not several:
        figure.suptitle(TASKS[maps[0][0][0]], fontsize=FONT, x=0.01, ha="left")
    bar = figure.colorbar(
        axes[0].collections[0], ax=axes, location="bottom", shrink=0.4, aspect=40,
        ticks=(-1, -0.5, 0, 0.5, 1),
    )  # fmt: skip
    bar.outline.set_visible(False)
    bar.set_label("0: nothing changes, 1: the answer of the other twin")
    return figure


def _map(axis: Axes, part: pd.DataFrame) -> None:
    grid = part.pivot_table(index="tokens", columns="layer", values="estimate")
    grid = grid.reindex([name for name in TOKENS if name in grid.index]).rename(index=TOKENS)
    matrix(axis, grid.rename(columns=lambda layer: f"{layer:.0f}"), (-1, 1), "RdBu_r")
    axis.tick_params(axis="both", rotation=0)


@in_style()
def plot_training(table: pd.DataFrame) -> Figure:
    """Undo over training (left), and how much of it hangs on each token group (right).

    ``table`` holds maps of the saved steps of a checkpoint (column ``frames``). Each group is shown
    at the layer at which a swap does most at the last step.
    """
    rows = table[(table["later"] == 0) & (table["metric"] == "p_undo")]
    plain = rows[rows["component"] == "none"]
    last = table[(table["frames"] == table["frames"].max()) & (table["start"] == START)]
    last = last[(last["metric"] == "effect") & (last["component"] == "resid")]
    swapped = rows[(rows["component"] == "resid") & (rows["start"] == START)]
    wrong = plain[plain["start"] == START].set_index("frames")["estimate"]
    parts = []
    for tokens in ("placed", "cls", "undo"):
        own = last[last["tokens"] == tokens]
        layer = own.loc[own["estimate"].idxmax(), "layer"]
        part = swapped[(swapped["tokens"] == tokens) & (swapped["layer"] == layer)]
        fall = wrong.loc[part["frames"]].to_numpy() - part["estimate"]
        parts.append(part.assign(fall=fall, name=f"{TOKENS[tokens]}, after layer {layer:.0f}"))
    starts = {"right": "a right placement", START: "a mistake"}
    figure = new_figure(2.4, TEXT)
    left, right = figure.subplots(1, 2)
    sns.lineplot(
        plain.assign(start=plain["start"].map(starts)), x="frames", y="estimate", hue="start",
        marker="o", ax=left, palette=[COLOURS["blue"], COLOURS["vermillion"]],
    )  # fmt: skip
    sns.lineplot(
        pd.concat(parts), x="frames", y="fall", hue="name", marker="o", ax=right,
        palette=[COLOURS[name] for name in ("green", "blue", "purple")],
    )  # fmt: skip
    left.set(ylabel="P(Undo) after")
    right.set(ylabel="fall of P(Undo) after a mistake\nby a swap")
    for axis in (left, right):
        axis.set(xscale="log", xlabel="frames seen in training")
        axis.legend(title="", loc="upper left")
    return figure


@in_style()
def plot_directions(table: pd.DataFrame) -> Figure:
    """How far each kind of direction moves the answer, task by task, beside random ones.

    ``table`` is that of `bcprobe.interventions.directions.compare`, of several tasks and sites. A
    row of panels for each token, a column for each edit (`EDITS`); the effect is the share of the
    twins' difference. Vertical ticks are the 95 % range of random directions.
    """
    own = table[(table["metric"] == "effect") & (table["start"] == START) & (table["layer"] >= 0)]
    sites = [name for name in TOKENS if name in set(own["tokens"])]
    tasks = {task: name for task, name in TASKS.items() if task in set(own["task"])}
    figure = new_figure((0.6 + 0.3 * len(tasks)) * len(sites) + 0.7, TEXT)
    axes = figure.subplots(len(sites), len(EDITS), squeeze=False, sharex=True, sharey=True)
    for line, site in zip(axes, sites, strict=True):
        for axis, edit in zip(line, EDITS, strict=True):
            _kinds(axis, own[own["tokens"] == site], *edit, tasks)
        line[0].set_ylabel(TOKENS[site])
    for first, last, title in zip(axes[0], axes[-1], EDITS.values(), strict=True):
        first.set_title(title)
        last.set_xlabel("share of the twins' difference")
    shown = [look for kind, look in KINDS.items() if (own["kind"] == kind).any()]
    legend(figure, [*unjoined(shown), *CLOUDS.values()], ncols=3)
    return figure


@in_style()
def plot_erasure(table: pd.DataFrame) -> Figure:
    """What is left when the mistake is erased where it is carried most, task by task.

    ``table`` is that of `bcprobe.interventions.erase.erase`; of a task's sites the first is drawn.
    Left: a probe fitted anew after the erasure; right: the model's answer.
    """
    first = table.groupby("task")[["tokens", "layer"]].transform("first")
    own = table[(table["tokens"] == first["tokens"]) & (table["layer"] == first["layer"])]
    own = own[own["rank"] == own["kind"].map(ERASED_RANKS)]
    tasks = {task: name for task, name in TASKS.items() if task in set(own["task"])}
    figure = new_figure(0.9 + 0.36 * len(tasks), TEXT)
    axes = figure.subplots(1, len(ERASED), sharey=True)
    for axis, ((metric, start), title) in zip(axes, ERASED.items(), strict=True):
        part = own[(own["metric"] == metric) & (own["start"] == start)]
        looks = {k: v for k, v in ERASURES.items() if k != "random"}
        rows(axis, part, tasks, "kind", looks)
        _clouds(axis, part, {"random": ERASURES["random"]}, tasks)
        axis.set(title=title, xlim=(-0.03, 1.03))
    legend(figure, [*unjoined(looks.values()), ERASURES["random"]], ncols=4)
    return figure


@in_style()
def plot_steered(table: pd.DataFrame) -> Figure:
    """What edits of the located site change while the model works alone, task by task.

    ``table`` is that of `bcprobe.interventions.closed_loop.steer_loop`, of several tasks.
    """
    tasks = {task: name for task, name in TASKS.items() if task in set(table["task"])}
    figure = new_figure(0.9 + 0.42 * len(tasks), TEXT)
    axes = figure.subplots(1, len(STEERED), sharey=True)
    for axis, (metric, title) in zip(axes, STEERED.items(), strict=True):
        rows(axis, table[table["metric"] == metric], tasks, "condition", CONDITIONS)
        axis.axvline(0, color=COLOURS["black"], lw=0.6, zorder=1)
        axis.set(title=title, xlabel="change of the share")
    legend(figure, unjoined(CONDITIONS.values()), ncols=5)
    return figure


def _clouds(
    axis: Axes, table: pd.DataFrame, looks: Mapping[str, Look], tasks: Mapping[str, str]
) -> None:
    """Vertical ticks at the ends of the random draws' range, in each task's row."""
    place = {task: number for number, task in enumerate(tasks)}
    for kind, look in looks.items():
        for row in table[table["kind"] == kind].itertuples():
            ends = place[row.task] - 0.42, place[row.task] + 0.42
            axis.vlines([row.lower, row.upper], *ends, color=look.hex, ls=look.dashes, lw=0.8)


def _kinds(
    axis: Axes,
    table: pd.DataFrame,
    operation: str,
    source: str,
    coefficient: float,
    tasks: Mapping[str, str],
) -> None:
    own = table[(table["operation"] == operation) & (table["coefficient"] == coefficient)]
    rows(axis, own[own["source"] == source], tasks, "kind", KINDS)
    _clouds(axis, own, CLOUDS, tasks)
    axis.axvline(0, color=COLOURS["black"], lw=0.6, zorder=1)


@in_style()
def plot_circuit(table: pd.DataFrame) -> Figure:
    """The route from the mark to Undo with what goes along each edge, in up to three tasks.

    Of more, those in which the placed patch passes most on; the table holds all.

    ``table`` is that of `bcprobe.interventions.paths.trace`; the answer is that of the frame of
    the placement. Widths and numbers are shares of the twins' difference, with 95 % intervals; an
    edge of less than 0.05 is thin, and heads that have no other are left out.
    """
    own = table[(table["start"] == START) & (table["later"] == 0)]
    passed = own[own["sender"] == "placed patch"].groupby("task")["estimate"].max()
    strongest = set(passed.nlargest(ROUTES).index)
    tasks = [task for task in TASKS if task in strongest]
    figure = new_figure(2.2 * len(tasks) + 0.2, TEXT)
    axes = figure.subplots(len(tasks), 1, squeeze=False)[:, 0]
    for axis, task in zip(axes, tasks, strict=True):
        _graph(axis, own[own["task"] == task])
        axis.set_title(TASKS[task], loc="left")
    return figure


def _graph(axis: Axes, edges: pd.DataFrame) -> None:
    """Nodes in the columns of `PLACES`, edges between them."""
    strong = edges[edges["estimate"].abs() >= FAINT]
    used = {*strong["sender"], *strong["receiver"]}
    nodes = dict.fromkeys([*edges["sender"], *edges["receiver"]])
    shown = [name for name in nodes if name in used or not name.startswith("head")]
    places: dict[str, tuple[float, float]] = {}
    for column, starts in enumerate(PLACES):
        inside = [name for name in shown if name.startswith(starts)]
        for number, name in enumerate(inside):
            y = (number + 0.5) / len(inside)
            if column == HEADS:  # above what goes past them
                y = 0.02 + 0.16 * number
            places[name] = (float(column), y)
    edges = edges[edges["sender"].isin(shown) & edges["receiver"].isin(shown)]
    for row in edges.sort_values("estimate", key=abs).itertuples():
        _edge(axis, row, places[row.sender], places[row.receiver])
    for name, (x, y) in places.items():
        axis.text(
            x, y, name, ha="center", va="center", fontsize=6.5,
            bbox={"boxstyle": "round,pad=0.3", "fc": "white", "ec": "0.4", "lw": 0.7},
        )  # fmt: skip
    axis.set(xlim=(-0.45, len(PLACES) - 0.6), ylim=(1.02, -0.02))
    axis.set_axis_off()


def _edge(axis: Axes, row: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    strong = abs(row.estimate) >= FAINT
    colour = COLOURS["blue" if row.estimate >= 0 else "vermillion"] if strong else "0.8"
    width = 0.5 + 5.0 * min(1.0, abs(row.estimate)) if strong else 0.5
    x, y = np.array([start, end]).T
    axis.plot(x, y, color=colour, lw=width, alpha=0.55 if strong else 0.6, zorder=1)
    if strong:
        at = 0.38 if end[0] - start[0] > 1 else 0.5
        text = f"{row.estimate:.2f} [{row.lower:.2f}, {row.upper:.2f}]".replace("-", "−")
        axis.text(
            x[0] + at * (x[1] - x[0]), y[0] + at * (y[1] - y[0]), text, fontsize=5,
            ha="center", va="center", color="black", zorder=5,
            bbox={"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none", "alpha": 0.75},
        )  # fmt: skip
