"""Lines with 95 % bands, as the figures of studies share them."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes


def band(axis: Axes, table: pd.DataFrame, x: str, colour: str, label: str, marker: str) -> None:
    """A line of ``estimate`` against column ``x``, its band from ``lower`` to ``upper``."""
    rows = table.sort_values(x)
    axis.fill_between(rows[x], rows["lower"], rows["upper"], color=colour, alpha=0.18, lw=0)
    axis.plot(rows[x], rows["estimate"], marker=marker, ms=2.8, color=colour, label=label)


def points(axis: Axes, table: pd.DataFrame, x: str, colour: str, label: str, marker: str) -> None:
    """Estimates against column ``x`` with bars from ``lower`` to ``upper``, joined by a line."""
    rows = table.sort_values(x)
    axis.vlines(rows[x], rows["lower"], rows["upper"], color=colour, lw=1)
    axis.plot(rows[x], rows["estimate"], marker=marker, color=colour, label=label)


def short_sites(sites: list[str]) -> list[str]:
    """Names of residual sites for an axis: in, 0, 1, and so on."""
    return ["in" if "resid_pre" in site else site.split(".")[1] for site in sites]
