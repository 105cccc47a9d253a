"""Where in the network the mistake direction appears, and what reads it without the network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bcprobe.figures.probe_layers import plot
from bcprobe.figures.style import save

__all__ = ["draw", "plot"]


def draw(table: pd.DataFrame, folder: Path, name: str = "mistake_probe") -> list[Path]:
    """Write the plot of a probe's table as ``name.pdf`` and ``name.png``; returns the paths."""
    return save(plot(table), folder, name)
