"""Activations with what is true there: arrays for scikit-learn, tables for pandas.

Needs no torch; `bcprobe.activations.gather` makes them, `bcprobe.activations.cache` keeps them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.labels import NONE_PLACED, Question, add_labels, ask, label_table
from bcprobe.activations.sites import (
    SINGLE_TOKENS,
    check_sites,
    check_tokens,
    layer_of,
    residual_sites,
    site_at,
)
from bcprobe.annotators.persona import MANNERS
from bcprobe.bootstrap import Ints
from bcprobe.errors import InputError, at_least_one, check_name
from bcprobe.gui.layouts import get_layout
from bcprobe.model.config import ClickTransformerConfig, config_from_dict
from bcprobe.model.registry import checkpoint_hash, find_checkpoint, read_card
from bcprobe.rng import check_seed, split_seed
from bcprobe.tasks import get_task
from bcprobe.types import ALL, GENERATOR_VERSION

SCHEMA_VERSION = 4
#: Test worlds that belong to one seed.
WORLDS_PER_SEED = 10_000
#: Largest number that float16 holds.
LARGEST_HALF = 65504.0

#: Activations [step, d] by name, see `name_of`.
Values = dict[str, NDArray[np.floating[Any]]]


def name_of(site: str, token: str = "cls") -> str:
    """Name of a site's activations at a token: the site itself at [cls], else ``site@token``."""
    return site if token == "cls" else f"{site}@{token}"


@dataclass(frozen=True, eq=False)
class Activations:
    """What a model holds at every step of some episodes, and what is true there.

    ``values`` [step, d] by site and token (`name_of`), float16 where that holds them, else float32;
    ``labels`` as `label_table` makes it, a row per step; ``untrained``: ``values`` of untrained
    models of the same shape, one after another; ``pixels`` [step, 324] the mean colours of the
    screen's 12 x 9 patches; ``predictions`` what the model itself says of the next click, a row per
    step: ``p_undo``, ``p_done``, ``entropy`` in nats, and ``log_prob`` of the click made.
    ``hashes`` names what they were made from (``checkpoint``, ``episodes``, ``key``); ``config`` is
    the model's shape, ``checkpoint`` what it is called.
    """

    values: Values
    labels: pd.DataFrame
    untrained: tuple[Values, ...] = ()
    pixels: NDArray[np.floating[Any]] | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    predictions: pd.DataFrame | None = None
    config: ClickTransformerConfig | None = None
    checkpoint: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return (
            f"<Activations of {self.checkpoint or 'a model'}: {len(self):,} steps, "
            f"{self.labels['group'].nunique()} worlds, {len(self.tasks)} task"
            f"{'s' if len(self.tasks) > 1 else ''}, {len(self.sites)} sites at "
            f"{', '.join(self.tokens)}>"
        )

    def _repr_html_(self) -> str:
        """What Jupyter shows: a row per task, in the notebook's own colours."""
        counts = self.labels.groupby("task", sort=False).agg(
            steps=("step", "size"), worlds=("group", "nunique"), mistakes=("mistake", "sum")
        )
        head = f"{len(self.sites)} sites at {', '.join(self.tokens)}: {', '.join(self.sites)}"
        return f"<p><b>Activations</b> of {self.checkpoint}, {head}</p>{counts.to_html()}"

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in order."""
        return tuple(map(str, self.labels["task"].unique()))

    @property
    def sites(self) -> tuple[str, ...]:
        """Hook names, in the order of the forward pass."""
        return tuple(dict.fromkeys(name.partition("@")[0] for name in self.values))

    @property
    def tokens(self) -> tuple[str, ...]:
        """Token groups at which the sites were read."""
        found = {name.partition("@")[2] or "cls" for name in self.values}
        return tuple(token for token in SINGLE_TOKENS if token in found)

    def at(self, site: str, token: str = "cls") -> NDArray[np.floating[Any]]:
        """Activations [step, d] of a site at a token. Raises `InputError` with the nearest name."""
        check_name("token", token, self.tokens)
        return self.values[name_of(check_name("site", site, self.sites), token)]

    def site(self, site: str, layer: int | None = None) -> str:
        """Hook name of a site, by itself or as ``resid_post`` with a layer (see `site_at`)."""
        if layer is None or site in self.sites:
            return check_name("site", site, self.sites)
        if self.config is None:
            raise InputError(f"site '{site}' by layer needs the model's shape; give the hook name")
        return check_name("site", site_at(self.config, site, layer), self.sites)

    def layer(self, site: str) -> int:
        """Blocks before a site; without the model's shape, its place among the sites."""
        return self.sites.index(site) if self.config is None else layer_of(site, self.config)

    def assign(self, **labels: Any) -> Activations:
        """The same activations with labels of your own, by name: [step], in the rows' order.

        Each can be probed like a built-in one (`probe`, `arrays`): bool as binary (AUC), numbers
        as a number (R2), anything else as classes (balanced accuracy). Raises `InputError` for a
        built-in name, another length, or missing values.
        """
        return replace(self, labels=add_labels(self.labels, **labels))

    def ask(self, label: str, *, negatives: str | None = None, token: str = "cls") -> Question:
        """Which steps a probe of a label reads, and what is true there (`labels.ask`).

        At the token ``placed`` steps before any placement are left out.
        """
        labels = self.labels
        if token == "placed":
            there = (labels["placed_x"] != NONE_PLACED).to_numpy(bool)
            return ask(labels, label, negatives, among=there)
        return ask(labels, label, negatives)

    def arrays(
        self,
        label: str,
        site: str = "resid_post",
        layer: int | None = -1,
        *,
        token: str = "cls",
        negatives: str | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.generic], Ints]:
        """``X, y, groups`` for scikit-learn.

        X float32 [row, d] are the activations of ``site`` (a hook name, or a short one such as
        ``resid_post`` with a ``layer``) at ``token``; y [row] what is true; groups int64 [row] the
        world, across which nothing may be split. ``label`` is a built-in one or a column that
        `assign` added. Raises `InputError` for unknown names.
        """
        question = self.ask(label, negatives=negatives, token=token)
        values = self.at(self.site(site, layer), token)
        return question.features(values), question.truth, question.groups

    def frame(
        self,
        label: str,
        site: str = "resid_post",
        layer: int | None = -1,
        *,
        token: str = "cls",
        negatives: str | None = None,
    ) -> pd.DataFrame:
        """`arrays` as one table: ``x0``, ``x1``..., ``y``, ``group``, then all labels."""
        question = self.ask(label, negatives=negatives, token=token)
        features = question.features(self.at(self.site(site, layer), token))
        table = pd.DataFrame(features, columns=[f"x{i}" for i in range(features.shape[1])])
        table = table.assign(y=question.truth)
        return pd.concat([table, question.labels], axis=1)

    def parts(self) -> dict[str, Activations]:
        """Task -> its activations."""
        return {
            task: self.rows((self.labels["task"] == task).to_numpy(bool)) for task in self.tasks
        }

    def rows(self, chosen: NDArray[np.bool_]) -> Activations:
        """The activations at some steps: ``chosen`` bool [step]."""
        return replace(
            self,
            values={name: values[chosen] for name, values in self.values.items()},
            labels=self.labels[chosen].reset_index(drop=True),
            untrained=tuple({n: v[chosen] for n, v in one.items()} for one in self.untrained),
            pixels=None if self.pixels is None else self.pixels[chosen],
            predictions=None
            if self.predictions is None
            else self.predictions[chosen].reset_index(drop=True),
        )

    def save(self, folder: Path | str, format: str = "parquet", *, force: bool = False) -> Path:
        """Write labels and activations as shards that ``datasets`` and trainers read.

        See `bcprobe.activations.export.save`. Returns the folder. Raises `InputError` if
        something of the same name stands there, unless ``force``.
        """
        from bcprobe.activations.export import save

        return save(self, folder, format, force=force)


def combine(parts: Sequence[Activations] | Mapping[str, Activations]) -> Activations:
    """Activations of several tasks or models' episodes, one after another, as one set.

    Kept are the sites that all have; ``episode`` counts over all.
    """
    found = list(parts.values() if isinstance(parts, Mapping) else parts)
    labels, episodes = [], 0
    for part in found:
        labels.append(part.labels.assign(episode=part.labels["episode"] + episodes))
        episodes = int(labels[-1]["episode"].max()) + 1
    table = pd.concat(labels, ignore_index=True)
    together = {
        name: _digest(part.hashes.get(name, "") for part in found) for name in ("episodes", "key")
    }
    return replace(
        found[0],
        values=_joined([part.values for part in found]),
        labels=table.assign(group=world_groups(table)),
        untrained=tuple(
            _joined(several) for several in zip(*(part.untrained for part in found), strict=False)
        ),
        pixels=_stacked([part.pixels for part in found]),
        predictions=_below([part.predictions for part in found]),
        hashes={**found[0].hashes, **together},
    )


def world_groups(labels: pd.DataFrame) -> Ints:
    """Number [row] of each row's world: rows of one task and world seed share it."""
    keys = labels["task"].astype(str) + "\x1f" + labels["world_seed"].astype(str)
    return pd.factorize(keys)[0].astype(np.int64)


def as_stored(values: NDArray[np.floating[Any]], name: str) -> NDArray[np.floating[Any]]:
    """Values as float16, or as float32 where float16 does not hold them.

    Raises `InputError` that names the site if some are not finite.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(largest):
        raise InputError(
            f"activations at '{name}' are not finite (nan or inf); the model's weights or its "
            "inputs are out of range"
        )
    return values.astype(np.float16 if largest <= LARGEST_HALF else np.float32, copy=False)


@dataclass(frozen=True)
class Source:
    """Whose activations on which episodes: annotators' episodes in unseen worlds.

    ``checkpoint`` is a folder; ``sites`` are hook names, read at each of ``tokens``; ``seed`` picks
    the worlds (10,000 of the test split belong to each) and the weights of the ``untrained``
    models. ``manner`` is the annotators' (`bcprobe.annotators.persona.MANNERS`).
    """

    checkpoint: Path
    sites: tuple[str, ...]
    task: str
    episodes: int
    seed: int = 0
    layout: str = "original"
    difficulty: str = "default"
    tokens: tuple[str, ...] = ("cls", "placed")
    untrained: int = 1
    manner: str = "usual"

    def __post_init__(self) -> None:
        check_name("manner", self.manner, MANNERS)
        check_name("difficulty", self.difficulty, get_task(self.task).settings)
        get_layout(self.layout)
        if at_least_one("episodes", self.episodes) > WORLDS_PER_SEED:
            raise InputError(f"episodes is {self.episodes}; it must be 1 to {WORLDS_PER_SEED}")
        check_seed(self.seed)

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
        plain = asdict(self)
        if self.manner == "usual":
            del plain["manner"]  # keys from before manners stay valid
        products = read_card(self.checkpoint).get("metadata", {}).get("products")
        return {
            **plain,
            **({"products": products} if products else {}),
            "schema_version": SCHEMA_VERSION,
            "generator_version": GENERATOR_VERSION,
            "checkpoint": checkpoint_hash(self.checkpoint),
            "sites": list(self.sites),
            "tokens": list(self.tokens),
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
    tokens: Sequence[str] = ("cls", "placed"),
    **options: Any,
) -> Source:
    """Source of a checkpoint by name, path or hub id.

    ``sites`` default to the residual stream, of which all sites are kept even if only some
    are asked for. Raises `InputError` for unknown names and counts out of range.
    """
    folder = find_checkpoint(checkpoint)
    config = config_from_dict(read_card(folder)["model"])
    usual = residual_sites(config)
    wanted = usual if sites is None else check_sites(sites, config)
    kept = usual if set(wanted) <= set(usual) else wanted
    return Source(folder, kept, task, episodes, tokens=check_tokens(tokens), **options)


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


def make_pool(checkpoint: str | Path, tasks: Sequence[str], episodes: int, **options: Any) -> Pool:
    """Sources of ``episodes`` test episodes of each task; options as for `make_source`.

    Raises `InputError` for unknown names and counts out of range.
    """
    return Pool(tuple(make_source(checkpoint, task, episodes, **options) for task in tasks))


def label_rows(episodes: Sequence[Any]) -> pd.DataFrame:
    """`label_table` with each row's ``group`` (`world_groups`)."""
    table = label_table(episodes)
    return table.assign(group=world_groups(table))


def _joined(parts: Sequence[Values]) -> Values:
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in shared}


def _stacked(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if there and len(there) == len(parts) else None


def _below(parts: Sequence[pd.DataFrame | None]) -> pd.DataFrame | None:
    there = [part for part in parts if part is not None]
    whole = bool(there) and len(there) == len(parts)
    return pd.concat(there, ignore_index=True) if whole else None


def _digest(names: Iterator[str] | Any) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
