"""One decision through the layers: the click lens, what each head adds, where [cls] looks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from bcprobe.figures.gallery import screens_of
from bcprobe.figures.style import TEXT, new_figure
from bcprobe.palette import COLOURS

#: ``kind``: ``lens`` (probability of a square of the screen), ``p_undo`` (that of the Undo button),
#: ``attention`` (weight of a patch), ``head``, ``mlp``, ``start``, ``biases`` and ``logit`` (of
#: the click's cell, centred). What does not apply to a row is -1; ``ago`` counts frames back,
#: ``layer`` layers passed.
COLUMNS = (
    "checkpoint", "task", "world_seed", "step", "x", "y", "kind", "layer", "head", "ago", "row",
    "column", "value",
)  # fmt: skip
LENS, ATTENTION = "orange", "sky"
#: Most opaque that a tint may be.
OPACITY = 0.85
#: Lifts the dark parts of a screen drawn in grey.
GAMMA = 0.6
#: Layers and heads that find room.
_PANELS, _HEADS = 6, 4


def plot(table: pd.DataFrame) -> Figure:
    """The lens along the layers above; below what each head adds, and where the strongest look.

    ``table`` (`COLUMNS`) holds one decision of the episode of a world seed (`generate`).
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
    values = np.column_stack([heads.to_numpy(), mlps.loc[heads.index].to_numpy()])
    most = max(np.abs(values).max(), 1e-9)
    axis.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 * most else "black"
        axis.text(
            column,
            row,
            f"{value:+.1f}".replace("-0.0", "+0.0"),
            ha="center",
            va="center",
            fontsize=6,
            color=colour,
        )
    axis.set_xticks(range(values.shape[1]), [*(f"{h + 1}" for h in heads.columns), "MLP"])
    axis.set_yticks(range(len(heads)), [f"{layer}" for layer in heads.index])
    axis.tick_params(length=0)
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
