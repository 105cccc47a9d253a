"""Intervals that include the fit: probes fitted anew on worlds drawn anew.

A resample counts each world as often as it was drawn, in the folds fitted on and in the one
tested; copies of a world stay in its fold. All refits of a scheme are solved together
(`bcprobe.probes.logistic`). Only the spread of the refits is used, not their level: a resample
holds 63 % of the worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.bootstrap import Floats, Ints, paired_draws
from bcprobe.probes.linear import FOLDS, MOST_NEGATIVES, C, split
from bcprobe.probes.logistic import fit_logistics

Singles = NDArray[np.float32]
#: Refits behind an interval: by default, and with ``rigor="full"``.
REFITS = {"default": 40, "full": 200}
_CHUNK = 240


def row_counts(groups: Ints, resamples: int, seed: int = 0) -> Singles:
    """How often each row counts in each resample of the groups: float32 [row, resample]."""
    _, own = np.unique(groups, return_inverse=True)
    draws = paired_draws(int(own.max()) + 1, resamples, seed)
    return draws[:, own].T.astype(np.float32)


def refit_cross(
    features: NDArray[np.floating[Any]],
    truth: NDArray[np.generic],
    groups: Ints,
    counts: Singles,
    folds: int = FOLDS,
) -> tuple[Singles, Ints]:
    """Out-of-fold scores [row, resample] of refitted probes, and the fold of each row."""
    wanted, number = truth.astype(bool), np.empty(len(truth), dtype=np.int64)
    parts = list(split(groups, folds))
    weights = []
    for fold, (train, test) in enumerate(parts):
        own = np.zeros_like(counts)
        own[train] = counts[train]
        weights.append(own)
        number[test] = fold
    fitted = _fit(features, wanted, np.concatenate(weights, axis=1))
    scores = np.empty(counts.shape, dtype=np.float32)
    for fold, (_, test) in enumerate(parts):
        first = fold * counts.shape[1]
        scores[test] = features[test] @ fitted[first : first + counts.shape[1]].T
    return scores, number


def refit_elsewhere(
    train: tuple[NDArray[np.floating[Any]], NDArray[np.generic], Singles],
    features: NDArray[np.floating[Any]],
) -> Singles:
    """Scores [row, resample] in one task of probes refitted on others.

    ``train``: features, truth and row counts [row, resample] of the others.
    """
    own, truth, counts = train
    return (features @ _fit(own, truth.astype(bool), counts).T).astype(np.float32)


def _fit(
    features: NDArray[np.floating[Any]], truth: NDArray[np.bool_], counts: Singles
) -> NDArray[np.float32]:
    """Weights [problem, d]; nan where a problem counts one class only."""
    rows = _spread(truth)
    features, truth, counts = features[rows], truth[rows], counts[rows]
    both = counts[truth].any(axis=0) & counts[~truth].any(axis=0)
    found = np.full((counts.shape[1], features.shape[1]), np.nan, dtype=np.float32)
    for first in range(0, int(both.sum()), _CHUNK):
        chosen = np.flatnonzero(both)[first : first + _CHUNK]
        found[chosen] = fit_logistics(features, truth, counts[:, chosen], C).weights
    return found


def _spread(truth: NDArray[np.bool_]) -> Ints:
    """Rows to fit on: all positives and evenly spread negatives, as for the probe itself."""
    negatives = np.flatnonzero(~truth)
    if len(negatives) <= MOST_NEGATIVES:
        return np.arange(len(truth))
    kept = negatives[np.linspace(0, len(negatives) - 1, MOST_NEGATIVES).astype(np.int64)]
    return np.sort(np.concatenate([np.flatnonzero(truth), kept]))


def weighted_auc(
    truth: NDArray[np.generic], scores: Singles, counts: Singles, folds: Ints
) -> Floats:
    """AUC [resample] over pairs of rows of the same fold, which count as often as they were drawn.

    ``scores`` and ``counts`` are [row, resample]; nan where a resample has no pair.
    """
    wanted = truth.astype(bool)
    won, pairs = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for fold in np.unique(folds):
        rows = folds == fold
        order = np.argsort(scores[rows], axis=0, kind="stable")
        up = np.where(wanted[rows, None], counts[rows], 0).astype(float)
        down = np.where(wanted[rows, None], 0, counts[rows]).astype(float)
        up, down = (np.take_along_axis(part, order, axis=0) for part in (up, down))
        below = np.cumsum(down, axis=0)
        won += (up * below).sum(axis=0)
        pairs += up.sum(axis=0) * below[-1]
    missing = np.isnan(scores).any(axis=0) | (pairs == 0)
    return np.where(missing, np.nan, won / np.where(pairs == 0, 1, pairs))


def over_tasks(values: Sequence[Floats], resamples: int = 1000, seed: int = 0) -> Floats:
    """Means over tasks drawn anew, each with one of its own resamples: [resample].

    ``values``: the resampled scores of each task; nan is not drawn. All nan where a task has no
    other.
    """
    rng = np.random.default_rng(seed)
    known = [own[np.isfinite(own)] for own in values]
    if not all(map(len, known)):
        return np.full(resamples, np.nan)
    table = np.stack([np.resize(own, len(values[0])) for own in known])  # (task, resample)
    tasks = rng.integers(len(table), size=(resamples, len(table)))
    own = rng.integers(table.shape[1], size=(resamples, len(table)))
    means: Floats = table[tasks, own].mean(axis=1)
    return means
