"""Who ends a world in success when nobody helps, here and in the paper."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bcprobe.figures.rows import Look, draw_marks, label_rows, ordered, shade_rows, warm
from bcprobe.figures.style import new_figure

OTHERS = {
    "annotator": Look("annotator", "black", "|"),
    "random": Look("random clicks", "purple", "x"),
    "repeat": Look("last click again", "grey", "+"),
}
#: The paper's rows: hollow, and in a panel of their own.
PAPER = {
    "Gemini 3 Flash": Look("Gemini 3 Flash", "vermillion", "^", filled=False),
    "Qwen3-VL-32B": Look("Qwen3-VL-32B", "purple", "v", filled=False),
    "BC": Look("its BC model", "blue", "o", filled=False),
}


def plot(table: pd.DataFrame) -> Figure:
    """Success in % of worlds with Wilson's 95 % intervals; beside it what the paper reports.

    ``table`` has the columns of an evaluation; the paper's rows have the section ``paper``.
    """
    theirs = table[table["section"] == "paper"]
    own = table[table["section"] != "paper"]
    tasks = ordered(own)
    figure = new_figure(height=0.3 * len(tasks) + 1.95)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.7, 1))
    blind = [(look, own[own["policy"] == name]) for name, look in OTHERS.items()]
    draw_marks(left, tasks, [*warm(own), *blind])
    draw_marks(right, tasks, [(k, theirs[theirs["policy"] == name]) for name, k in PAPER.items()])
    label_rows(left, tasks)
    shade_rows(right, len(tasks))
    right.tick_params(axis="y", length=0)
    for axis, title in ((left, "here"), (right, "in the paper\n(other worlds)")):
        axis.set(xlim=(-4, 104), xticks=(0, 50, 100))
        axis.set_title(title, fontsize=7)
        axis.spines["left"].set_visible(False)
    left.set_xlabel("worlds that end in success, %")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right")
    return figure
