"""Erasure: what becomes of the probe, of Undo and of other clicks once a site tells nothing.

LEACE (Belrose et al. 2023) is the least change after which no linear probe beats a constant;
iterated projection (Ravfogel et al. 2020) takes one probe's direction after another. Either is
compared with erasing random directions of the same rank, even ones and, for LEACE, ones drawn in
whitened space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bcprobe.bootstrap import cluster_bootstrap, mean_score, paired_draws
from bcprobe.errors import InputError
from bcprobe.interventions.directions import (
    RANDOM,
    Floats,
    Material,
    Site,
    fit,
    gather,
)
from bcprobe.interventions.maps import EVERY_LAYER, Answers, ratios
from bcprobe.interventions.pairs import SIDES, Pair
from bcprobe.interventions.patch import Bench, Edit, Erase, Place
from bcprobe.model.transformer import ClickTransformer
from bcprobe.parallel import in_processes
from bcprobe.rng import generator

#: Ranks of iterated projection.
RANKS = (1, 4)
#: Probabilities told beside the effect, and where `Answers` has them.
CHANCES = ("p_undo", "p_other")
COLUMNS = (
    "task", "tokens", "layer", "kind", "rank", "start", "metric", "estimate", "lower", "upper",
    "percentile", "n",
)  # fmt: skip
RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class Erasure:
    """``x - (x - mean) @ matrix``: what a ``kind`` takes away, of rank ``rank``."""

    kind: str
    rank: int
    matrix: Floats
    mean: Floats

    def of(self, features: Floats) -> Floats:
        """Features [row, d] after it."""
        return features - (features - self.mean) @ self.matrix

    def change(self, device: torch.device) -> Erase:
        """The edit of activations."""
        matrix, mean = (
            torch.tensor(part, dtype=torch.float32, device=device)
            for part in (self.matrix, self.mean)
        )
        return Erase(matrix, mean)


def leace(features: Floats, truth: NDArray[np.bool_]) -> Erasure:
    """Least-squares concept erasure of a binary label: rank 1 after whitening."""
    direction = features[truth].mean(0) - features[~truth].mean(0)
    return _whitened(features, direction, "leace")


def _whitened(features: Floats, direction: Floats, kind: str) -> Erasure:
    """Erase what a direction covaries with: its projection in whitened space."""
    white, back = _whitening(features)
    unit = direction @ white
    unit = unit / np.linalg.norm(unit)
    return Erasure(kind, 1, white @ np.outer(unit, unit) @ back, features.mean(0))


def _whitening(features: Floats) -> tuple[Floats, Floats]:
    """Symmetric square roots [d, d] of the covariance's pseudoinverse and of the covariance."""
    values, vectors = np.linalg.eigh(np.cov(features.T))
    known = values > values.max() * 1e-6
    roots = np.sqrt(np.where(known, values, 1.0))
    white = (vectors * np.where(known, 1 / roots, 0.0)) @ vectors.T
    return white, (vectors * np.where(known, roots, 0.0)) @ vectors.T


def iterated(features: Floats, truth: NDArray[np.bool_], rank: int) -> Erasure:
    """Projection past the directions of ``rank`` probes, each fitted to what is left."""
    basis: list[Floats] = []
    left = features - features.mean(0)
    for _ in range(rank):
        unit = fit(left, truth, "logistic")
        for known in basis:
            unit = unit - (unit @ known) * known
        basis.append(unit / np.linalg.norm(unit))
        left = left - np.outer(left @ basis[-1], basis[-1])
    columns = np.stack(basis, axis=1)
    return Erasure("projection", rank, columns @ columns.T, features.mean(0))


def random_erasures(features: Floats, rank: int, count: int, seed: int = 0) -> Iterator[Erasure]:
    """Erasures of ``rank`` even directions; of rank 1 also of as many drawn in whitened space."""
    rng = generator("random erasures", seed)
    size = features.shape[1]
    white, back = _whitening(features)
    for _ in range(count):
        columns = np.linalg.qr(rng.normal(size=(size, rank)))[0]
        yield Erasure("random", rank, columns @ columns.T, features.mean(0))
    for _ in range(count if rank == 1 else 0):
        unit = rng.normal(size=size) @ white @ back  # in the space that the features span
        unit /= np.linalg.norm(unit)
        matrix = white @ np.outer(unit, unit) @ back
        yield Erasure("random_whitened", 1, matrix, features.mean(0))


def erase(
    model: ClickTransformer,
    site: Site,
    train: Material,
    pairs: Sequence[Pair],
    *,
    random: int = RANDOM,
    seed: int = 0,
    workers: int | None = None,
) -> pd.DataFrame:
    """What each erasure at a site does, fitted on ``train``, tested on ``pairs`` of one task.

    Rows of `COLUMNS`. ``auc``: of a probe refitted after the erasure (``start`` is empty).
    ``effect`` (as `bcprobe.interventions.maps.patch` has it), ``p_undo`` and ``p_other``, the
    chance of the best other click, of either side; ``percentile`` among the random erasures of
    the same rank and kind of draw (for ``effect``: by size). Kinds ``random...`` hold their
    median and 2.5 and 97.5 % quantiles. Raises `InputError` for a site of every layer.
    """
    if site.layer == EVERY_LAYER:
        raise InputError("erase at one layer; a site of every layer has no one set of features")
    x, truth, _ = train.rows(site.tokens, site.layer)
    main = [leace(x, truth), *(iterated(x, truth, rank) for rank in RANKS)]
    drawn = [one for rank in RANKS for one in random_erasures(x, rank, random, seed)]
    done = [*main, *drawn]
    job = partial(_erased, model, site, tuple(done))
    here = model.device.type != "cpu"
    found = list(map(job, pairs) if here else in_processes(job, list(pairs), workers))
    change, whole, chances, before = (np.stack(part) for part in zip(*found, strict=True))
    rows = list(_auc_rows(main, x, truth, gather(model, pairs, workers), site))
    for side, start in enumerate(SIDES):
        values = {"effect": change[:, side], **_named(chances[:, side])}
        for metric, own in values.items():
            below = np.broadcast_to(whole[:, side, None], own.shape)
            scores = ratios(
                own, below if metric == "effect" else np.ones_like(own), paired_draws(len(pairs))
            )
            rows += _effect_rows(done, scores, len(pairs), start, metric)
            if metric != "effect":
                plain = mean_score(before[:, side, CHANCES.index(metric)], range(len(pairs)))
                rows.append(
                    {"kind": "none", "rank": 0, "start": start, "metric": metric, **plain.__dict__}
                )
    names = {"task": train.task, "tokens": site.tokens, "layer": site.layer}
    return pd.DataFrame([{**names, **row} for row in rows], columns=list(COLUMNS))


def _named(chances: Floats) -> dict[str, Floats]:
    return {name: chances[..., number] for number, name in enumerate(CHANCES)}


def _erased(
    model: ClickTransformer, site: Site, done: Sequence[Erasure], pair: Pair
) -> tuple[Floats, Floats, Floats, Floats]:
    """Change [side, erasure], whole [side], chances [side, erasure, 2] and before [side, 2]."""
    (hook,) = site.hooks(model.config)
    bench = Bench(model, pair, [hook])
    answers = Answers(bench)
    at = [1 + answers.names.index(name) for name in CHANCES]
    plain = answers.read(bench.plain(answers.targets))[:, 0]
    change, chances = [], []
    for side in range(2):
        place = Place(hook, 0, site.positions(model.config, pair, side))
        edits = [Edit(((place, one.change(model.device)),)) for one in done]
        found = answers.read(bench.run(side, edits, answers.targets)[0])[:, 0]
        change.append(found[:, 0] - plain[side, 0])
        chances.append(found[:, at])
    return np.stack(change), plain[::-1, 0] - plain[:, 0], np.stack(chances), plain[:, at]


def _auc_rows(
    main: Sequence[Erasure],
    features: Floats,
    truth: NDArray[np.bool_],
    tested: Material,
    site: Site,
) -> Iterator[dict[str, Any]]:
    """AUC on the tested pairs of a probe fitted after each erasure, and before any."""
    x, y, groups = tested.rows(site.tokens, site.layer)
    size = features.shape[1]
    nothing = Erasure("none", 0, np.zeros((size, size)), features.mean(0))
    for one in (nothing, *main):
        read = one.of(x) @ fit(one.of(features), truth, "logistic")

        def auc(weights: Floats, read: Floats = read) -> float:
            return float(roc_auc_score(y, read, sample_weight=weights))

        score = cluster_bootstrap(groups, auc, resamples=RESAMPLES, share=True)
        yield {"kind": one.kind, "rank": one.rank, "start": "", "metric": "auc", **score.__dict__}


def _effect_rows(
    done: Sequence[Erasure], scores: Floats, n: int, start: str, metric: str
) -> Iterator[dict[str, Any]]:
    kinds = np.array([f"{one.kind} {one.rank}" for one in done])
    shown = {"start": start, "metric": metric}
    for kind in dict.fromkeys(kinds[np.char.startswith(kinds, "random")].tolist()):
        low, middle, high = np.quantile(scores[kinds == kind, 0], [0.025, 0.5, 0.975])
        name, rank = kind.rsplit(" ", 1)
        yield {
            **shown,
            "kind": name,
            "rank": int(rank),
            "estimate": middle,
            "lower": low,
            "upper": high,
            "n": int((kinds == kind).sum()),
        }
    for number, one in enumerate(done):
        if one.kind.startswith("random"):
            continue
        drawn = "random_whitened" if one.kind == "leace" else "random"
        cloud = scores[kinds == f"{drawn} {one.rank}", 0]
        own, cloud = (
            (abs(scores[number, 0]), np.abs(cloud))
            if metric == "effect"
            else (scores[number, 0], cloud)
        )
        estimate, lower, upper = scores[number]
        yield {
            **shown,
            "kind": one.kind,
            "rank": one.rank,
            "estimate": estimate,
            "lower": lower,
            "upper": upper,
            "percentile": 100 * float((cloud < own).mean()),
            "n": n,
        }
