"""Figures of probes: by layer with their controls, task by task, and from task to task."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.marks import Look, legend, level, lines, matrix, panels, rows, tilt
from bcprobe.figures.style import COLUMN, TASKS, TEXT, in_style, new_figure
from bcprobe.palette import COLOURS

ALL, MEAN = "all", "mean"
METRICS = {"auc": "ROC AUC", "balanced_accuracy": "balanced accuracy", "r2": "$R^2$"}
#: Probe of one task, by its negatives.
NEGATIVES = {
    "errable": Look("probe, errable steps", "blue", "o"),
    "all": Look("probe, all steps", "vermillion", "s"),
}
#: Controls that have a layer.
LAYERED = {
    "untrained": Look("untrained network", "green", "^", (0, (4, 1.5))),
    "control_task": Look("control task", "purple", "v", (0, (2, 1))),
    "shuffled": Look("shuffled labels", "grey", "x", (0, (1, 1))),
}
#: Controls without a layer.
FLAT = {
    "pixels": Look("pixels", "orange", "", (0, (5, 1, 1, 1))),
    "pixels_cnn": Look("pixels, small CNN", "yellow", "", "--"),
    "previous_action": Look("previous action, step", "sky", "", (0, (3, 1, 1, 1, 1, 1))),
    "click_history": Look("click history", "black", "", "--"),
    "p_undo": Look("P(Undo)", "black", "", ":"),
}
#: Schemes over several tasks.
SCHEMES = {
    "within": Look("within the task", "blue", "o"),
    "pooled": Look("pooled over tasks", "green", "s"),
    "left_out": Look("task left out", "vermillion", "^"),
}
#: Controls of the pooled probe.
CONTROLS = {
    "untrained": Look("untrained", "grey", "", "--"),
    "pixels": Look("pixels", "grey", "", "-."),
    "previous_action": Look("previous action", "grey", "", ":"),
    "shuffled": Look("shuffled labels", "grey", "", (0, (1, 3))),
    "pixels_cnn": Look("pixels, small CNN", "orange", "", "-."),
    "click_history": Look("click history", "black", "", "--"),
    "p_undo": Look("P(Undo)", "black", "", ":"),
}
#: What a probe is set against where nothing is fitted on the network.
BESIDE = {
    "probe": Look("probe", "blue", "o", ""),
    "click_history": Look("click history", "vermillion", "s", ""),
    "p_undo": Look("P(Undo)", "green", "^", ""),
    "pixels_cnn": Look("small CNN", "orange", "D", ""),
}
#: What the probe adds to them.
ADDED = {
    "added_to_click_history": Look("to the click history", "vermillion", "s", ""),
    "added_to_p_undo": Look("to P(Undo)", "green", "^", ""),
    "added_to_both": Look("to both", "black", "D", ""),
}
#: Who raises an alarm when the truth is moved.
DETECTORS = {
    "probe": Look("probe, alarms", "blue", "o"),
    "p_undo": Look("mean P(Undo)", "green", "^"),
    "mistake": Look("wrong by the task's measure", "grey", "", ":"),
}
#: What reads a mistake or an Undo among steps alike in the other.
CROSSED = {
    "probe cls": Look("probe at [cls]", "blue", "o", ""),
    "probe placed": Look("probe at the mark", "sky", "D", ""),
    "p_undo": Look("P(Undo)", "green", "^", ""),
    "click_history": Look("click history", "vermillion", "s", ""),
}
#: Which steps are looked at, by scheme.
CROSSED_STEPS = {"crossed": "just after a mark", "crossed_all": "every step"}
#: What models of dots learned from, and what their probe was fitted on.
LEARNED = {
    ("dots-gap", "usual"): "from 12 px on",
    ("dots-gap", "graded"): "the same, probe graded",
    ("dots-nano", "usual"): "from 12 px on, longer",
    ("dots-graded-longer", "graded"): "graded, longer",
}
CHANCE = Look("chance", "black", "", "-")
#: What is shown of a score that may be below: R2.
LOWEST, HIGHEST = -0.5, 1.02
#: Panels in a row, of a panel for each task.
ACROSS = 4


@in_style()
def plot_layers(table: pd.DataFrame) -> Figure:
    """The probe of one task against the layer, with its controls; one column.

    ``table`` has columns ``kind`` (``probe`` or a control), ``negatives``, ``site``,
    ``metric``, ``chance``, ``estimate``, ``lower`` and ``upper``. Controls are those of the
    leading negatives. R2 below -0.25 is not shown.
    """
    table = at_cls(table)
    probes = table[(table["kind"] == "probe") & table["negatives"].isin(NEGATIVES)]
    sites = list(dict.fromkeys(probes["site"]))
    place = {site: number for number, site in enumerate(sites)}
    controls = headline(table)
    names = [site_label(site) for site in sites]
    plain = all(name.isdigit() for name in names)
    figure = new_figure(2.9)
    axis = figure.subplots()
    flat = _levels(axis, controls, FLAT)
    layered = controls[controls["site"].isin(place)]
    layered = layered.assign(place=layered["site"].map(place))
    lines(axis, layered, "place", "kind", LAYERED, band=False)
    lines(axis, probes.assign(place=probes["site"].map(place)), "place", "negatives", NEGATIVES)
    level(axis, float(table["chance"].iloc[0]))
    axis.set_xticks(range(len(sites)), names)
    if not plain:
        tilt(axis, 30)
    axis.set(xlabel="after layer" if plain else "site", ylabel=_metric(table))
    low, high = axis.get_ylim()
    axis.set(ylim=(max(low, -0.25), min(high, HIGHEST)), xlim=(-0.25, len(sites) - 0.75))
    shown = [NEGATIVES[name] for name in NEGATIVES if (probes["negatives"] == name).any()]
    shown += [LAYERED[name] for name in LAYERED if (layered["kind"] == name).any()]
    legend(figure, [*shown, *flat, CHANCE], columnspacing=1.2)
    return figure


def _levels(axis: Axes, table: pd.DataFrame, looks: dict[str, Look]) -> list[Look]:
    """Draw the controls that have no layer; those that there were."""
    found = []
    for kind, look in looks.items():
        for row in table[table["kind"] == kind].itertuples():
            level(axis, row.estimate, look, (row.lower, row.upper))
            found.append(look)
    return found


def _metric(table: pd.DataFrame) -> str:
    name = str(table["metric"].iloc[0])
    return METRICS.get(name, name)


def site_label(site: str) -> str:
    """The layer after which the residual stream is read, 0 before the first; else the site."""
    if site == "blocks.0.hook_resid_pre":
        return "0"
    after = re.fullmatch(r"blocks\.(\d+)\.hook_resid_post", site)
    if after:
        return str(int(after[1]) + 1)
    return site.removeprefix("blocks.").replace("hook_", "")


@in_style()
def plot_many_tasks(table: pd.DataFrame) -> Figure:
    """Mean over tasks by layer with controls, ROC, each task, and the task x task matrix.

    ``table`` is that of `bcprobe.probes.result.ProbeResult`, of a binary label.
    """
    table = headline(table)
    figure = new_figure(5.2, TEXT)
    (layers, roc), (tasks, cells) = figure.subplots(2, 2, height_ratios=(1, 1.15))
    looks = draw_layers(layers, table)
    _draw_roc(roc, table)
    draw_tasks(tasks, table)
    own = table[table["scheme"].isin(["matrix", "within"])]
    own = own[(own["site"] == best_site(table)) & own["test_task"].isin(TASKS)]
    draw_matrix(cells, own, (0.0, 1.0))
    cells.set(xlabel="tested on", ylabel="fitted on")
    for axis, title in (
        (layers, "mean over tasks, by layer"),
        (tasks, "each task, best layer"),
        (cells, "ROC AUC from task to task"),
    ):
        axis.set_title(title, loc="left")
    legend(figure, looks, ncols=4)
    return figure


@in_style()
def plot_tasks(table: pd.DataFrame) -> Figure:
    """Mean over tasks by layer with controls (left), and each task (right), of any label."""
    table = headline(table)
    figure = new_figure(2.9, TEXT)
    left, right = figure.subplots(1, 2)
    looks = draw_layers(left, table)
    draw_tasks(right, table)
    legend(figure, looks, ncols=4)
    return figure


@in_style()
def plot_labels(table: pd.DataFrame) -> Figure:
    """A row for each value of ``latent``: by layer with controls (left), by task (right).

    ``table`` is that of `bcprobe.probes.result.ProbeResult` for each label, with a column
    ``latent``. Values of R2 below -0.5 lie outside what is shown.
    """
    names = list(dict.fromkeys(table["latent"]))
    figure = new_figure(0.5 + 2.2 * len(names), TEXT)
    axes = figure.subplots(len(names), 2, squeeze=False)
    for (left, right), name in zip(axes, names, strict=True):
        own = headline(table[table["latent"] == name])
        looks = draw_layers(left, own)
        draw_tasks(right, own)
        left.set_title(name, loc="left")
        (low, high), (first, last) = left.get_ylim(), right.get_xlim()
        left.set_ylim(max(low, LOWEST), min(high, HIGHEST))
        right.set_xlim(max(first, LOWEST), min(last, HIGHEST))
    legend(figure, looks, ncols=4)
    return figure


@in_style()
def plot_cosines(table: pd.DataFrame) -> Figure:
    """Cosines between the tasks' directions, and with that of all tasks.

    ``table`` is that of `bcprobe.probes.result.ProbeResult`, of a label with one direction.
    """
    cosines = table[table["scheme"] == "cosine"]
    mirrored = cosines.rename(columns={"train_task": "test_task", "test_task": "train_task"})
    figure = new_figure(3.3)
    axis = figure.subplots()
    draw_matrix(axis, pd.concat([cosines, mirrored]), (-1.0, 1.0))
    axis.set_title("cosine of directions", loc="left")
    return figure


@in_style()
def plot_baselines(table: pd.DataFrame) -> Figure:
    """The probe beside what needs no probe, task by task, and what it adds to them.

    ``table`` is that of `bcprobe.probes.result.ProbeResult`, of ``mistake`` over several tasks.
    Left: the baselines' negatives; middle: negatives that look alike in the click history;
    right: gain in ROC AUC of a stack of baselines and probe over one without the probe.
    """
    own = at_cls(table)
    own = own[own["site"].isin(["", best_site(own)])]
    names = {**TASKS, MEAN: "mean over tasks"}
    names = {task: name for task, name in names.items() if task in set(own["test_task"])}
    within = own[(own["scheme"] == "within") | (own["kind"] == "pixels_cnn")]
    figure = new_figure(0.3 * len(names) + 1.3, TEXT)
    axes = figure.subplots(1, 3, sharey=True)
    titles = {"errable": "where an annotator can err", "history_matched": "alike in click history"}
    for axis, (negatives, title) in zip(axes, titles.items(), strict=False):
        at = within[within["negatives"] == negatives]
        rows(axis, at, names, "kind", BESIDE, y="test_task")
        axis.axvline(0.5, color=COLOURS["black"], lw=0.6)
        axis.set(xlabel="ROC AUC", title=title)
    rows(axes[2], own[own["scheme"] == "added"], names, "kind", ADDED, y="test_task")
    axes[2].axvline(0, color=COLOURS["black"], lw=0.6)
    axes[2].set(xlabel="ROC AUC gained", title="what the probe adds")
    looks = [look for kind, look in BESIDE.items() if (within["kind"] == kind).any()]
    legend(figure, looks, "outside lower left", len(looks))
    legend(figure, ADDED.values(), "outside lower right", 3)
    return figure


@in_style()
def plot_psychometric(table: pd.DataFrame) -> Figure:
    """Alarms of the probe and P(Undo) against the distance of the truth from the mark.

    ``table`` is that of `bcprobe.probes.psychometric.psychometric`: a panel for each task. A tick
    on the axis marks a curve's threshold, with its interval.
    """
    return _curves({name: table[table["task"] == task] for task, name in TASKS.items()})


@in_style()
def plot_graded(table: pd.DataFrame) -> Figure:
    """The curves of `plot_psychometric` by what the model and its probe learned from.

    ``table`` has columns ``training`` (the checkpoint) and ``manner`` beside those.
    """
    return _curves(
        {
            title: table[(table["training"] == name) & (table["manner"] == manner)]
            for (name, manner), title in LEARNED.items()
        }
    )


def _curves(parts: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel for each part of a table of curves that has rows, by its title."""
    there = {title: own for title, own in parts.items() if len(own)}
    down = -(-len(there) // ACROSS)
    figure = new_figure(1.55 * down + 0.5, TEXT if len(there) > 1 else COLUMN)
    axes = panels(figure, len(there), min(ACROSS, len(there)), sharex=True, sharey=True)
    for axis, (title, own) in zip(axes, there.items(), strict=True):
        axis.set(ylim=(-0.08, 1.03), xlabel="truth moved by, px", ylabel="share")
        axis.set_title(title, loc="left")
        lines(axis, own[own["what"].isin(["rate", "mistake"])], "shift", "detector", DETECTORS)
        _thresholds(axis, own[own["what"] == "threshold"])
    legend(figure, DETECTORS.values(), ncols=3 if len(there) > 1 else 2)
    return figure


def _thresholds(axis: Axes, table: pd.DataFrame) -> None:
    for row in table[table["detector"].isin(DETECTORS)].itertuples():
        colour = DETECTORS[row.detector].hex
        axis.plot([row.lower, row.upper], [-0.05, -0.05], color=colour, lw=0.9)
        axis.plot(row.estimate, -0.05, "|", color=colour, ms=5, mew=1.2)


@in_style()
def plot_two_by_two(table: pd.DataFrame) -> Figure:
    """Mistakes among steps alike in whether Undo comes, and Undo among steps alike in mistakes.

    ``table`` holds the rows ``crossed`` and ``crossed_all`` of
    `bcprobe.probes.result.ProbeResult`, with a column ``training`` (the checkpoint): a line of
    panels for each.
    """
    probes = table["kind"] + (" " + table["token"]).where(table["kind"] == "probe", "")
    table = table.assign(reads=probes)
    trainings, questions = (list(dict.fromkeys(table[c])) for c in ("training", "negatives"))
    figure = new_figure(0.4 + 1.7 * len(trainings), TEXT)
    axes = figure.subplots(len(trainings), len(CROSSED_STEPS), sharey=True, squeeze=False)
    for line, training in zip(axes, trainings, strict=True):
        for axis, (scheme, title) in zip(line, CROSSED_STEPS.items(), strict=True):
            own = table[(table["training"] == training) & (table["scheme"] == scheme)]
            names = {question: question for question in questions}
            rows(axis, own, names, "reads", CROSSED, y="negatives")
            axis.axvline(0.5, color=COLOURS["black"], lw=0.6)
            axis.set(xlabel="ROC AUC", xlim=(0.25, 1.02), ylabel="")
            axis.set_title(f"{training}: {title}", loc="left")
    legend(figure, CROSSED.values(), ncols=4)
    return figure


#: Kinds of rows that no panel shows.
ASIDE = ("mean_difference", "detectable", "p_value")
#: Baselines, which stand beside the harder negatives.
BASELINES = ("click_history", "p_undo", "pixels_cnn")


def at_cls(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that read [cls], or no site."""
    return table[table["token"].isin(["", "cls"])] if "token" in table else table


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """What the panels show: the leading negatives at [cls], and the baselines' means."""
    known = at_cls(table)
    shown = known[(known["negatives"] == leading(known)) & ~known["kind"].isin(ASIDE)]
    if "scheme" not in known:
        return shown
    own = known[known["kind"].isin(BASELINES) & known["scheme"].isin(["within", "pooled"])]
    own = own[own["negatives"] != "history_matched"]
    several = (own["test_task"] == MEAN).any()
    own = own[own["test_task"] == MEAN] if several else own
    return pd.concat([shown[~shown["kind"].isin(BASELINES)], own])


def leading(table: pd.DataFrame) -> str:
    """Negatives that lead: where an annotator can err, if the label has them."""
    return "errable" if (table["negatives"] == "errable").any() else "all"


def best_site(table: pd.DataFrame) -> str:
    """Site of the controls and of the matrix."""
    return str(table.loc[table["kind"] == "selectivity", "site"].iloc[0])


def draw_layers(axis: Axes, table: pd.DataFrame) -> list[Look]:
    """Means over the tasks by layer, and the pooled probe's controls; the looks to name."""
    controls = table[table["site"].isin(["", best_site(table)])]
    flat = _levels(axis, controls, CONTROLS)
    lines(axis, table[table["test_task"] == MEAN], "layer", "scheme", SCHEMES)
    probes = table[table["scheme"] == "within"]
    level(axis, float(probes["chance"].iloc[0]))
    axis.set(xlabel="after layer", ylabel=_metric(probes))
    axis.set_xticks(sorted(probes["layer"].dropna().unique()))
    return [*SCHEMES.values(), *flat, CHANCE]


def _draw_roc(axis: Axes, table: pd.DataFrame) -> None:
    curves = table[table["scheme"] == "roc"]
    looks = {name: Look(look.label, look.colour, "") for name, look in SCHEMES.items()}
    lines(axis, curves, "chance", "kind", looks)
    axis.plot([0, 1], [0, 1], color=COLOURS["black"], lw=0.6)
    axis.set(xlabel="false positives", ylabel="true positives", xlim=(0, 1), ylim=(0, 1.01))
    axis.set_title("mean over tasks, quartiles shaded", loc="right")


def draw_tasks(axis: Axes, table: pd.DataFrame) -> None:
    """Each task at the best site: within, pooled, left out."""
    at = table[(table["site"] == best_site(table)) & (table["kind"] == "probe")]
    names = {task: name for task, name in TASKS.items() if task in set(at["test_task"])}
    rows(axis, at, names, "scheme", SCHEMES, y="test_task")
    axis.axvline(at["chance"].iloc[0], color=COLOURS["black"], lw=0.6)
    axis.set_xlabel(_metric(at))


def draw_matrix(axis: Axes, cells: pd.DataFrame, limits: tuple[float, float]) -> None:
    """Numbers from task to task; rows are what was fitted on, columns what was tested on."""
    names = {**TASKS, ALL: "all tasks"}
    known = set(cells["train_task"]) & set(cells["test_task"])
    tasks = [task for task in names if task in known]
    grid = cells.pivot_table(index="train_task", columns="test_task", values="estimate")
    grid = grid.reindex(index=tasks, columns=tasks).rename(index=names, columns=names)
    matrix(axis, grid, limits, "RdBu")
    tilt(axis)
