"""Phase and position: how well they read by layer, and in each task."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bcprobe.figures.across import draw_layers, draw_tasks
from bcprobe.figures.style import TEXT, in_style, new_figure

LOWEST, HIGHEST = -0.5, 1.02


def plot(table: pd.DataFrame) -> Figure:
    """A row for each value of ``latent``: by layer with controls (left), by task (right).

    ``table`` is that of `bcprobe.probes.result.ProbeResult` for each latent, with a column
    ``latent``. Values of R2 below -0.5 lie outside what is shown.
    """
    latents = list(dict.fromkeys(table["latent"]))
    with in_style():
        figure = new_figure(0.5 + 2.2 * len(latents), TEXT)
        axes = figure.subplots(len(latents), 2, squeeze=False)
        for line, latent in zip(axes, latents, strict=True):
            rows = table[table["latent"] == latent]
            draw_layers(line[0], rows)
            draw_tasks(line[1], rows)
            line[0].set_title(latent, loc="left")
            (low, high), (left, right) = line[0].get_ylim(), line[1].get_xlim()
            line[0].set_ylim(max(low, LOWEST), min(high, HIGHEST))
            line[1].set_xlim(max(left, LOWEST), min(right, HIGHEST))
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
