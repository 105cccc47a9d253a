"""Activations of episodes, kept on disk so that the second probe starts at once.

Torch is imported only where a model has to look at episodes (`bcprobe.activations.extract`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.labels import ask, label_table
from bcprobe.activations.sites import check_sites, layer_of, residual_sites
from bcprobe.bootstrap import Ints
from bcprobe.episodes.store import episodes_hash
from bcprobe.errors import InputError, check_name
from bcprobe.gui.layouts import get_layout
from bcprobe.model.config import ClickTransformerConfig, config_from_dict
from bcprobe.model.registry import checkpoint_hash, find_checkpoint, read_card
from bcprobe.rng import split_seed
from bcprobe.tasks import get_task
from bcprobe.types import GENERATOR_VERSION, Episode

if TYPE_CHECKING:
    from bcprobe.model.transformer import ClickTransformer

SCHEMA_VERSION = 2
#: Test worlds that belong to one seed.
WORLDS_PER_SEED = 10_000

Halves = NDArray[np.float16]
Values = dict[str, NDArray[np.floating[Any]]]


#: What a program that gathers activations prints after each job.
DONE = "done"


@dataclass(frozen=True, eq=False)
class Gathered:
    """Episodes and what was seen of them: ``sites`` of each model, float16 [step, d].

    ``pixels`` float16 [step, 324] is the mean colour, 0-1, of the 12 x 9 patches of 40 px.
    """

    episodes: tuple[Episode, ...]
    sites: tuple[dict[str, Halves], ...]
    pixels: Halves


@dataclass(frozen=True, eq=False)
class Activations:
    """What a model holds at [cls] of every step, and what is true there.

    ``values`` [step, d] of each site; ``labels`` as `label_table` makes it, a row per step;
    ``untrained`` the same sites in an untrained model of the same shape; ``pixels``
    [step, 324] the mean colours of the screen's 12 x 9 patches. Stored as float16.
    ``hashes`` names what they were made from (``checkpoint``, ``episodes``).
    """

    values: Values
    labels: pd.DataFrame
    untrained: Values = field(default_factory=dict)
    pixels: NDArray[np.floating[Any]] | None = None
    hashes: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, site: str) -> NDArray[np.floating[Any]]:
        """Activations [step, d] of a site. Raises `InputError` with the nearest name."""
        return self.values[check_name("site", site, self.values)]


@dataclass(frozen=True)
class Source:
    """Whose activations on which episodes: annotators' episodes in unseen worlds.

    ``checkpoint`` is a folder; ``sites`` are hook names; ``seed`` picks the worlds (10,000
    of the test split belong to each) and the untrained model's weights.
    """

    checkpoint: Path
    sites: tuple[str, ...]
    task: str
    episodes: int
    seed: int = 0
    layout: str = "original"
    difficulty: str = "default"

    def __post_init__(self) -> None:
        check_name("difficulty", self.difficulty, get_task(self.task).settings)
        get_layout(self.layout)
        if not 1 <= self.episodes <= WORLDS_PER_SEED:
            raise InputError(f"episodes is {self.episodes}; it must be 1 to {WORLDS_PER_SEED}")
        if self.seed < 0:
            raise InputError(f"seed {self.seed} is negative; use 0 or more")

    @property
    def config(self) -> ClickTransformerConfig:
        """Shape of the checkpoint's model."""
        return config_from_dict(read_card(self.checkpoint)["model"])

    @property
    def world_seeds(self) -> list[int]:
        """Seeds of the worlds, all from the test split."""
        first = self.seed * WORLDS_PER_SEED
        return [split_seed("test", first + i) for i in range(self.episodes)]

    def layer(self, site: str) -> int:
        """Blocks before a site."""
        return layer_of(site, self.config)

    def as_dict(self) -> dict[str, Any]:
        """Everything the activations depend on, as plain data."""
        return {
            **asdict(self),
            "schema_version": SCHEMA_VERSION,
            "generator_version": GENERATOR_VERSION,
            "checkpoint": checkpoint_hash(self.checkpoint),
            "sites": list(self.sites),
            "split": "test",
        }

    @property
    def key(self) -> str:
        """Name of the content: equal keys, equal activations."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()


def make_source(
    checkpoint: str | Path,
    task: str,
    episodes: int,
    *,
    sites: Sequence[str] | None = None,
    **options: Any,
) -> Source:
    """Source of a checkpoint by name, path or hub id.

    ``sites`` default to the residual stream, of which all sites are kept even if only some
    are asked for. Raises `InputError` for unknown names and counts out of range.
    """
    folder = find_checkpoint(checkpoint)
    config = config_from_dict(read_card(folder)["model"])
    usual = residual_sites(config)
    asked = usual if sites is None else check_sites(sites, config)
    kept = usual if set(asked) <= set(usual) else asked
    return Source(folder, kept, task, episodes, **options)


def collect(
    model: ClickTransformer, episodes: Iterable[Episode], sites: Sequence[str] | None = None
) -> Activations:
    """Activations of a model on any episodes, at [cls], in one pass and nothing on disk.

    ``sites`` default to the residual stream. Raises `InputError` for an unknown site, or if
    there is no episode.
    """
    from bcprobe.activations.extract import gather, replayed

    chosen = check_sites(residual_sites(model.config) if sites is None else sites, model.config)
    episodes = list(episodes)
    if not any(map(len, episodes)):
        raise InputError("no step to look at; give one episode or more")
    return activations_of(gather([model], chosen, replayed(episodes)))


def activations_of(found: Gathered, **hashes: str) -> Activations:
    """What was gathered from a model, and from an untrained one if that came second."""
    return Activations(
        values=dict(found.sites[0]),
        labels=label_table(found.episodes),
        untrained=dict(found.sites[1]) if len(found.sites) > 1 else {},
        pixels=found.pixels,
        hashes={"episodes": episodes_hash(found.episodes), **hashes},
    )


def arrays(
    activations: Activations, site: str, latent: str, negatives: str | None = None
) -> tuple[NDArray[np.float32], NDArray[np.generic], Ints]:
    """``X, y, groups`` for scikit-learn: features [row, d], labels and episodes [row]."""
    question = ask(activations.labels, latent, negatives)
    return question.features(activations.at(site)), question.truth, question.groups
