"""Where the mistake is: what swapping a group of tokens after each layer does, by frame."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.figures.style import TASKS, TEXT, in_style, new_figure

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
START = "wrong"


def plot(table: pd.DataFrame) -> Figure:
    """Heat maps of the share of the difference between twins that a swap of the residual undoes.

    ``table`` is that of `bcprobe.interventions.maps.Patching`, of one task or of several (column
    ``task``), and of one checkpoint or several (column ``checkpoint``). Rows are token groups,
    columns layers; a panel for each task and each (frame edited, frame answering).
    """
    rows = table[
        (table["component"] == "resid") & (table["metric"] == "effect") & (table["start"] == START)
    ]
    rows = rows[(rows["later"] == rows["lag"]) | (rows["lag"] == 0)]
    with in_style():
        panels = list(rows.groupby(_keys(rows), sort=False))
        across = min(3, len(panels))
        down = -(-len(panels) // across)
        figure = new_figure(0.5 + 1.75 * down, TEXT)
        axes = np.atleast_1d(figure.subplots(down, across, squeeze=False)).ravel()
        for axis, (names, part) in zip(axes, panels, strict=False):
            _draw(axis, part, str(names[0]), int(names[1]), int(names[2]), panels.__len__() > 1)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        bar = figure.colorbar(
            axes[0].collections[0], ax=list(axes), location="bottom", shrink=0.4, aspect=40
        )
        bar.set_label("share of the twins' difference in log P(Undo) against the best other click")
    return figure


def _keys(rows: pd.DataFrame) -> list[str]:
    return ["task", "lag", "later"]


def _draw(axis: Axes, part: pd.DataFrame, task: str, lag: int, later: int, several: bool) -> None:
    grid = part.pivot_table(index="tokens", columns="layer", values="estimate")
    grid = grid.reindex([name for name in TOKENS if name in grid.index])
    sns.heatmap(
        grid.rename(index=TOKENS),
        ax=axis,
        vmin=-1,
        vmax=1,
        cmap="RdBu_r",
        cbar=False,
        annot=True,
        fmt=".2f",
        annot_kws={"size": 5},
        linewidths=0.3,
        xticklabels=[f"{layer:.0f}" for layer in grid.columns],
    )
    asked = "" if lag == later == 0 else f", frame {lag} edited, asked {later} later"
    axis.set_title(f"{TASKS.get(task, task)}{asked}", loc="left")
    axis.set(xlabel="after layer", ylabel="")
    axis.tick_params(length=0, labelrotation=0)
