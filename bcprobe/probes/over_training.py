"""When labels become readable: the pooled probe at every layer of every saved step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.activations.gather import activations
from bcprobe.activations.labels import ask, get_latent
from bcprobe.model.registry import find_checkpoint, list_steps
from bcprobe.probes.one_task import probe_sites

COLUMNS = (
    "name", "frames", "site", "layer", "negatives", "metric", "estimate", "lower", "upper", "n",
)  # fmt: skip


def probe_series(
    labels: Sequence[str],
    checkpoint: str | Path,
    tasks: Sequence[str],
    episodes: int = 16,
    *,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Scores (`COLUMNS`) of probes fitted on all tasks, a row per label, step and layer.

    ``episodes`` test episodes of each task, the same at every step; ``name`` is the label,
    with its leading negatives. Options are those of `bcprobe.activations.gather.activations`.
    Raises `InputError` for unknown names, or if the episodes hold one class only.
    """
    for label in labels:
        get_latent(label)
    rows = []
    for frames in list_steps(find_checkpoint(checkpoint)):
        name = f"{checkpoint}@{frames}"
        data = activations(name, tasks, episodes, tokens="cls", progress=progress, **options)
        for label in labels:
            question = ask(data.labels, label)
            named = {
                "name": label,
                "frames": frames,
                "negatives": question.negatives,
                "metric": question.latent.metric,
            }
            scores = probe_sites(question, data.values, data.sites)
            rows += [
                {**named, "site": site, "layer": data.layer(site), **found.score.__dict__}
                for site, found in scores.items()
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
