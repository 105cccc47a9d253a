"""One decision of a model: the lens through the layers, what heads add, where [cls] attends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from bcprobe.episodes.episode import Episode
from bcprobe.figures.marks import matrix
from bcprobe.figures.screens import screens_of
from bcprobe.figures.style import CYCLE, TEXT, in_style, new_figure
from bcprobe.palette import COLOURS, PHASE_COLOURS

LENS, ATTENTION = "orange", "sky"
#: Most opaque that a tint may be.
OPACITY = 0.85
#: Lifts the dark parts of a screen drawn in grey.
GAMMA = 0.6
#: Layers and heads that find room.
_PANELS, _HEADS = 6, 4


@in_style()
def plot(table: pd.DataFrame) -> Figure:
    """The lens along the layers above; below what each head adds, and where the strongest look.

    ``table`` (`bcprobe.tables.lens.COLUMNS`) holds one decision of the episode of a world seed.
    """
    figure = new_figure(height=3.6, width=TEXT)
    grid = figure.add_gridspec(2, 6, height_ratios=(1.1, 2))
    above, left, right = map(figure.add_subfigure, (grid[0, :], grid[1, :2], grid[1, 2:]))
    first = table.iloc[0]
    step = int(first["step"])
    screens = screens_of(first["task"], int(first["world_seed"]), [step - 1, step])
    _lens(above, table, screens[1])
    _parts(left.subplots(), table)
    _attention(right, table, screens)
    return figure


def overlay(
    screen: NDArray[np.uint8],
    weights: NDArray[np.floating],
    colour: str = LENS,
    most: float | None = None,
) -> NDArray[np.uint8]:
    """The screen in grey, tinted where the weights [row, column] lie: uint8 [360, 480, 3].

    Opacity grows with the square root of the weight, up to `OPACITY` at the weight ``most``
    (default: the largest). Rows and columns must divide the screen.
    """
    height, width = screen.shape[:2]
    rows, columns = weights.shape
    share = np.sqrt(weights / max(float(weights.max()) if most is None else most, 1e-12))
    alpha = OPACITY * np.kron(share, np.ones((height // rows, width // columns)))[..., None]
    grey = 255 * (screen.mean(-1, keepdims=True) / 255) ** GAMMA
    tint = 255 * np.array(to_rgb(COLOURS[colour]))
    return ((1 - alpha) * grey + alpha * tint).astype(np.uint8)


def mark(axis: Axes, picture: NDArray[np.uint8], click: tuple[int, int] | None = None) -> None:
    """Show a picture of the screen without ticks, a cross at the click."""
    axis.imshow(picture)
    if click is not None:
        axis.plot(*click, "+", color="white", markersize=5, mew=1.8)
        axis.plot(*click, "+", color="black", markersize=4, mew=0.8)
    axis.set(xticks=[], yticks=[], xlim=(-0.5, 479.5), ylim=(359.5, -0.5))
    for spine in axis.spines.values():
        spine.set_visible(False)


def _lens(figure: SubFigure, table: pd.DataFrame, screen: NDArray[np.uint8]) -> None:
    rows = table[table["kind"] == "lens"]
    layers = sorted(rows["layer"].unique())
    chosen = np.linspace(0, len(layers) - 1, min(_PANELS, len(layers))).round().astype(int)
    axes = figure.subplots(1, len(chosen))
    click = int(table["x"].iloc[0]), int(table["y"].iloc[0])
    undo = table[table["kind"] == "p_undo"].set_index("layer")["value"]
    for axis, layer in zip(axes, (layers[i] for i in chosen), strict=True):
        mark(axis, overlay(screen, _grid(rows[rows["layer"] == layer])), click)
        axis.set_title("before layer 1" if layer == 0 else f"after layer {layer}", fontsize=7)
        axis.set_xlabel(f"P(Undo) {undo[layer]:.2f}", fontsize=6)
    figure.suptitle("where the next click is expected", fontsize=8, x=0.01, ha="left")


def _parts(axis: Axes, table: pd.DataFrame) -> None:
    """Matrix of what heads and MLPs add, a row a layer, the first layer below."""
    heads = table[table["kind"] == "head"].pivot(index="layer", columns="head", values="value")
    mlps = table[table["kind"] == "mlp"].set_index("layer")["value"]
    grid = heads.rename(columns=lambda head: f"{head + 1}").assign(MLP=mlps).iloc[::-1]
    most = max(float(grid.abs().to_numpy().max()), 1e-9)
    matrix(axis, grid, (-most, most), "RdBu_r", "+z.1f")
    axis.tick_params(axis="y", rotation=0)
    axis.set(xlabel="head", ylabel="layer")
    logit = float(table.loc[table["kind"] == "logit", "value"].iloc[0])
    axis.set_title(f"added to the logit of\nthe click's cell ({logit:.1f} in all)", loc="left")


def _attention(figure: SubFigure, table: pd.DataFrame, screens: list[NDArray[np.uint8]]) -> None:
    """The heads that add most, on the screen before the click and on the one before that."""
    strongest = table[table["kind"] == "head"].nlargest(_HEADS, "value", keep="first")
    rows = table[table["kind"] == "attention"]
    axes = figure.subplots(2, len(strongest), squeeze=False)
    for column, one in zip(axes.T, strongest.itertuples(), strict=True):
        own = rows[(rows["layer"] == one.layer) & (rows["head"] == one.head)]
        column[0].set_title(f"layer {one.layer}, head {one.head + 1}", fontsize=7)
        for axis, ago in zip(column, (0, 1), strict=True):
            part = own[own["ago"] == ago]
            mark(axis, overlay(screens[1 - ago], _grid(part), ATTENTION, own["value"].max()))
            axis.set_xlabel(f"{100 * part['value'].sum():.0f} % of its weight", fontsize=6)
    for axis, label in zip(axes[:, 0], ("this screen", "the one before"), strict=True):
        axis.set_ylabel(label, fontsize=7)


def _grid(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Values [row, column] of a table's rows."""
    return rows.pivot(index="row", columns="column", values="value").to_numpy()


@dataclass(frozen=True, eq=False)
class Panel:
    """A screen uint8 [360, 480, 3] tinted by weights [row, column], under a title."""

    title: str
    screen: NDArray[np.uint8]
    weights: NDArray[np.floating]
    colour: str = LENS


@in_style()
def plot_moment(
    panels: Sequence[Panel],
    episode: Episode,
    step: int,
    readouts: Mapping[str, NDArray[np.floating]],
) -> Figure:
    """The panels with a cross at the episode's click, over the time line of the episode.

    ``readouts`` [step] are drawn by name, the phases as a band, standing mistakes as grey.
    """
    figure = new_figure(height=4.1, width=9.5)
    grid = figure.add_gridspec(2, len(panels), height_ratios=(2, 1))
    for place, panel in enumerate(panels):
        axis = figure.add_subplot(grid[0, place])
        mark(axis, overlay(panel.screen, panel.weights, panel.colour), episode.steps[step].click)
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
