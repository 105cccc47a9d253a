"""Linear probes: standardise, then logistic or ridge regression, split by episode."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from bcprobe.errors import InputError
from bcprobe.probes.metrics import (
    RESAMPLES,
    Floats,
    Ints,
    Metric,
    auc,
    balanced_accuracy,
    draw_episodes,
    interval,
    r2,
)
from bcprobe.results import Score

FOLDS = 5
#: Inverse strength of the penalty in scikit-learn's ``LogisticRegression`` on standardised
#: features; ridge regression takes ``alpha = 1 / C``. Fixed, never tuned on what is reported.
C = 0.1


@dataclass(frozen=True, eq=False)
class Reading:
    """What probes read from steps that they were not fitted on.

    ``scores`` [step]: decision values (binary), classes, or numbers; ``folds`` int [step]
    says which fold's probe read the step; ``groups`` int [step] is the episode's number.
    """

    kind: str
    truth: NDArray[np.generic]
    scores: NDArray[Any]
    groups: Ints
    folds: Ints

    def metric(self) -> Metric:
        """The kind's metric, boiled down to sums per episode."""
        _, episodes = np.unique(self.groups, return_inverse=True)
        if self.kind == "binary":
            return auc(self.truth.astype(bool), self.scores, episodes, self.folds)
        if self.kind == "classes":
            return balanced_accuracy(self.truth, self.scores, episodes)
        return r2(self.truth.astype(float), self.scores, episodes)


@dataclass(frozen=True, eq=False)
class ProbeScore:
    """A score with its interval; ``resampled`` [resample] are the values behind it.

    ``reading`` is what was scored, where one reading was.
    """

    score: Score
    resampled: Floats = field(repr=False)
    reading: Reading | None = field(default=None, repr=False)

    def minus(self, other: ProbeScore) -> ProbeScore:
        """The difference, resample by resample (paired)."""
        values = self.resampled - other.resampled
        return ProbeScore(
            interval(self.score.estimate - other.score.estimate, values, self.score.n), values
        )


def make_probe(kind: str) -> Pipeline:
    """The scikit-learn pipeline for ``binary``, ``classes`` or ``number`` latents.

    Classes weigh the same however rare they are; the two sides of a binary latent do not,
    which its AUC does not see.
    """
    if kind == "number":
        return make_pipeline(StandardScaler(), Ridge(alpha=1 / C, solver="cholesky"))
    binary = kind == "binary"
    solver = "newton-cholesky" if binary else "lbfgs"
    weights = None if binary else "balanced"
    model = LogisticRegression(C=C, solver=solver, class_weight=weights, max_iter=1000)
    return make_pipeline(StandardScaler(), model)


def split(groups: Ints, folds: int = FOLDS) -> Iterator[tuple[Ints, Ints]]:
    """Training and test rows of each fold; no episode is on both sides.

    Raises `InputError` for fewer than two episodes; with fewer episodes than folds each
    episode is a fold.
    """
    count = min(folds, len(np.unique(groups)))
    if count < 2:
        raise InputError(f"{count} episode to probe; it needs 2 or more to split by episode")
    yield from GroupKFold(count).split(groups, groups=groups)


def read(
    kind: str,
    features: NDArray[np.floating[Any]],
    truth: NDArray[np.generic],
    groups: Ints,
    *,
    folds: int = FOLDS,
    threads: int = 2,
) -> Reading:
    """Readings of ``truth`` [step] from ``features`` [step, dim], out of fold.

    Scaler and weights are fitted on each fold's training episodes only. Raises `InputError`
    if a fold's training episodes hold one class only.
    """
    parts = list(split(groups, folds))
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(partial(_read_fold, kind, features, truth), parts))
    scores = np.empty(len(truth), dtype=found[0].dtype)
    numbers = np.empty(len(truth), dtype=np.int64)
    for number, ((_, test), values) in enumerate(zip(parts, found, strict=True)):
        scores[test], numbers[test] = values, number
    return Reading(kind, truth, scores, groups, numbers)


def _read_fold(
    kind: str,
    features: NDArray[np.floating[Any]],
    truth: NDArray[np.generic],
    part: tuple[Ints, Ints],
) -> NDArray[Any]:
    train, test = part
    if kind != "number" and len(np.unique(truth[train])) < 2:
        raise InputError("the episodes to learn from hold one class only; use more episodes")
    probe = make_probe(kind).fit(features[train], truth[train])
    if kind == "binary":
        return probe.decision_function(features[test])
    read = probe.predict(features[test])
    return read if kind == "number" else read.astype(truth.dtype)


def score(reading: Reading, *, resamples: int = RESAMPLES, seed: int = 0) -> ProbeScore:
    """The reading's metric with its 95 % interval; ``n`` counts steps."""
    metric = reading.metric()
    count = len(np.unique(reading.groups))
    estimate = float(metric(np.ones((1, count)))[0])
    values = metric(draw_episodes(count, resamples, seed))
    return ProbeScore(interval(estimate, values, len(reading.truth)), values, reading)


@dataclass(frozen=True, eq=False)
class Direction:
    """A probe fitted on all rows, written in the activations' own units.

    ``directions`` [class, dim] have unit length (one row for binary and number latents) and
    point to more of what ``classes`` names; ``separation`` is the distance between the two
    sides' means along them (for numbers: above and below the median), ``spread`` the
    standard deviation and ``centre`` the mean of the projections.
    """

    directions: Floats
    classes: tuple[str, ...]
    separation: Floats
    spread: Floats
    centre: Floats


def fit_direction(
    kind: str, features: NDArray[np.floating[Any]], truth: NDArray[np.generic], name: str
) -> Direction:
    """The direction(s) along which the probe of all rows reads the latent ``name``."""
    features = np.asarray(features, dtype=float)
    scaler, model = (step for _, step in make_probe(kind).fit(features, truth).steps)
    weights = np.atleast_2d(model.coef_) / scaler.scale_
    if kind == "classes" and len(weights) == 1:
        weights = np.concatenate([-weights, weights])
    norms = np.linalg.norm(weights, axis=1, keepdims=True)
    directions = weights / np.where(norms > 0, norms, 1)
    projections = features @ directions.T  # (step, class)
    classes = tuple(map(str, model.classes_)) if kind == "classes" else (name,)
    sides = _sides(kind, truth, classes)
    gaps = [p[s].mean() - p[~s].mean() for p, s in zip(projections.T, sides, strict=True)]
    spread, centre = projections.std(0), projections.mean(0)
    return Direction(directions, classes, np.array(gaps), spread, centre)


def _sides(
    kind: str, truth: NDArray[np.generic], classes: tuple[str, ...]
) -> list[NDArray[np.bool_]]:
    if kind == "classes":
        return [truth == name for name in classes]
    if kind == "binary":
        return [truth.astype(bool)]
    values = truth.astype(float)
    above = values > np.median(values)
    return [above if above.any() else values >= np.median(values)]
