"""When latents become readable: the pooled probe at every layer of every saved step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.activations.dataset import make_pool
from bcprobe.activations.gather import load_pool
from bcprobe.activations.labels import ask, get_latent
from bcprobe.model.registry import find_checkpoint, list_steps
from bcprobe.probes.one_task import probe_sites

COLUMNS = (
    "name", "frames", "site", "layer", "negatives", "metric", "estimate", "lower", "upper", "n",
)  # fmt: skip


def probe_series(
    latents: Sequence[str],
    checkpoint: str | Path,
    tasks: Sequence[str],
    episodes: int = 16,
    *,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Scores (`COLUMNS`) of probes fitted on all tasks, a row per latent, step and layer.

    ``episodes`` test episodes of each task, the same at every step; ``name`` is the latent,
    asked with its leading negatives. Options are those of `make_source`. Raises `InputError`
    for unknown names, or if the episodes hold one class only.
    """
    for latent in latents:
        get_latent(latent)
    rows = []
    for frames in list_steps(find_checkpoint(checkpoint)):
        pool = make_pool(f"{checkpoint}@{frames}", tasks, episodes, **options)
        together = load_pool(pool, f"{checkpoint}@{frames}", progress=progress)
        for latent in latents:
            question = ask(together.labels, latent)
            named = {
                "name": latent,
                "frames": frames,
                "negatives": question.negatives,
                "metric": question.latent.metric,
            }
            scores = probe_sites(question, together.values, list(together.values))
            rows += [
                {**named, "site": site, "layer": pool.layer(site), **found.score.__dict__}
                for site, found in scores.items()
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
