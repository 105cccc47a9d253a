"""How every figure looks: size, type, the order and names of tasks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

from bcprobe.files import atomic_file
from bcprobe.palette import COLOURS

#: Width of one column and of the whole text, inches.
COLUMN, TEXT = 3.25, 6.75
FONT, SMALL_FONT = 8, 7
PNG_DPI = 300

#: Colours for series without a name of their own, in this order.
CYCLE = tuple(COLOURS[name] for name in list(COLOURS)[:6])

#: Every task in the order of the paper, with the name a figure shows.
TASKS = {
    "colored_dot_tracking": "colored dots",
    "neuron_tracking": "neuron",
    "cell_lineage_tracking": "lineage",
    "multichannel_image_alignment": "alignment",
    "animal_limb_tracking": "limbs",
    "animal_behavioral_tracking": "behaviour",
    "3d_exploration_classification": "3d exploration",
    "spectral_plume_finding": "plume",
    "road_network_construction": "roads",
    "shape_matching": "shapes (held out)",
}

SETTINGS: dict[str, Any] = {
    "font.size": FONT,
    "font.family": "sans-serif",
    "axes.titlesize": FONT,
    "axes.labelsize": FONT,
    "xtick.labelsize": SMALL_FONT,
    "ytick.labelsize": SMALL_FONT,
    "legend.fontsize": SMALL_FONT,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=CYCLE),
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


@contextmanager
def in_style() -> Iterator[None]:
    """Draw in this style inside the block, or the function that this decorates.

    Settings outside stay as they are.
    """
    with mpl.rc_context(SETTINGS):
        yield


def new_figure(height: float, width: float = COLUMN) -> Figure:
    """Empty figure of so many inches, laid out so that nothing is cut off."""
    _known_to_jupyter()
    return Figure(figsize=(width, height), layout="constrained")


def _known_to_jupyter() -> None:
    """Let Jupyter show figures as pictures, which it does only once pyplot has been used."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return
    from IPython.core.pylabtools import select_figure_formats

    png = shell.display_formatter.formatters["image/png"]
    if Figure not in png.type_printers:
        select_figure_formats(shell, {"png"})


def save(figure: Figure, folder: Path | str, name: str) -> list[Path]:
    """Write ``name.pdf`` and ``name.png`` into the folder; the same figure, the same bytes.

    Raises `InputError` if the folder cannot be written to.
    """
    paths = [Path(folder) / f"{name}.{kind}" for kind in ("pdf", "png")]
    for path in paths:
        undated = (
            {"CreationDate": None, "Creator": "bcprobe"}
            if path.suffix == ".pdf"
            else {"Software": "bcprobe"}
        )
        with atomic_file(path) as temporary, in_style():
            figure.savefig(temporary, format=path.suffix[1:], dpi=PNG_DPI, metadata=undated)
    return paths
