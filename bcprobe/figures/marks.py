"""Estimates with their 95 % intervals: as lines, as rows of marks, as bars, as a matrix.

Tables are tidy: ``estimate``, ``lower``, ``upper``, and columns that say which series a row is of.
How a series looks is a `Look`; seaborn draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import seaborn as sns
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from bcprobe.figures.style import SETTINGS
from bcprobe.palette import COLOURS

SHADE = "0.94"


@dataclass(frozen=True)
class Look:
    """How a series is shown; ``colour`` is a name of `bcprobe.palette.COLOURS` or a hex string."""

    label: str
    colour: str
    marker: str = "o"
    dashes: Any = "-"
    filled: bool = True

    @property
    def hex(self) -> str:
        """The colour as matplotlib takes it."""
        return COLOURS.get(self.colour, self.colour)


Looks = Mapping[Any, Look]


def unjoined(looks: Iterable[Look]) -> list[Look]:
    """The looks of marks that no line joins."""
    return [replace(look, dashes="") for look in looks]


def lines(
    axis: Axes, table: pd.DataFrame, x: str, by: str, looks: Looks, *, band: bool = True
) -> None:
    """``estimate`` against column ``x``, a line for each value of ``by`` that has a look.

    Intervals are bands, or else ranges. Rows without an estimate are left out.
    """
    table = table.assign(**{x: table[x].astype(float)})
    plot = _plot(table, by, looks, x=x, y="estimate")
    if plot is None:
        return
    spread = so.Band(alpha=0.18, edgewidth=0) if band else so.Range(linewidth=0.9)
    plot = plot.add(spread, ymin="lower", ymax="upper", legend=False)
    plot = plot.add(so.Line(pointsize=3), marker=by, linestyle=by, legend=False)
    _draw(plot, axis)


def rows(
    axis: Axes,
    table: pd.DataFrame,
    names: Mapping[str, str],
    by: str,
    looks: Looks,
    *,
    y: str = "task",
    factor: float = 1.0,
    dodge: bool = True,
) -> None:
    """A row for each value of ``y`` in ``names``, from top to bottom.

    The series stand below each other in it (``dodge``), or on one line.
    Estimates and intervals are multiplied by ``factor``; every other row is shaded.
    """
    table = table[table[y].isin(names) & table["estimate"].notna()]
    values = {name: factor * table[name].astype(float) for name in ("estimate", "lower", "upper")}
    table = table.assign(**values, row=table[y])
    plot = _plot(table, by, looks, x="estimate", y="row")
    if plot is not None:
        plot = plot.scale(y=so.Nominal(order=list(names)))
        move = [so.Dodge(empty="keep", by=["color"])] if dodge else []
        dot = so.Dot(pointsize=3.4, stroke=0.9)
        ends = {"xmin": "lower", "xmax": "upper"}
        plot = plot.add(so.Range(linewidth=0.9), *move, orient="y", legend=False, **ends)
        plot = plot.add(dot, *move, orient="y", marker=by, fill=by, legend=False)
        _draw(plot, axis)
    name_rows(axis, list(names.values()))


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Name the rows from top to bottom, with every other row shaded."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    _label_outer(axis)
    for place in range(0, len(names), 2):
        axis.axhspan(place - 0.5, place + 0.5, color=SHADE, lw=0, zorder=0)


def bars(
    axis: Axes, table: pd.DataFrame, x: str, names: Mapping[str, str], by: str, looks: Looks
) -> None:
    """A bar with its interval for each value of ``by``, side by side at each ``x`` in ``names``."""
    plot = _plot(table[table[x].isin(names)], by, looks, x=x, y="estimate")
    if plot is None:
        return
    plot = plot.scale(x=so.Nominal(order=list(names)))
    move, ends = so.Dodge(empty="keep"), {"ymin": "lower", "ymax": "upper"}
    plot = plot.add(so.Bar(alpha=1, edgewidth=0), move, legend=False)
    plot = plot.add(so.Range(color="black", linewidth=0.9), move, legend=False, **ends)
    _draw(plot, axis)
    axis.set_xticks(range(len(names)), list(names.values()))


def _plot(table: pd.DataFrame, by: str, looks: Looks, **mapped: str) -> so.Plot | None:
    """A plot of the rows whose series has a look, coloured by it; None if there are none."""
    known = [name for name in looks if (table[by] == name).any()]
    if not known:
        return None
    own = table[table[by].isin(known)]
    own = own.assign(**{by: pd.Categorical(own[by], known)}).sort_values(by, ignore_index=True)
    order = {"order": known}
    return so.Plot(own, **mapped, color=by).scale(
        color=so.Nominal({name: looks[name].hex for name in known}, **order),
        marker=so.Nominal({name: looks[name].marker for name in known}, **order),
        linestyle=so.Nominal({name: looks[name].dashes for name in known}, **order),
        fill=so.Nominal({name: looks[name].filled for name in known}, **order),
    )


def _draw(plot: so.Plot, axis: Axes) -> None:
    """Draw on an axis; its labels and its scales stay as they were, shared ones at the edge."""
    before = {"xlabel": axis.get_xlabel(), "ylabel": axis.get_ylabel()}
    scales = {name: getattr(axis, f"get_{name}")() for name in ("xscale", "yscale")}
    plot.theme(SETTINGS).on(axis).plot()
    axis.set(**before, **{name: "log" for name, scale in scales.items() if scale == "log"})
    _label_outer(axis)


def _label_outer(axis: Axes) -> None:
    """Leave the numbers and names of shared axes to the panels at the edge."""
    spec = axis.get_subplotspec()
    if spec is None:
        return
    others = [one.get_subplotspec() for one in axis.get_shared_x_axes().get_siblings(axis)]
    same = [one for one in others if one is not None and one.colspan == spec.colspan]
    if any(one.rowspan.start > spec.rowspan.start for one in same):
        axis.tick_params(axis="x", which="both", labelbottom=False)
        axis.xaxis.label.set_visible(False)
    if len(axis.get_shared_y_axes().get_siblings(axis)) > 1 and not spec.is_first_col():
        axis.tick_params(axis="y", which="both", labelleft=False)
        axis.yaxis.label.set_visible(False)


def panels(figure: FigureBase, count: int, across: int, **shared: Any) -> list[Axes]:
    """``count`` axes in rows of at most ``across``; ``shared`` goes to ``subplots``."""
    across = min(across, count)
    axes = figure.subplots(-(-count // across), across, squeeze=False, **shared).ravel().tolist()
    for axis in axes[count:]:
        axis.remove()
    return axes[:count]


def matrix(
    axis: Axes, grid: pd.DataFrame, limits: tuple[float, float], colours: Any, digits: str = "z.2f"
) -> None:
    """Numbers of a grid, written into its cells; an empty cell is nan.

    ``limits`` are the values of the ends of the colour map.
    """
    texts = grid.map(lambda value: _number(value, digits))
    sns.heatmap(
        grid.astype(float), ax=axis, vmin=limits[0], vmax=limits[1], cmap=colours, cbar=False,
        annot=texts, fmt="", annot_kws={"fontsize": 5.5},
    )  # fmt: skip
    axis.tick_params(length=0)
    axis.set(xlabel="", ylabel="")


def _number(value: float, digits: str) -> str:
    if value != value:
        return ""
    text = format(value, digits).replace("-", "−")
    return text.replace("0.", ".", 1) if digits == "z.2f" else text


def tilt(axis: Axes, degrees: float = 45) -> None:
    """Turn the names below an axis so that they find room."""
    axis.tick_params(axis="x", rotation=degrees)
    for label in axis.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")


def legend(
    figure: FigureBase | Axes,
    looks: Iterable[Look],
    loc: str = "outside lower center",
    ncols: int = 2,
    **options: Any,
) -> None:
    """Name the series of a figure, once each."""
    handles = [
        Line2D(
            [], [], color=look.hex, marker=look.marker, ls=look.dashes, label=look.label,
            mfc=look.hex if look.filled else "white",
        )
        for look in dict.fromkeys(looks)
    ]  # fmt: skip
    figure.legend(handles=handles, loc=loc, ncols=ncols, **options)


def level(axis: Axes, value: float, look: Look | None = None, span: Sequence[float] = ()) -> None:
    """A level across the plot, with its interval; without a look, thin and black: chance."""
    if look is None:
        axis.axhline(value, color=COLOURS["black"], lw=0.6, zorder=1)
        return
    axis.axhline(value, color=look.hex, ls=look.dashes, lw=1)
    if len(span) == 2:
        axis.axhspan(*span, color=look.hex, alpha=0.12, lw=0)
