"""One probe over several tasks, from names to numbers: the multi-task form of `run`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcprobe.activations.dataset import Activations, make_pool
from bcprobe.activations.gather import load_pool
from bcprobe.activations.labels import get_latent
from bcprobe.errors import InputError
from bcprobe.files import atomic_file
from bcprobe.model.registry import DEFAULT_CHECKPOINT
from bcprobe.parallel import one_thread
from bcprobe.probes.cards import write_card
from bcprobe.probes.one_task import analyse
from bcprobe.probes.result import Draw, ProbeResult
from bcprobe.probes.schemes import (
    COLUMNS,
    MEAN,
    ask_each,
    cosine_rows,
    delayed_rows,
    left_out_readings,
    pooled_reading,
    reading_score_rows,
    roc_points,
    score_rows,
    table_of,
    within_readings,
)
from bcprobe.results import write_table
from bcprobe.rng import split_seed
from bcprobe.types import ALL

#: False-positive rates at which ROC curves are drawn.
GRID = np.linspace(0, 1, 51)
#: Worlds that a model works on its own, far from those the probes are fitted on.
FIRST_OWN = 1 << 31
#: Temperature at which it does: at 0 it errs too rarely.
OWN_TEMPERATURE = 1.0


@dataclass(frozen=True, eq=False)
class AcrossResult:
    """How well a latent reads within tasks, over all of them, and from one to another.

    ``pooled`` is the probe fitted on all tasks, with its controls and card; ``scores`` is tidy
    (`bcprobe.probes.schemes.COLUMNS`), a number a row; ``scheme`` is ``within`` a task,
    ``pooled``, ``left_out`` (fitted on all tasks but the one tested), ``matrix`` (fitted on
    one, tested on another), ``cosine``, ``delayed``, ``own`` (the model's own episodes) and
    ``roc``: the mean curve over tasks and the quartiles of tasks, false-positive rate in
    ``chance``, true-positive rate in ``estimate``.
    ``left_aside`` says of tasks why they could not be asked.
    """

    tasks: tuple[str, ...]
    pooled: ProbeResult
    scores: pd.DataFrame
    left_aside: dict[str, str] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """All numbers: those of the schemes, and the controls of the pooled probe."""
        own = self.pooled.table()
        own = own[own["kind"] != "probe"].assign(scheme="pooled", train_task=ALL, test_task=ALL)
        return pd.concat([self.scores, own[list(COLUMNS)]], ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """A row per task, and their mean: within, pooled, left out, at the best site."""
        at = self.scores[
            (self.scores["site"] == self.pooled.best.site)
            & (self.scores["negatives"] == self.pooled.best.negatives)
            & self.scores["scheme"].isin(["within", "pooled", "left_out", "own"])
        ]
        names = [*self.tasks, MEAN, ALL]
        rows = [
            {"task": name, **{r.scheme: r for r in at[at["test_task"] == name].itertuples()}}
            for name in names
        ]
        return pd.DataFrame(rows)

    def as_dict(self) -> dict[str, Any]:
        """JSON form: ``schemes[scheme][negatives][site][train task][test task]`` is a score."""
        known = self.pooled.as_dict()
        known.pop("negatives")
        schemes: dict[str, Any] = {}
        for row in self.scores[self.scores["scheme"] != "roc"].itertuples():
            place = schemes
            scheme = row.scheme if row.kind == "probe" else f"{row.scheme}_{row.kind}"
            for name in (scheme, row.negatives, row.site, row.train_task):
                place = place.setdefault(name, {})
            numbers = {"estimate": row.estimate, "lower": row.lower, "upper": row.upper}
            plain = {k: None if np.isnan(v) else float(v) for k, v in numbers.items()}
            place[row.test_task] = {**plain, "n": int(row.n)}
        return {**known, "tasks": list(self.tasks), "left_aside": self.left_aside} | {
            "schemes": schemes
        }

    def write(self, folder: Path | str, draw: Draw | None = None) -> Path:
        """Write the table, the JSON document and the pooled direction's card."""
        folder, name = Path(folder), f"{self.pooled.latent.name}_across"
        write_table(self.table(), folder / f"{name}.parquet")
        with atomic_file(folder / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n")
        write_card(folder, self.pooled.card, self.pooled.direction.directions)
        if draw is not None:
            draw(self.table(), folder, name)
        return folder


def run_across(
    latent: str = "mistake",
    checkpoint: str | Path = DEFAULT_CHECKPOINT,
    tasks: Sequence[str] = (),
    sites: Sequence[str] | None = None,
    episodes: int = 40,
    seed: int = 0,
    layout: str = "original",
    own: int = 0,
    progress: bool = True,
    *,
    difficulty: str = "default",
) -> AcrossResult:
    """Probe a checkpoint for a latent on several tasks, ``episodes`` test episodes of each.

    With ``own``, the pooled probe is also tested on so many episodes of each task that the
    model works itself, at temperature 1. Raises `InputError` for unknown names, or if fewer
    than two tasks hold anything to tell apart.
    """
    get_latent(latent)
    options: dict[str, Any] = {"seed": seed, "layout": layout, "difficulty": difficulty}
    pool = make_pool(checkpoint, tasks, episodes, sites=sites, **options)
    together = load_pool(pool, str(checkpoint), progress=progress)
    parts = together.parts()
    chosen = tuple(dict.fromkeys(pool.sources[0].sites if sites is None else sites))
    asked, left = ask_each(parts, latent, get_latent(latent).negatives[0])
    if len(asked) < 2:
        raise InputError(
            f"latent '{latent}' can be asked of {len(asked)} of {len(parts)} tasks; it takes two: "
            "use more episodes"
        )
    with one_thread():
        pooled = analyse(together, latent, pool, chosen, str(checkpoint))
        best = pooled.best.site
        rows = list(score_rows(parts, latent, chosen, best))
        rows += cosine_rows(parts, latent, best)
        if latent in ("mistake", "undo_next"):
            rows += delayed_rows(together, best)
        if get_latent(latent).kind == "binary":
            rows += _roc_rows(asked, best)
    if own:
        made = own_activations(checkpoint, tasks, own, chosen, seed, layout, difficulty)
        rows += _own_rows(parts, made, latent, best)
    table = table_of(rows, {site: pool.layer(site) for site in chosen})
    return AcrossResult(tuple(tasks), pooled, table, left)


def own_activations(
    checkpoint: str | Path,
    tasks: Sequence[str],
    episodes: int,
    sites: Sequence[str],
    seed: int = 0,
    layout: str = "original",
    difficulty: str = "default",
) -> dict[str, Activations]:
    """Task -> activations on episodes that the model worked itself, mistakes and all."""
    from bcprobe.activations.extract import collect
    from bcprobe.episodes.model_policy import ModelPolicy
    from bcprobe.episodes.record import work
    from bcprobe.model.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint)
    worlds = [split_seed("test", FIRST_OWN + seed * episodes + i) for i in range(episodes)]
    found = {}
    for task in tasks:
        clicker = ModelPolicy(model, OWN_TEMPERATURE, seed)
        shown: dict[str, Any] = {"layout": layout, "difficulty": difficulty}
        made = work(clicker, task, worlds, origin="model", **shown)
        found[task] = collect(model, made, sites)
    return found


def _own_rows(
    parts: Mapping[str, Activations], own: Mapping[str, Activations], latent: str, site: str
) -> Iterator[dict[str, Any]]:
    """The probe of all the annotators' episodes, tested on the model's."""
    for negatives in get_latent(latent).negatives:
        asked, _ = ask_each(parts, latent, negatives)
        tested, _ = ask_each(own, latent, negatives)
        yield from reading_score_rows(asked, tested, site, negatives)


def _roc_rows(asked: Sequence[Any], site: str) -> Iterator[dict[str, Any]]:
    """Mean ROC curve over the tasks, of each scheme."""
    of_all = pooled_reading(asked, site)
    curves = {
        "within": list(within_readings(asked, site).values()),
        "pooled": list(of_all.values()),
        "left_out": list(left_out_readings(asked, site).values()),
    }
    question = asked[0].question
    for scheme, readings in curves.items():
        points = np.stack([roc_points(reading, GRID) for reading in readings])
        for x, column in zip(GRID, points.T, strict=True):
            low, high = np.nanquantile(column, [0.25, 0.75])
            yield {
                "scheme": "roc",
                "kind": scheme,
                "negatives": question.negatives,
                "site": site,
                "train_task": scheme,
                "test_task": MEAN,
                "metric": "tpr",
                "chance": float(x),
                "estimate": float(np.nanmean(column)),
                "lower": float(low),
                "upper": float(high),
                "n": len(readings),
            }
