"""Figures of learning: skills and probes over training, scaling, transfer, layouts."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bcprobe.figures.marks import Look, legend, level, lines, rows, tilt
from bcprobe.figures.style import TEXT, in_style, new_figure
from bcprobe.palette import COLOURS

#: Skills by their names in the table of `bcprobe.evaluation.emergence.emergence_rows`.
SKILLS = {
    "valid": Look("valid click", "black", ".", ":"),
    "buttons": Look("buttons", "blue"),
    "place": Look("placement, within 5 px", "orange", "s"),
    "done": Look("done", "green", "^", "--"),
    "undo": Look("undo", "vermillion", "D"),
}
TITLES = {
    "dots-nano": "dots, pointer head",
    "dots-nano-independent": "dots, independent head",
}
#: Labels that are probed over training, with the metric.
LABELS = {
    "mistake": Look("mistake (ROC AUC)", "vermillion", "D"),
    "phase": Look("phase (balanced accuracy)", "blue"),
    "position": Look("position (R2)", "green", "s"),
    "progress": Look("progress (R2)", "purple", "^"),
}
#: Clicks whose accuracy is compared at equal loss.
DECISIONS = {
    "place_right": Look("placement", "orange", "s"),
    "undo": Look("undo", "vermillion", "D"),
    "done": Look("done", "green", "^"),
}
MARKERS = "osD^vP"
ANNOTATOR = Look("annotator", "grey", "", ":")
#: How a network began.
STARTS = {
    "fine_tuned": Look("fine-tuned", "blue"),
    "scratch": Look("from scratch", "vermillion", "s"),
}
#: Without learning.
UNTAUGHT = {
    "zero_shot": Look("zero-shot", "grey", "", "--"),
    "in_context": Look("in context", "grey", "", ":"),
}
#: Pairs right by chance: one of five candidates.
CHANCE = 0.2
#: When the direction is evaluated, and which.
WHEN = {
    "before": Look("before", "green", "^"),
    "after": Look("after, refitted", "blue", "o"),
    "kept": Look("after, kept", "purple", "D"),
}
#: What a network of one layout learned since.
TRAINING = {
    "none": Look("checkpoint", "grey", "o"),
    "one": Look("more of its layout", "orange", "s"),
    "eight": Look("eight layouts", "blue", "D"),
}
KINDS = {"buttons": "buttons", "place_right": "placement, 5 px", "undo": "undo"}
GROUPS = {
    "first": Look("its own", "green", "^"),
    "trained": Look("7 others", "blue", "o"),
    "held_out": Look("3 held out", "vermillion", "s"),
}

#: Ways to learn that the study of recoveries compares.
METHODS = {
    "start": "checkpoint",
    "plain": "annotators' episodes",
    "recoveries": "with recoveries",
}
TEMPERATURES = {
    0.0: Look("T = 0", "blue", "o", ""),
    0.5: Look("T = 0.5", "orange", "D", ""),
}
#: Closed-loop measures of it over all tasks, with the titles of their panels.
WORK = {
    "success": "success",
    "score": "score",
    "mistakes_per_episode": "mistakes per\nepisode",
    "correction_rate": "mistakes\ncorrected",
}
#: Episodes that the mistake probe is tested on.
TESTED = {
    "annotator": Look("annotators' episodes", "blue", "o", ""),
    "own": Look("the checkpoint's own", "vermillion", "s", ""),
}


@in_style()
def plot_emergence(table: pd.DataFrame) -> Figure:
    """Accuracy of each skill against frames seen, a panel per checkpoint.

    Below each panel, in the order of their appearance, the frames from which on each skill was
    at half of its last accuracy; at the edge, from the beginning. ``table`` has the columns of
    `bcprobe.evaluation.emergence.emergence_rows`, ``checkpoint`` and ``tasks``.
    """
    names = list(dict.fromkeys(table["checkpoint"]))
    figure = new_figure(height=1.95 * len(names) + 0.4)
    shares = [1.0, 0.5] * len(names)
    panels = figure.subplots(len(shares), 1, squeeze=False, height_ratios=shares, sharex=True)[:, 0]
    first = table.loc[table["frames"] > 0, "frames"].min()
    panels[-1].set(xscale="log", xlim=(0.7 * first, 1.3 * table["frames"].max()))
    for number, name in enumerate(names):
        own = table[(table["checkpoint"] == name) & (table["frames"] > 0)]
        upper, lower = panels[2 * number : 2 * number + 2]
        lines(upper, own[own["metric"] == "accuracy"], "frames", "skill", SKILLS)
        upper.set(ylim=(-0.03, 1.03), ylabel="accuracy")
        tasks = int(own["tasks"].iloc[0])
        upper.set_title(TITLES.get(name, f"{name}: {tasks} tasks" if tasks > 1 else name))
        _halves(lower, own[own["metric"] == "half"], 0.75 * first)
    panels[-1].set_xlabel("frames seen in training")
    legend(figure, SKILLS.values())
    return figure


def _halves(axis: Axes, table: pd.DataFrame, edge: float) -> None:
    """The order of the skills: first on top; nothing lies left of the edge."""
    ends = ["estimate", "lower", "upper"]
    known = table.assign(**table[ends].clip(lower=edge)).dropna(subset="estimate")
    order = dict.fromkeys(known.sort_values("estimate")["skill"], "")
    rows(axis, known, order, "skill", SKILLS, y="skill", dodge=False)
    axis.set_ylabel("half is\nthere", rotation=0, ha="right", va="center", fontsize=7)


@in_style()
def plot_probe_emergence(table: pd.DataFrame) -> Figure:
    """Score of the best layer of each label and, below, accuracy over training.

    A pair of panels for each checkpoint. ``table`` is that of
    `bcprobe.tables.probing.probe_emergence`: ``what`` is ``probe`` or ``skill``, ``name`` the
    label or skill.
    """
    names = list(dict.fromkeys(table["checkpoint"]))
    figure = new_figure(3.0 * len(names) + 0.3)
    panels = figure.subplots(2 * len(names), 1, sharex=True)
    seen = table.loc[table["frames"] > 0, "frames"]
    panels[-1].set(xscale="log", xlim=(0.7 * seen.min(), 1.3 * seen.max()))
    skills = {name: look for name, look in SKILLS.items() if name != "valid"}
    for number, name in enumerate(names):
        own = table[(table["checkpoint"] == name) & (table["frames"] > 0)]
        above, below = panels[2 * number : 2 * number + 2]
        lines(above, own[own["what"] == "probe"], "frames", "name", LABELS)
        lines(below, own[own["what"] == "skill"], "frames", "name", skills)
        above.set(title=name, ylabel="probe, best layer")
        above.set_ylim(max(-0.1, above.get_ylim()[0]), 1.03)
        below.set(ylabel="accuracy", ylim=(-0.03, 1.03))
    panels[-1].set_xlabel("frames seen in training")
    legend(figure, LABELS.values(), "outside upper center")
    legend(figure, skills.values())
    return figure


@in_style()
def plot_scaling(table: pd.DataFrame) -> Figure:
    """Four panels of one column; ``table`` is that of `bcprobe.studies.scaling.summarise`.

    Loss against frames and against FLOPs, a line for each size; the frames each size takes to
    the loss that all reach; the accuracy of each kind of click there.
    """
    figure = new_figure(height=7.2)
    frames, flops, needed, decided = figure.subplots(4, 1)
    losses = table[table["metric"] == "loss"]
    own = float(table.loc[table["metric"] == "annotator_loss", "estimate"].iloc[0])
    sizes = _sizes(losses)
    for axis, x, label in ((frames, "frames", "frames learned from"), (flops, "flops", "FLOPs")):
        axis.set(xscale="log", xlabel=label, ylabel="loss, nats a click")
        lines(axis, losses, x, "parameters", sizes)
        level(axis, own, ANNOTATOR)
    legend(frames, [*sizes.values(), ANNOTATOR], "best", title="parameters", title_fontsize=7)
    _needed(needed, table)
    decided.set(xscale="log", xlabel="parameters", ylabel="accuracy at that loss")
    at_loss = table[table["metric"] == "accuracy_at_loss"]
    lines(decided, at_loss, "parameters", "name", DECISIONS, band=False)
    decided.set_ylim(-0.03, 1.03)
    legend(decided, DECISIONS.values(), "lower center", 3, bbox_to_anchor=(0.5, 1.0))
    return figure


def _sizes(losses: pd.DataFrame) -> dict[float, Look]:
    """Looks of networks of so many parameters, from dark to light."""
    sizes = sorted(losses["parameters"].unique())
    shades = [colormaps["viridis"](0.9 * k / max(1, len(sizes) - 1)) for k in range(len(sizes))]
    return {
        size: Look(_thousands(size), to_hex(shade), MARKERS[k % len(MARKERS)])
        for k, (size, shade) in enumerate(zip(sizes, shades, strict=True))
    }


def _thousands(size: float) -> str:
    return f"{size / 1e6:.1f} M" if size >= 1e6 else f"{size / 1e3:.0f} k"


def _needed(axis: Axes, table: pd.DataFrame) -> None:
    own = table[table["metric"] == "frames_to_loss"].assign(all="")
    axis.set(xscale="log", yscale="log", xlabel="parameters")
    lines(axis, own, "parameters", "all", {"": Look("", "blue")}, band=False)
    axis.set_ylabel(f"frames to {own['level'].iloc[0]:.2f} nats")
    factor = table[table["metric"] == "fewer_frames"].iloc[0]
    if math.isfinite(factor["estimate"]):
        ends = f"[{factor['lower']:.2f}, {factor['upper']:.2f}]"
        text = f"ten times the parameters: {factor['estimate']:.2f} {ends}\ntimes fewer frames"
        axis.set_title(text + " (paper: 3)", fontsize=7)


@in_style()
def plot_transfer(table: pd.DataFrame) -> Figure:
    """Four panels of one column; ``table`` is that of `bcprobe.studies.transfer.summarise`.

    Success and the share of pairs right against the episodes learned from; the AUC of the mistake
    direction of the other tasks at each layer; what adding it changes in P(Undo) after a wrong
    pair, beside a random direction.
    """
    figure = new_figure(height=7.0)
    success, score, reading, steering = figure.subplots(4, 1)
    for axis, metric, label in (
        (success, "success", "success, closed loop"),
        (score, "score", "pairs right, closed loop"),
    ):
        own = table[table["metric"] == metric]
        axis.set(xscale="log", xlabel="episodes learned from", ylabel=label)
        lines(axis, own, "episodes", "start", STARTS)
        for start, look in UNTAUGHT.items():
            level(axis, float(own.loc[own["start"] == start, "estimate"].iloc[0]), look)
        axis.set_ylim(-0.03, 1.03)
    level(score, CHANCE)
    score.text(60, CHANCE + 0.1, "chance, one of five", fontsize=7)
    legend(success, [*STARTS.values(), *UNTAUGHT.values()], "upper left")
    table = table.assign(layer=after_layer(table["site"]))
    lines(reading, table[table["metric"] == "auc"], "layer", "when", WHEN)
    level(reading, 0.5)
    reading.set(ylabel="ROC AUC of the\nmistake direction", ylim=(-0.03, 1.03))
    legend(reading, WHEN.values(), "upper left", 1)
    _steered(steering, table[table["metric"] == "p_undo_change"])
    for axis in (reading, steering):
        axis.set(xlabel="after layer", xticks=sorted(table["layer"].dropna().unique()))
    return figure


def _steered(axis: Axes, table: pd.DataFrame) -> None:
    """What adding a direction changes in P(Undo), against subtracting it."""
    own = table[table["side"] == "wrong"]
    looks = {
        f"{when} {direction}": Look(look.label, look.colour, look.marker, dashes)
        for when, look in WHEN.items()
        for direction, dashes in (("mistake", "-"), ("random", ":"))
    }
    lines(axis, own.assign(which=own["when"] + " " + own["direction"]), "layer", "which", looks)
    level(axis, 0)
    axis.set_ylabel("P(Undo), added\nless subtracted")
    axis.set_title("solid: mistake direction; dotted: random", fontsize=7)


def after_layer(sites: pd.Series) -> pd.Series:
    """The layer after which a site of the residual stream stands, 0 before the first; or nan."""
    block = sites.str.extract(r"^blocks\.(\d+)\.")[0].astype(float)
    return block + sites.str.contains("resid_post", na=False)


@in_style()
def plot_layouts(table: pd.DataFrame) -> Figure:
    """Accuracy by kind of click and group of layouts; below, the mistake probe across layouts.

    ``table`` is that of `bcprobe.studies.layouts.summarise`. The probe's lines are means over a
    group's layouts, before (dotted) and after eight were learned.
    """
    figure = new_figure(height=4.8)
    upper, lower = figure.subfigures(2, 1, squeeze=False)[:, 0]
    panels = upper.subplots(1, len(KINDS), sharey=True)
    table = table[table["layout"].isna()]
    places = {group: place for place, group in enumerate(GROUPS)}
    table = table.assign(place=table["group"].map(places), layer=after_layer(table["site"]))
    accuracies = table[table["metric"] == "accuracy"]
    for axis, (kind, title) in zip(panels, KINDS.items(), strict=True):
        own = accuracies[accuracies["kind"] == kind]
        shift = own["training"].map(dict(zip(TRAINING, (-0.16, 0, 0.16), strict=True)))
        own = own.assign(place=own["place"] + shift)
        lines(axis, own, "place", "training", TRAINING, band=False)
        axis.set_xticks(range(len(places)), [look.label for look in GROUPS.values()])
        axis.set(title=title, ylim=(-0.03, 1.03), xlim=(-0.4, len(places) - 0.6))
        tilt(axis, 30)
    panels[0].set_ylabel("accuracy")
    legend(upper, TRAINING.values(), ncols=3)
    probe = lower.subplots()
    aucs = table[table["metric"] == "auc"]
    lines(probe, aucs[aucs["training"] == "eight"], "layer", "group", GROUPS)
    dotted = {name: Look(look.label, look.colour, "", ":") for name, look in GROUPS.items()}
    before = aucs[aucs["training"] == "none"].assign(lower=math.nan, upper=math.nan)
    lines(probe, before, "layer", "group", dotted)
    level(probe, 0.5)
    probe.set(xlabel="after layer", ylabel="ROC AUC, mistake")
    probe.set_xticks(sorted(aucs["layer"].unique()))
    probe.set_title("probe of one layout, tested in others\n(dotted: before eight were learned)")
    legend(lower, GROUPS.values(), ncols=3)
    return figure


@in_style()
def plot_recoveries(table: pd.DataFrame) -> Figure:
    """What learning from disturbed and own episodes changes, in closed loop and in the probe.

    ``table`` is that of `bcprobe.studies.recoveries.summarise`, over all its tasks.
    """
    own = table[table["task"] == "all"]
    figure = new_figure(height=1.9, width=TEXT)
    axes = figure.subplots(1, len(WORK) + 1, sharey=True)
    for axis, (metric, title) in zip(axes, WORK.items(), strict=False):
        at = own[own["metric"] == metric]
        rows(axis, at, METHODS, "temperature", TEMPERATURES, y="method")
        axis.set_title(title)
    probed = own[(own["metric"] == "auc") & own["site"].eq(_deepest(own))]
    rows(axes[-1], probed, METHODS, "kind", TESTED, y="method")
    axes[-1].axvline(0.5, color=COLOURS["black"], lw=0.6)
    axes[-1].set_title("mistake probe,\nROC AUC")
    legend(figure, TEMPERATURES.values(), "outside lower left")
    legend(figure, TESTED.values(), "outside lower right")
    return figure


def _deepest(table: pd.DataFrame) -> str:
    """The last site of the residual stream in a table."""
    sites = table["site"].dropna()
    return str(sites.loc[after_layer(sites).idxmax()])
