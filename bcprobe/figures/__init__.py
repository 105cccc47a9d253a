"""What the paper shows: each figure is a function of one tidy table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bcprobe.figures import (
    across,
    annotator,
    closed_loop,
    dagger,
    emergence,
    gallery,
    heads,
    latents,
    layouts,
    lens,
    mistakes,
    overview,
    probe_emergence,
    probe_layers,
    scaling,
    steering,
    style,
    transfer,
)
from bcprobe.results import read_table

#: ``plot(table) -> Figure`` of every figure, by name.
FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "annotator": annotator.plot,
    "closed_loop": closed_loop.plot,
    "dagger": dagger.plot,
    "directions": across.plot_directions,
    "dots_mistake_probe": probe_layers.plot,
    "dots_steering": steering.plot,
    "emergence": emergence.plot,
    "filmstrip": gallery.plot_strips,
    "gallery": gallery.plot_screens,
    "heads": heads.plot,
    "latents": latents.plot,
    "layouts": layouts.plot,
    "lens": lens.plot,
    "mistakes": mistakes.plot,
    "mistake_probe": across.plot,
    "overview": overview.plot,
    "probe_emergence": probe_emergence.plot,
    "scaling": scaling.plot,
    "steering": steering.plot,
    "transfer": transfer.plot,
}


def redraw(name: str, folder: Path) -> list[Path]:
    """Draw a figure from ``folder/name.parquet``; PDF and PNG are written beside it."""
    table = read_table(folder / f"{name}.parquet")
    with style.in_style():
        return style.save(FIGURES[name](table), folder, name)
