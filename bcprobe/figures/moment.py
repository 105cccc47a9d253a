"""One moment of an episode: click map, lens, attention, and what probes read along the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bcprobe.episodes.episode import Episode
from bcprobe.figures.lens import LENS, mark, overlay
from bcprobe.figures.style import CYCLE, in_style, new_figure
from bcprobe.palette import COLOURS, PHASE_COLOURS


@dataclass(frozen=True, eq=False)
class Panel:
    """A screen uint8 [360, 480, 3] tinted by weights [row, column], under a title."""

    title: str
    screen: NDArray[np.uint8]
    weights: NDArray[np.floating]
    colour: str = LENS


def plot(
    panels: Sequence[Panel],
    episode: Episode,
    step: int,
    readouts: Mapping[str, NDArray[np.floating]],
) -> Figure:
    """The panels with a cross at the episode's click, over the time line of the episode.

    ``readouts`` [step] are drawn by name, the phases as a band, standing mistakes as grey.
    """
    with in_style():
        figure = new_figure(height=4.1, width=9.5)
        grid = figure.add_gridspec(2, len(panels), height_ratios=(2, 1))
        for place, panel in enumerate(panels):
            axis = figure.add_subplot(grid[0, place])
            mark(
                axis, overlay(panel.screen, panel.weights, panel.colour), episode.steps[step].click
            )
            axis.set_title(panel.title)
        _timeline(figure.add_subplot(grid[1, :]), episode, step, readouts)
    return figure


def _timeline(
    axis: Axes, episode: Episode, step: int, readouts: Mapping[str, NDArray[np.floating]]
) -> None:
    steps = np.arange(len(episode))
    for name, colour in zip(readouts, CYCLE * len(readouts), strict=False):
        axis.plot(steps, readouts[name], color=colour, label=name)
    low, high = axis.get_ylim() if readouts else (0.0, 1.0)
    floor = low - 0.12 * (high - low)
    for t, one in enumerate(episode.steps):
        colour = PHASE_COLOURS[one.phase]
        axis.broken_barh([(t - 0.5, 1)], (floor, 0.1 * (high - low)), color=colour, lw=0)
        if one.latents.mistake:
            axis.axvspan(t - 0.5, t + 0.5, color=COLOURS["grey"], alpha=0.25, lw=0)
    axis.axvline(step, color="black", lw=1)
    axis.set(xlim=(-0.5, len(episode) - 0.5), ylim=(floor, high), xlabel="click")
    axis.set_title("grey: a mistake stands; band: phase", loc="left", fontsize=7)
    if readouts:
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0.1)
    else:
        axis.set_yticks([])
