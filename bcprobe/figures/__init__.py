"""What the paper shows: each figure is a function of one tidy table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bcprobe.figures import (
    at_work,
    behaviour,
    causes,
    decision,
    learning,
    overview,
    probing,
    screens,
    style,
)
from bcprobe.results import read_table

#: ``plot(table) -> Figure`` of every figure, by name.
FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "annotator": behaviour.plot_annotator,
    "at_work": at_work.plot,
    "baselines": probing.plot_baselines,
    "circuit": causes.plot_circuit,
    "closed_loop": behaviour.plot_closed_loop,
    "cosines": probing.plot_cosines,
    "dagger": behaviour.plot_dagger,
    "directions": causes.plot_directions,
    "erasure": causes.plot_erasure,
    "steered": causes.plot_steered,
    "dots_mistake_probe": probing.plot_layers,
    "dots_psychometric": probing.plot_psychometric,
    "emergence": learning.plot_emergence,
    "filmstrip": screens.plot_strips,
    "gallery": screens.plot_screens,
    "graded": probing.plot_graded,
    "heads": behaviour.plot_heads,
    "latents": probing.plot_labels,
    "layouts": learning.plot_layouts,
    "lens": decision.plot,
    "mistakes": behaviour.plot_mistakes,
    "mistake_probe": probing.plot_many_tasks,
    "overview": overview.plot,
    "patching": causes.plot_patching,
    "psychometric": probing.plot_psychometric,
    "patching_training": causes.plot_training,
    "probe_emergence": learning.plot_probe_emergence,
    "recoveries": learning.plot_recoveries,
    "scaling": learning.plot_scaling,
    "transfer": learning.plot_transfer,
    "two_by_two": probing.plot_two_by_two,
}


def redraw(name: str, tables: Path, out: Path | None = None) -> list[Path]:
    """Draw a figure from ``tables/name.parquet`` into ``out`` (default: beside it).

    Paths of the PDF and the PNG. Raises `InputError` if there is no such table, or it cannot be
    read.
    """
    table = read_table(tables / f"{name}.parquet")
    return style.save(FIGURES[name](table), tables if out is None else out, name)
