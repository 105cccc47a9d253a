"""A model at work: screens with its click map, and P(Undo) and a mistake probe over the episode."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.figures.decision import mark, overlay
from bcprobe.figures.screens import screens_of
from bcprobe.figures.style import TEXT, in_style, new_figure
from bcprobe.palette import COLOURS, PHASE_COLOURS


@in_style()
def plot(table: pd.DataFrame) -> Figure:
    """Three screens under the model's answer; below, the episode with what the model holds.

    ``table`` has the columns of `bcprobe.tables.at_work`. The cross is the annotator's click, the
    tint the probability of the model's.
    """
    first = table.iloc[0]
    episode = generate(str(first["task"]), int(first["world_seed"]))
    answers = table[table["kind"] == "answer"]
    steps = sorted(answers["step"].unique())
    screens = screens_of(episode.task, episode.world_seed, [int(step) for step in steps])
    figure = new_figure(height=3.3, width=TEXT)
    grid = figure.add_gridspec(2, len(steps), height_ratios=(2, 1.1))
    for place, (step, screen) in enumerate(zip(steps, screens, strict=True)):
        axis = figure.add_subplot(grid[0, place])
        squares = answers[answers["step"] == step]
        weights = squares.pivot(index="row", columns="column", values="value").to_numpy()
        one = episode.steps[step]
        mark(axis, overlay(screen, weights), one.click)
        name = "places a mark" if one.widget == "canvas" else f"presses {one.widget}"
        axis.set_title(f"click {step}: annotator {name}", fontsize=7)
    _over_time(figure.add_subplot(grid[1, :]), table, episode, [int(step) for step in steps])
    return figure


def _over_time(axis: Axes, table: pd.DataFrame, episode: Episode, shown: list[int]) -> None:
    answers, held = (table[table["kind"] == kind] for kind in ("p_undo", "probe"))
    axis.plot(answers["step"], answers["value"], color=COLOURS["orange"], label="P(Undo)", lw=1)
    placed = [t + 1 for t, one in enumerate(episode.steps) if one.action == "place"]
    held = held[held["step"].isin(placed)]  # where the probe was fitted, and nowhere else
    axis.plot(
        held["step"],
        held["value"],
        "o",
        color=COLOURS["blue"],
        label="mistake probe, just after a placement",
        ms=3,
    )
    for t, one in enumerate(episode.steps):
        axis.broken_barh([(t - 0.5, 1)], (-0.42, 0.12), color=PHASE_COLOURS[one.phase], lw=0)
        if one.latents.mistake:
            axis.axvspan(t - 0.5, t + 0.5, color=COLOURS["grey"], alpha=0.3, lw=0)
    for step in shown:
        axis.axvline(step, color="black", lw=0.6, ls=":")
    axis.set(xlim=(-0.5, len(episode) - 0.5), ylim=(-0.42, 1.25), xlabel="click")
    axis.set_yticks(np.array([0.0, 0.5, 1.0]))
    axis.set_title("grey: a mistake stands; band: phase", loc="left", fontsize=7)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.1)
