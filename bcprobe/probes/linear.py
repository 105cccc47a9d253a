"""Linear probes: standardise, then logistic or ridge regression, split by episode.

Binary probes are fitted by `bcprobe.probes.logistic`, which finds what scikit-learn finds, many
fits at once; everything else is scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from bcprobe.activations.labels import Question
from bcprobe.bootstrap import RESAMPLES, Floats, Ints, interval, paired_draws
from bcprobe.errors import InputError
from bcprobe.probes.logistic import fit_logistics
from bcprobe.probes.metrics import Metric, auc, balanced_accuracy, r2
from bcprobe.results import Score

#: A fitted probe: its predictions [row] from features [row, d].
Predictor = Callable[[NDArray[np.floating[Any]]], NDArray[Any]]
FOLDS = 5
#: Inverse strength of the penalty in scikit-learn's ``LogisticRegression`` on standardised
#: features; ridge regression takes ``alpha = 1 / C``. Fixed, never tuned on what is reported.
C = 0.1
#: Negatives that a binary probe is fitted on; it is always scored on all of them. More change
#: its AUC by less than a fifth of its interval and cost a default run three seconds.
MOST_NEGATIVES = 4000
#: Where scikit-learn's logistic fits stop: largest component of the gradient. From here on
#: scores move by less than a tenth of their interval; its own 1e-4 takes up to five times as long.
TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions for steps that the probes were not fitted on.

    ``scores`` [step]: decision values (binary), classes, or numbers; ``folds`` int [step]
    says which fold's probe predicted it; ``groups`` int [step] is the episode's number.
    """

    kind: str
    truth: NDArray[np.generic]
    scores: NDArray[Any]
    groups: Ints
    folds: Ints

    def rows(self, chosen: NDArray[np.bool_]) -> HeldOut:
        """The predictions for some steps only: ``chosen`` bool [step]."""
        names = ("truth", "scores", "groups", "folds")
        return HeldOut(self.kind, *(getattr(self, name)[chosen] for name in names))

    def metric(self) -> Metric:
        """The kind's metric, as sums per episode."""
        _, episodes = np.unique(self.groups, return_inverse=True)
        if self.kind == "binary":
            return auc(self.truth.astype(bool), self.scores, episodes, self.folds)
        if self.kind == "classes":
            return balanced_accuracy(self.truth, self.scores, episodes)
        return r2(self.truth.astype(float), self.scores, episodes)


@dataclass(frozen=True, eq=False)
class ProbeScore:
    """A score with its interval; ``resampled`` [resample] are the values behind it.

    ``predictions`` are what was scored, where one set was.
    """

    score: Score
    resampled: Floats = field(repr=False)
    predictions: HeldOut | None = field(default=None, repr=False)

    def minus(self, other: ProbeScore) -> ProbeScore:
        """The difference, resample by resample (paired)."""
        values = self.resampled - other.resampled
        return ProbeScore(
            interval(self.score.estimate - other.score.estimate, values, self.score.n), values
        )


def make_probe(kind: str) -> Pipeline:
    """The scikit-learn pipeline for ``classes`` or ``number`` latents.

    Classes weigh the same however rare they are; the two sides of a binary latent
    (`bcprobe.probes.logistic`) do not, which its AUC does not see.
    """
    if kind == "number":
        return make_pipeline(StandardScaler(), Ridge(alpha=1 / C, solver="cholesky"))
    model = LogisticRegression(C=C, tol=TOLERANCE, class_weight="balanced", max_iter=1000)
    return make_pipeline(StandardScaler(), model)


def fit_probes(
    kind: str,
    features: NDArray[np.floating[Any]],
    truth: NDArray[np.generic],
    trains: Sequence[Ints],
) -> list[Predictor]:
    """Probes of ``truth`` [step] from ``features`` [step, d], one per set of rows to fit on.

    Each takes features [row, d] and gives decision values, classes or numbers [row]. Raises
    `InputError` if a set of rows holds one class only.
    """
    if kind != "number" and any(len(np.unique(truth[rows])) < 2 for rows in trains):
        raise InputError(
            "one class stands in too few worlds to be on both sides of every split; "
            "use more episodes"
        )
    if kind == "binary":
        return _fit_binary(features, truth.astype(bool), trains)
    fits = [make_probe(kind).fit(features[rows], truth[rows]) for rows in trains]
    return [fit.predict for fit in fits]


def _fit_binary(
    features: NDArray[np.floating[Any]], truth: NDArray[np.bool_], trains: Sequence[Ints]
) -> list[Predictor]:
    """Fitted together, unless they share too few rows for that to be quicker."""
    kept = [_fewer_negatives(rows, truth) for rows in trains]
    counts = np.zeros((len(truth), len(kept)), dtype=np.float32)
    for number, rows in enumerate(kept):
        counts[rows, number] = 1
    used = counts.any(1)
    if used.sum() <= 2 * max(map(len, kept)):
        fits = fit_logistics(features[used], truth[used], counts[used], C)
        return [partial(fits.read, problem=number) for number in range(len(kept))]
    alone = [np.ones((len(rows), 1), dtype=np.float32) for rows in kept]
    return [
        partial(fit_logistics(features[rows], truth[rows], ones, C).read, problem=0)
        for rows, ones in zip(kept, alone, strict=True)
    ]


def fit_means(
    kind: str,
    features: NDArray[np.floating[Any]],
    truth: NDArray[np.generic],
    trains: Sequence[Ints],
) -> list[Predictor]:
    """Probes along the difference of the two sides' means, of standardised features.

    As `fit_probes`, for binary labels only; nothing is penalised and nothing else fitted.
    """
    if kind != "binary":
        raise InputError("a difference of means takes a label of two classes")
    found: list[Predictor] = []
    for rows in trains:
        own, side = features[rows].astype(float), truth[rows].astype(bool)
        scale = np.where(own.std(0) > 0, own.std(0), 1.0)
        weights = (own[side].mean(0) - own[~side].mean(0)) / scale**2
        found.append(partial(np.dot, b=weights))
    return found


def split(groups: Ints, folds: int = FOLDS) -> Iterator[tuple[Ints, Ints]]:
    """Training and test rows of each fold; no episode is on both sides.

    Raises `InputError` for fewer than two episodes; with fewer episodes than folds each
    episode is a fold.
    """
    count = min(folds, len(np.unique(groups)))
    if count < 2:
        raise InputError(f"{count} episode to probe; it needs 2 or more to split by episode")
    yield from GroupKFold(count).split(groups, groups=groups)


def cross_predict(
    kind: str,
    features: NDArray[np.floating[Any]],
    truth: NDArray[np.generic],
    groups: Ints,
    *,
    folds: int = FOLDS,
    fit: Callable[..., list[Predictor]] = fit_probes,
) -> HeldOut:
    """Predictions of ``truth`` [step] from ``features`` [step, dim], out of fold.

    Scaler and weights are fitted on each fold's training episodes only. Raises `InputError`
    if a fold's training episodes hold one class only.
    """
    parts = list(split(groups, folds))
    predictors = fit(kind, features, truth, [train for train, _ in parts])
    found = [
        predictor(features[test]) for predictor, (_, test) in zip(predictors, parts, strict=True)
    ]
    scores = np.empty(len(truth), dtype=found[0].dtype)
    numbers = np.empty(len(truth), dtype=np.int64)
    for number, ((_, test), values) in enumerate(zip(parts, found, strict=True)):
        scores[test], numbers[test] = values, number
    return HeldOut(kind, truth, scores, groups, numbers)


def _fewer_negatives(train: Ints, truth: NDArray[np.bool_]) -> Ints:
    """The rows to fit on: all positives, and evenly spread negatives up to `MOST_NEGATIVES`."""
    positives, negatives = train[truth[train]], train[~truth[train]]
    if len(negatives) <= MOST_NEGATIVES:
        return train
    spread = np.linspace(0, len(negatives) - 1, MOST_NEGATIVES).astype(np.int64)
    return np.sort(np.concatenate([positives, negatives[spread]]))


def score(predictions: HeldOut, *, resamples: int = RESAMPLES, seed: int = 0) -> ProbeScore:
    """The metric of the predictions with its 95 % interval; ``n`` counts steps.

    Where no resample has a metric, the interval of shares is their whole scale.
    """
    metric = predictions.metric()
    count = len(np.unique(predictions.groups))
    estimate = float(metric(np.ones((1, count)))[0])
    values = metric(paired_draws(count, resamples, seed))
    units = independent(predictions) if predictions.kind == "binary" else None
    found = interval(estimate, values, len(predictions.truth), units)
    if predictions.kind != "number" and np.isnan(found.lower) and not np.isnan(estimate):
        found = replace(found, lower=0.0, upper=1.0)
    return ProbeScore(found, values, predictions)


def independent(predictions: HeldOut) -> int:
    """Independent comparisons behind an AUC: worlds with positives or with negatives, the fewer."""
    truth = predictions.truth.astype(bool)
    return min(len(np.unique(predictions.groups[truth == side])) for side in (True, False))


def mean_of(scores: Sequence[ProbeScore]) -> ProbeScore:
    """The mean of some scores, resample by resample."""
    values = np.mean([one.resampled for one in scores], axis=0)
    estimate = float(np.mean([one.score.estimate for one in scores]))
    return ProbeScore(interval(estimate, values, scores[0].score.n), values)


def check_folds(question: Question) -> None:
    """Raise `InputError` unless probes can be fitted on any fold's training episodes."""
    for train, _ in split(question.groups):
        if question.latent.kind != "number" and len(np.unique(question.truth[train])) < 2:
            worlds = {
                str(one): len(np.unique(question.groups[question.truth == one]))
                for one in np.unique(question.truth)
            }
            least = min(worlds, key=worlds.__getitem__)
            raise InputError(
                f"latent '{question.latent.name}': '{least}' stands in {worlds[least]} of "
                f"{len(np.unique(question.groups))} worlds, too few to be on both sides of every "
                "split; use more episodes"
            )


def score_question(question: Question, values: NDArray[np.floating[Any]]) -> ProbeScore:
    """Score of probes that predict the question's truth from values [step, dim] of all steps."""
    features = question.features(values)
    return score(cross_predict(question.latent.kind, features, question.truth, question.groups))
