"""Figures of behaviour: annotators beside people, models at work, their mistakes, DAgger."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.marks import Look, bars, legend, rows
from bcprobe.figures.style import TASKS, TEXT, in_style, new_figure
from bcprobe.palette import COLOURS

#: Name shown of all tasks together.
TOGETHER = {"all": "all tasks"}
#: Quantities shown of an annotator, with the name and the factor they are shown with.
QUANTITIES = {
    "navigate": ("navigation, % of clicks", 100),
    "place": ("placement, % of clicks", 100),
    "view": ("projection, % of clicks", 100),
    "undo": ("undo, % of clicks", 100),
    "error_undo_rate": ("undo / (place + undo), %", 100),
    "steps": ("clicks per episode", 1),
}
DATA = "data"
#: Who clicks: the model at its temperatures, the annotators, and two that look at nothing.
CLICKERS = {
    DATA: Look("annotators (the data)", "black", "|", ""),
    "model 0.0": Look("model, T = 0", "blue", "o", ""),
    "model 0.5": Look("model, T = 0.5", "green", "s", ""),
    "model 1.0": Look("model, T = 1", "orange", "D", ""),
    "twin": Look("model, T = 0, placement right", "vermillion", "x", ""),
    "annotator": Look("annotator", "black", "|", ""),
    "random": Look("random clicks", "purple", "x", ""),
    "repeat": Look("last click again", "grey", "+", ""),
}
#: What the paper reports: hollow, and in a panel of its own.
PAPER = {
    "Gemini 3 Flash": Look("Gemini 3 Flash", "vermillion", "^", "", filled=False),
    "Qwen3-VL-32B": Look("Qwen3-VL-32B", "purple", "v", "", filled=False),
    "BC": Look("its BC model", "blue", "o", "", filled=False),
}
#: Panels of the rates: metric -> title.
RATES = {
    "mistake_rate": "placements\nmistaken, %",
    "error_undo_rate": "undo / (place\n+ undo), %",
}
HEADS = {
    "dots-nano": Look("pointer", "blue", "s", ""),
    "dots-nano-independent": Look("independent", "orange", "s", ""),
}
KINDS = {
    "buttons": "buttons",
    "place_right": "placement\nwithin 5 px",
    "undo": "undo",
    "done": "done",
}
#: Methods of the DAgger study from top to bottom.
METHODS = {
    "none": "checkpoint",
    "cloning": "more cloning",
    "beta-0.1": "DAgger, beta 0.1",
    "beta-0": "DAgger, beta 0",
}
METHOD_LOOKS = {name: Look(METHODS[name], "blue" if name != "none" else "grey") for name in METHODS}
#: What is compared there: metric, kind of click, title.
MEASURES = (
    ("success", "", "success,\nclosed loop"),
    ("score", "", "score,\nclosed loop"),
    ("accuracy", "all", "accuracy,\nteacher-forced"),
    ("nll", "all", "loss, nats,\nteacher-forced"),
)


def ordered(table: pd.DataFrame) -> dict[str, str]:
    """Tasks of a table with their names, in the order of the paper; all together last."""
    present = set(table["task"])
    return {task: name for task, name in {**TASKS, **TOGETHER}.items() if task in present}


@in_style()
def plot_annotator(table: pd.DataFrame) -> Figure:
    """The virtual annotator beside the range of the paper's people, one quantity a row.

    ``table`` is `bcprobe.evaluation.behaviour.behaviour_table` of one task.
    """
    figure = new_figure(height=2.5)
    axes = figure.subplots(len(QUANTITIES), 1)
    known = table.set_index("quantity")
    for axis, (quantity, (label, factor)) in zip(axes, QUANTITIES.items(), strict=True):
        row = factor * known.loc[quantity, ["estimate", "lower", "upper"]].astype(float)
        low, high = (
            factor * float(known.loc[quantity, f"human_{end}"]) for end in ("lower", "upper")
        )
        axis.barh(0, high - low, left=low, height=0.7, color=COLOURS["sky"], alpha=0.55, lw=0)
        axis.plot([row.lower, row.upper], [0, 0], color=COLOURS["vermillion"], lw=2)
        axis.plot(row.estimate, 0, "o", color=COLOURS["vermillion"])
        spread = high - low
        axis.set(xlim=(low - 0.4 * spread, high + 0.4 * spread), ylim=(-0.6, 0.6), yticks=[])
        axis.set_ylabel(label, rotation=0, ha="right", va="center")
        axis.spines["left"].set_visible(False)
        axis.locator_params(axis="x", nbins=4)
        axis.tick_params(axis="x", pad=1, length=2)
    axes[0].set_title("bar: range of 3 people; dot: annotator, 95 %", fontsize=7, loc="right")
    return figure


@in_style()
def plot_closed_loop(table: pd.DataFrame) -> Figure:
    """Success in % of worlds with Wilson's 95 % intervals; beside it what the paper reports.

    ``table`` has the columns of an evaluation; the paper's rows have the section ``paper``.
    """
    theirs = table[table["section"] == "paper"]
    own = _clickers(table[table["section"] != "paper"])
    tasks = ordered(own)
    figure = new_figure(height=0.3 * len(tasks) + 1.95)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.7, 1))
    rows(left, own, tasks, "who", CLICKERS, factor=100)
    rows(right, theirs, tasks, "policy", PAPER, factor=100)
    for axis, title in ((left, "here"), (right, "in the paper\n(other worlds)")):
        axis.set(xlim=(-4, 104), xticks=(0, 50, 100))
        axis.set_title(title, fontsize=7)
    left.set_xlabel("worlds that end in success, %")
    shown = set(own["who"])
    ours = [look for name, look in CLICKERS.items() if name in shown]
    legend(figure, ours, "outside lower left", 1)
    legend(figure, PAPER.values(), "outside lower right", 1)
    return figure


@in_style()
def plot_mistakes(table: pd.DataFrame) -> Figure:
    """A row a task: mistake rate, undo rate, P(Undo) after a forced mistake, with intervals.

    ``table`` has the columns of an evaluation: its sections ``mistakes`` and
    ``forced_mistakes``.
    """
    tasks = ordered(table)
    figure = new_figure(height=0.32 * len(tasks) + 1.45)
    axes = figure.subplots(1, 3, sharey=True)
    series = _clickers(table)
    for axis, (metric, title) in zip(axes, RATES.items(), strict=False):
        own = series[(series["section"] == "mistakes") & (series["metric"] == metric)]
        rows(axis, own, tasks, "who", CLICKERS, factor=100)
        axis.set_title(title, fontsize=7)
        axis.set_xlim(left=-3)
    forced = series[series["section"] == "forced_mistakes"]
    forced = forced.assign(who=forced["who"].replace("annotator", DATA))
    twins = forced[(forced["metric"] == "undo_next_if_right") & (forced["who"] == "model 0.0")]
    after = forced[forced["metric"] == "undo_next"]
    rows(axes[2], pd.concat([after, twins.assign(who="twin")]), tasks, "who", CLICKERS, factor=100)
    axes[2].set_title("undo, led into\na mistake, %", fontsize=7)
    axes[2].set(xlim=(-4, 104), xticks=(0, 50, 100))
    shown = {*series["who"], "twin"} - {"annotator"}
    legend(figure, [look for name, look in CLICKERS.items() if name in shown])
    return figure


def _clickers(table: pd.DataFrame) -> pd.DataFrame:
    """The table with ``who``: its policy, and of the model the temperature (`CLICKERS`)."""
    warm = table["policy"].eq("model")
    who = table["policy"].where(~warm, "model " + table["temperature"].astype(float).astype(str))
    return table.assign(who=who)


@in_style()
def plot_heads(table: pd.DataFrame) -> Figure:
    """The pointer head against the paper's independent bins, after the same frames.

    Teacher-forced accuracy per kind of click. ``table`` has the columns of an evaluation,
    ``checkpoint`` and ``frames``.
    """
    figure = new_figure(height=1.9)
    axis = figure.subplots()
    bars(axis, table[table["metric"] == "accuracy"], "kind", KINDS, "checkpoint", HEADS)
    axis.set(ylim=(0, 1.02), ylabel="teacher-forced accuracy")
    frames = int(table["frames"].iloc[0])
    legend(figure, HEADS.values(), "outside upper center", title=f"after {frames:,} frames each")
    return figure


@in_style()
def plot_dagger(table: pd.DataFrame) -> Figure:
    """A row of panels for each task that DAgger worked on, a mark for each method.

    ``table`` is that of `bcprobe.studies.dagger.summarise`.
    """
    tasks = list(dict.fromkeys(table.loc[table["method"] != "none", "task"]))
    figure = new_figure(height=1.3 * len(tasks) + 0.5, width=TEXT)
    grid = figure.subplots(len(tasks), len(MEASURES), squeeze=False, sharey=True, sharex="col")
    for line, task in zip(grid, tasks, strict=True):
        for axis, (metric, kind, _) in zip(line, MEASURES, strict=True):
            _methods(axis, table[(table["task"] == task) & (table["metric"] == metric)], kind)
        line[0].set_ylabel(TASKS[task])
    for axis, (metric, _, title) in zip(grid[0], MEASURES, strict=True):
        axis.set_title(title)
        if metric != "nll":
            axis.set_xlim(-0.03, 1.03)
    return figure


def _methods(axis: Axes, table: pd.DataFrame, kind: str) -> None:
    own = table[table["kind"] == kind] if kind else table
    rows(axis, own, METHODS, "method", METHOD_LOOKS, y="method", dodge=False)
