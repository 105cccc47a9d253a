"""The pointer head against the paper's independent bins, after the same frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bcprobe.figures.style import new_figure
from bcprobe.palette import COLOURS

KINDS = {
    "buttons": "buttons",
    "place_right": "placement\nwithin 5 px",
    "undo": "undo",
    "done": "done",
}
HEADS = {"dots-nano": ("pointer", "blue"), "dots-nano-independent": ("independent", "orange")}


def plot(table: pd.DataFrame) -> Figure:
    """Teacher-forced accuracy per kind of click, a bar per head, with 95 % intervals.

    ``table`` has the columns of an evaluation, ``checkpoint`` and ``frames``.
    """
    figure = new_figure(height=1.9)
    axis = figure.subplots()
    scores = table[table["metric"] == "accuracy"].set_index(["checkpoint", "kind"])
    for place, (name, (label, colour)) in enumerate(HEADS.items()):
        rows = scores.loc[name].reindex(list(KINDS))
        x = np.arange(len(KINDS)) + 0.38 * place - 0.19
        errors = [rows["estimate"] - rows["lower"], rows["upper"] - rows["estimate"]]
        axis.bar(x, rows["estimate"], 0.36, color=COLOURS[colour], label=label)
        axis.errorbar(x, rows["estimate"], yerr=errors, fmt="none", ecolor="black", elinewidth=0.8)
    axis.set_xticks(range(len(KINDS)), list(KINDS.values()))
    axis.set(ylim=(0, 1.02), ylabel="teacher-forced accuracy")
    frames = int(table["frames"].iloc[0])
    figure.legend(loc="outside upper center", ncols=2, title=f"after {frames:,} frames each")
    return figure
