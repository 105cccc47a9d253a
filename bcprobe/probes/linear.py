"""Linear probes: standardise, then logistic or ridge regression, split by episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
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
from bcprobe.probes.solvers import Features, Fits, Problem, logistic, ridge
from bcprobe.results import Score

FOLDS = 5
#: Inverse strength of the penalty in scikit-learn's ``LogisticRegression`` on standardised
#: features; ridge regression takes ``alpha = 1 / C``. Fixed, never tuned on what is reported.
C = 0.1
Labels = NDArray[Any]


def make_probe(kind: str) -> Pipeline:
    """The probe for ``binary``, ``classes`` or ``number`` latents, as scikit-learn's pipeline.

    Classes weigh the same however rare they are; the two sides of a binary latent do not,
    which its AUC does not see. `read` gives what these pipelines give, fold by fold, but
    fits all of them at once (`bcprobe.probes.solvers`).
    """
    if kind == "number":
        return make_pipeline(StandardScaler(), Ridge(alpha=1 / C))
    weights = None if kind == "binary" else "balanced"
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=C, class_weight=weights, max_iter=5000)
    )


@dataclass(frozen=True, eq=False)
class Reading:
    """What probes read from steps that they were not fitted on.

    ``scores`` [step]: decision values (binary), classes, or numbers; ``folds`` int [step]
    says which fold's probe read the step; ``groups`` int [step] is the episode's number.
    """

    kind: str
    truth: Labels
    scores: Labels
    groups: Ints
    folds: Ints

    @cached_property
    def metric(self) -> Metric:
        """The kind's metric, boiled down to sums per episode."""
        _, episodes = np.unique(self.groups, return_inverse=True)
        if self.kind == "binary":
            return auc(self.truth.astype(bool), self.scores, episodes, self.folds)
        if self.kind == "classes":
            return balanced_accuracy(self.truth, self.scores, episodes)
        return r2(self.truth.astype(float), self.scores, episodes)

    @property
    def estimate(self) -> float:
        """The metric over all episodes."""
        return float(self.metric(np.ones((1, len(np.unique(self.groups)))))[0])


@dataclass(frozen=True, eq=False)
class ProbeScore:
    """A score with its interval; ``resampled`` [resample] are the values behind it."""

    score: Score
    resampled: Floats = field(repr=False)

    def minus(self, other: ProbeScore) -> ProbeScore:
        """The difference, resample by resample (paired)."""
        values = self.resampled - other.resampled
        return ProbeScore(
            interval(self.score.estimate - other.score.estimate, values, self.score.n), values
        )


def score(reading: Reading, *, resamples: int = RESAMPLES, seed: int = 0) -> ProbeScore:
    """The reading's metric with the 95 % interval of a bootstrap over episodes.

    ``n`` counts steps. The probes are taken as they are: they are not fitted anew.
    """
    count = len(np.unique(reading.groups))
    values = reading.metric(draw_episodes(count, resamples, seed))
    return ProbeScore(interval(reading.estimate, values, len(reading.truth)), values)


def fold_numbers(groups: Ints, folds: int = FOLDS) -> Ints:
    """The fold in which each step is read: int [step]; an episode is in one fold only.

    With fewer episodes than folds each episode is a fold. Raises `InputError` for fewer than
    three episodes: one to read, one to choose by and one to learn from.
    """
    count = min(folds, len(np.unique(groups)))
    if count < 3:
        raise InputError(f"{count} episodes to probe; it takes 3 or more to split them")
    found = np.empty(len(groups), dtype=np.int64)
    for number, (_, test) in enumerate(GroupKFold(count).split(groups, groups=groups)):
        found[test] = number
    return found


def learnable(kind: str, truth: Labels, train: NDArray[np.bool_]) -> bool:
    """Whether the training steps hold two classes or more."""
    return kind == "number" or len(np.unique(truth[train])) > 1


@dataclass(frozen=True, eq=False)
class Readings:
    """Readings of several label sets from the same features and folds.

    ``inner`` [fold]: how well the first label set reads within the training episodes of each
    fold, each read by a probe that saw neither it nor that fold's test episodes. It is what
    a choice between sites may look at; nan where there was too little to learn from.
    """

    outer: list[Reading]
    inner: Floats


def read(kind: str, features: Features, truth: Labels, groups: Ints) -> Reading:
    """Reading of ``truth`` [step] from ``features`` [step, dim], out of fold.

    Scaler and weights come from each fold's training episodes only. Raises `InputError` if
    those hold one class only, or if there are too few episodes.
    """
    return read_all(kind, features, [truth], groups, fold_numbers(groups)).outer[0]


def read_all(
    kind: str,
    features: Features,
    truths: Sequence[Labels],
    groups: Ints,
    folds: Ints,
    *,
    inner: bool = False,
) -> Readings:
    """Readings of each of ``truths``, which hold the same classes; see `read`."""
    numbers = np.unique(folds)
    left_out = [(which, (f,)) for which in range(len(truths)) for f in numbers]
    if not all(learnable(kind, truths[w], ~np.isin(folds, out)) for w, out in left_out):
        raise InputError("the episodes to learn from hold one class only; use more episodes")
    pairs = [(0, pair) for pair in combinations(numbers, 2)] if inner else []
    pairs = [(w, pair) for w, pair in pairs if learnable(kind, truths[w], ~np.isin(folds, pair))]
    which = np.array([w for w, _ in left_out + pairs])
    train = np.stack([~np.isin(folds, out) for _, out in left_out + pairs])
    read_by = _decide(kind, features, truths, which, train)
    outer = read_by[: len(left_out)].reshape(len(truths), len(numbers), -1)
    places = np.searchsorted(numbers, folds), np.arange(len(folds))
    readings = [
        Reading(kind, truth, scores[places], groups, folds)
        for truth, scores in zip(truths, outer, strict=True)
    ]
    by_pair = dict(zip([pair for _, pair in pairs], read_by[len(left_out) :], strict=True))
    first = readings[0]
    return Readings(readings, np.array([_inner(first, by_pair, f) for f in numbers]))


def _inner(reading: Reading, by_pair: dict[tuple[int, ...], Labels], fold: int) -> float:
    """How well the other folds are read by probes that saw neither them nor ``fold``."""
    parts = []
    for pair, scores in by_pair.items():
        if fold in pair:
            rows = reading.folds == sum(pair) - fold
            cut = (reading.truth[rows], scores[rows], reading.groups[rows], reading.folds[rows])
            parts.append(cut)
    if not parts:
        return float("nan")
    joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
    return Reading(reading.kind, *joined).estimate


def _decide(
    kind: str, features: Features, truths: Sequence[Labels], which: Ints, train: NDArray[np.bool_]
) -> Labels:
    """What each probe says of every step: [probe, step]."""
    classes, fits = _fit(kind, features, truths, which, train)
    scores = fits.scores(features)  # (step, probe, score)
    if kind != "classes":
        return scores[:, :, 0].T
    best = scores.argmax(2) if scores.shape[2] > 1 else (scores[:, :, 0] > 0).astype(int)
    return classes[best].T


def _fit(
    kind: str, features: Features, truths: Sequence[Labels], which: Ints, train: NDArray[np.bool_]
) -> tuple[Labels, Fits]:
    """The classes and the probes fitted."""
    features = np.asarray(features, dtype=np.float32)
    if kind == "number":
        numbers = np.stack(truths).astype(float)
        return np.empty(0), ridge(Problem(features, numbers, which, train), 1 / C)
    classes = np.unique(np.stack(truths))
    codes = np.searchsorted(classes, np.stack(truths))
    problem = Problem(features, codes, which, train)
    return classes, logistic(problem, len(classes), C, balanced=kind == "classes")


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


def fit_direction(kind: str, features: Features, truth: Labels, name: str) -> Direction:
    """The direction(s) along which the probe of all rows reads the latent ``name``."""
    every = np.ones((1, len(truth)), dtype=bool)
    found, fits = _fit(kind, features, [truth], np.zeros(1, dtype=np.int64), every)
    weights = fits.weights[0].T  # (score, dim)
    if kind == "classes" and len(weights) == 1:
        weights = np.concatenate([-weights, weights])
    norms = np.linalg.norm(weights, axis=1, keepdims=True)
    directions = weights / np.where(norms > 0, norms, 1)
    projections = np.asarray(features, dtype=float) @ directions.T  # (step, class)
    classes = tuple(map(str, found)) if kind == "classes" else (name,)
    sides = _sides(kind, truth, classes)
    gaps = [p[s].mean() - p[~s].mean() for p, s in zip(projections.T, sides, strict=True)]
    return Direction(
        directions, classes, np.array(gaps), projections.std(0), projections.mean(0)
    )


def _sides(kind: str, truth: Labels, classes: tuple[str, ...]) -> list[NDArray[np.bool_]]:
    if kind == "classes":
        return [truth == name for name in classes]
    if kind == "binary":
        return [truth.astype(bool)]
    values = truth.astype(float)
    above = values > np.median(values)
    return [above if above.any() else values >= np.median(values)]
