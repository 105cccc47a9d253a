"""The stages from a world to a score, with a real episode in them, above a strip of the worlds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import ConnectionPatch, FancyBboxPatch, Rectangle
from numpy.typing import NDArray

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate, open_world
from bcprobe.figures.screens import screens_of
from bcprobe.figures.style import TASKS, TEXT, in_style, new_figure
from bcprobe.palette import COLOURS, PHASE_COLOURS

#: Title and line below of each stage.
STAGES = (
    ("world, annotator", "ground truth,\nhabits, mistakes"),
    ("episode", "clicks and seeds,\nlatents known"),
    ("pixels", "composed again,\nbyte for byte"),
    ("ClickTransformer", "attends over frames,\npoints at a pixel"),
    ("activations", "residual stream at\n[cls], every layer"),
    ("score", "probe, steer, act:\nwith intervals"),
)
_LAYERS, _FRAMES = 5, 3


@in_style()
def plot(table: pd.DataFrame) -> Figure:
    """Two-column figure: six stages in a row, and a screen of every task below.

    ``table`` is that of the gallery (`bcprobe.tables.screens.COLUMNS`); its first task's
    episode is the one in the stages.
    """
    tasks = [task for task in TASKS if task in set(table["task"])]
    rows = table.set_index("task")
    figure = new_figure(height=3.75, width=TEXT)
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 1.45))
    above, below = (figure.add_subfigure(grid[place]) for place in range(2))
    seed, step = int(rows.loc[tasks[0], "world_seed"]), int(rows.loc[tasks[0], "step"])
    _stages(above, generate(tasks[0], seed), step)
    for axis, task in zip(_strip(below, len(tasks)), tasks, strict=False):
        seed, step = int(rows.loc[task, "world_seed"]), int(rows.loc[task, "step"])
        axis.imshow(screens_of(task, seed, [step])[0])
        axis.set_title(TASKS[task], fontsize=6.5, pad=2)
    return figure


def _strip(figure: SubFigure, count: int) -> list[Axes]:
    columns = -(-count // 2) if count > 5 else count
    axes = figure.subplots(-(-count // columns), columns, squeeze=False).ravel().tolist()
    for axis in axes:
        axis.axis("off")
    return list(axes)


def _stages(figure: SubFigure, episode: Episode, step: int) -> None:
    axes = figure.subplots(1, len(STAGES), gridspec_kw={"wspace": 0.22})
    first = max(0, min(step, len(episode) - _FRAMES))
    screens = screens_of(episode.task, episode.world_seed, list(range(first, first + _FRAMES)))
    draw: Sequence[Callable[[Axes], None]] = (
        lambda axis: _world(axis, episode),
        lambda axis: _clicks(axis, episode),
        lambda axis: _frames(axis, screens),
        _network,
        _stream,
        _interval,
    )
    for axis, (title, words), stage in zip(axes, STAGES, draw, strict=True):
        axis.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], aspect="equal")
        axis.set_title(title, fontsize=7, pad=3, fontweight="bold")
        axis.set_xlabel(words, fontsize=6, labelpad=3)
        stage(axis)
        for spine in axis.spines.values():
            spine.set(visible=True, color="0.6", linewidth=0.8)
    for one, other in pairwise(axes):
        figure.add_artist(_arrow(one, other))


def _arrow(one: Axes, other: Axes) -> ConnectionPatch:
    return ConnectionPatch(
        (1.03, 0.5), (-0.03, 0.5), "axes fraction", "axes fraction", axesA=one, axesB=other,
        arrowstyle="-|>", shrinkA=0, shrinkB=0, lw=1, color=COLOURS["black"], mutation_scale=7,
    )  # fmt: skip


def _world(axis: Axes, episode: Episode) -> None:
    """The canvas, and where the annotator placed its marks."""
    simulator = open_world(episode.task, episode.world_seed, episode.layout)
    canvas = simulator.arrangement.canvas
    screen = simulator.screen()
    shown = screen[canvas.y : canvas.y + canvas.height, canvas.x : canvas.x + canvas.width]
    axis.imshow(shown, extent=(0, 1, 0, 1))
    for one in episode.steps:
        if one.action == "place":
            x = (one.click.x - canvas.x) / canvas.width
            y = 1 - (one.click.y - canvas.y) / canvas.height
            axis.plot(x, y, "+", color="white", ms=3.5, mew=0.8)


def _clicks(axis: Axes, episode: Episode) -> None:
    """A bar a click, coloured by phase, in lines of equal length."""
    per_line = -(-len(episode) // 6)
    for t, one in enumerate(episode.steps):
        column, line = t % per_line, t // per_line
        colour = PHASE_COLOURS[one.phase]
        width = 0.9 / per_line
        place = (0.05 + column * width, 0.83 - 0.15 * line)
        axis.add_patch(Rectangle(place, 0.75 * width, 0.11, color=colour, lw=0))


def _frames(axis: Axes, screens: Sequence[NDArray[np.uint8]]) -> None:
    """Screens one before the other."""
    for number, screen in enumerate(screens):
        x, y = 0.05 + 0.1 * number, 0.36 - 0.13 * number
        axis.imshow(screen, extent=(x, x + 0.7, y, y + 0.525), zorder=2 + number)
        axis.add_patch(
            Rectangle((x, y), 0.7, 0.525, fill=False, ec="white", lw=0.6, zorder=2 + number)
        )
    axis.set(xlim=(0, 1), ylim=(0, 1))


def _network(axis: Axes) -> None:
    """Tokens of each frame: patches, the last click, [cls]; attention to frames before."""
    for frame in range(_FRAMES):
        x = 0.08 + 0.31 * frame
        for row in range(3):
            for column in range(3):
                place = (x + 0.075 * column, 0.08 + 0.075 * row)
                axis.add_patch(Rectangle(place, 0.06, 0.06, color="0.75", lw=0))
        for number, colour in enumerate(("orange", "blue")):
            place = (x + 0.075 * number, 0.32)
            axis.add_patch(Rectangle(place, 0.06, 0.06, color=COLOURS[colour], lw=0))
        for before in range(frame + 1):
            axis.plot([0.19 + 0.31 * before, 0.19 + 0.31 * frame], [0.42, 0.6], color="0.6", lw=0.6)
        axis.add_patch(
            FancyBboxPatch(
                (x, 0.61), 0.2, 0.12, boxstyle="round,pad=0.01", fc="white", ec="0.3", lw=0.7
            )
        )
        axis.annotate(
            "", (x + 0.1, 0.93), (x + 0.1, 0.75), arrowprops={"arrowstyle": "->", "lw": 0.8}
        )
        axis.plot(x + 0.1, 0.94, "+", color=COLOURS["vermillion"], ms=4)


def _stream(axis: Axes) -> None:
    """The residual stream, layer upon layer; [cls] is what is read."""
    for layer in range(_LAYERS + 1):
        y = 0.08 + 0.15 * layer
        for token in range(8):
            colour = COLOURS["blue"] if token == 7 else "0.85"
            axis.add_patch(Rectangle((0.08 + 0.1 * token, y), 0.08, 0.1, color=colour, lw=0))
    axis.add_patch(Rectangle((0.765, 0.055), 0.11, 0.9, fill=False, ec=COLOURS["blue"], lw=0.9))


def _interval(axis: Axes) -> None:
    """Estimates with intervals against a line of chance: a sketch, no measurement."""
    axis.axvline(0.3, color="0.6", lw=0.8, ls=":")
    for place, (middle, half, colour) in enumerate(
        ((0.72, 0.1, "blue"), (0.42, 0.09, "orange"), (0.31, 0.08, "grey"))
    ):
        y = 0.75 - 0.25 * place
        axis.plot([middle - half, middle + half], [y, y], color=COLOURS[colour], lw=1.6)
        axis.plot(middle, y, "o", color=COLOURS[colour])
