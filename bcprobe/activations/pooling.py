"""Activations of several tasks as one set, and the sources they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcprobe.activations.cache import load_or_make
from bcprobe.activations.dataset import Activations, Source, Values, make_source
from bcprobe.activations.labels import ask
from bcprobe.activations.workers import gather_sources
from bcprobe.types import ALL


@dataclass(frozen=True)
class Pool:
    """Sources of the same checkpoint on several tasks, taken as one."""

    sources: tuple[Source, ...]
    task: str = ALL

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(source.task for source in self.sources)

    @property
    def episodes(self) -> int:
        """Episodes of all tasks."""
        return sum(source.episodes for source in self.sources)

    @property
    def seed(self) -> int:
        """Seed of the worlds, the same for every task."""
        return self.sources[0].seed

    @property
    def key(self) -> str:
        """Name of the content: equal keys, equal activations."""
        return _digest(source.key for source in self.sources)

    def layer(self, site: str) -> int:
        """Blocks before a site."""
        return self.sources[0].layer(site)

    def load(self, progress: bool = True) -> dict[str, Activations]:
        """Activations of each task, from the cache or gathered."""
        found = load_or_make(self.sources, partial(gather_sources, progress=progress))
        return dict(zip(self.tasks, found, strict=True))


def make_pool(checkpoint: str | Path, tasks: Sequence[str], episodes: int, **options: Any) -> Pool:
    """Sources of ``episodes`` test episodes of each task; options as for `make_source`.

    Raises `InputError` for unknown names and counts out of range.
    """
    return Pool(tuple(make_source(checkpoint, task, episodes, **options) for task in tasks))


def combine(parts: Mapping[str, Activations]) -> Activations:
    """Activations of several tasks, one after another, as one set.

    Its labels have a further column ``task``, and ``episode`` counts over all tasks.
    """
    first = next(iter(parts.values()))
    labels, episodes = [], 0
    for task, part in parts.items():
        own = part.labels.assign(task=task, episode=part.labels["episode"] + episodes)
        episodes = int(own["episode"].max()) + 1
        labels.append(own)
    pixels = [part.pixels for part in parts.values() if part.pixels is not None]
    return Activations(
        values=_joined([part.values for part in parts.values()]),
        labels=pd.concat(labels, ignore_index=True),
        untrained=_joined([part.untrained for part in parts.values()]),
        pixels=np.concatenate(pixels) if len(pixels) == len(parts) else None,
        hashes={
            **first.hashes,
            "episodes": _digest(part.hashes.get("episodes", "") for part in parts.values()),
        },
    )


def feature_table(
    activations: Activations, site: str, latent: str, negatives: str | None = None
) -> pd.DataFrame:
    """Everything a probe of one's own needs, a row per step asked about.

    Columns ``x0``, ``x1``... hold the site's activations, ``y`` what should be read and
    ``group`` the episode's number, then all columns of the labels. For arrays see
    `bcprobe.probes.linear.arrays`.
    """
    question = ask(activations.labels, latent, negatives)
    features = question.features(activations.at(site))
    table = pd.DataFrame(features, columns=[f"x{i}" for i in range(features.shape[1])])
    table = table.assign(y=question.truth, group=question.groups)
    return pd.concat([table, question.labels], axis=1)


def _joined(parts: Sequence[Values]) -> Values:
    shared = [site for site in parts[0] if all(site in part for part in parts)]
    return {site: np.concatenate([part[site] for part in parts]) for site in shared}


def _digest(names: Any) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
