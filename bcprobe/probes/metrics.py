"""How well a probe reads, with intervals from a bootstrap over whole episodes.

A metric is first boiled down to sums per episode. A resample is then only how often each
episode was drawn, and a thousand of them cost a few matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bcprobe.bootstrap import Floats, Ints, ratio


class Metric(Protocol):
    """A score of some episodes, each of which may be drawn several times."""

    def __call__(self, draws: Floats) -> Floats:
        """Scores [resample] of ``draws`` [resample, episode]; nan where there is none."""
        ...


@dataclass(frozen=True, eq=False)
class FoldPairs:
    """Pairs of steps of one fold, by their ``episodes``.

    ``won`` [episode, episode] counts pairs in which the positive step of the row's episode
    outscores the negative one of the column's (a tie is half); ``up`` and ``down`` [episode]
    count positive and negative steps.
    """

    episodes: Ints
    won: Floats
    up: Floats
    down: Floats


@dataclass(frozen=True, eq=False)
class Auc:
    """Area under the ROC curve over pairs of steps read by the same fold's probe."""

    folds: tuple[FoldPairs, ...]

    def __call__(self, draws: Floats) -> Floats:
        """See `Metric`."""
        won, pairs = np.zeros((2, len(draws)))
        for fold in self.folds:
            drawn = draws[:, fold.episodes]
            won += ((drawn @ fold.won) * drawn).sum(1)
            pairs += (drawn @ fold.up) * (drawn @ fold.down)
        return ratio(won, pairs)


@dataclass(frozen=True, eq=False)
class BalancedAccuracy:
    """Mean recall over the classes drawn; ``right`` and ``count`` are [episode, class]."""

    right: Floats
    count: Floats

    def __call__(self, draws: Floats) -> Floats:
        """See `Metric`."""
        recall = ratio(draws @ self.right, draws @ self.count)
        seen = ~np.isnan(recall)
        return ratio(np.where(seen, recall, 0.0).sum(1), seen.sum(1).astype(float))


@dataclass(frozen=True, eq=False)
class R2:
    """Share of variance explained; the sums are [episode]."""

    count: Floats
    total: Floats
    squares: Floats
    errors: Floats

    def __call__(self, draws: Floats) -> Floats:
        """See `Metric`."""
        count, total = draws @ self.count, draws @ self.total
        variance = draws @ self.squares - ratio(total**2, count)
        return 1 - ratio(draws @ self.errors, variance)


def auc(truth: NDArray[np.bool_], scores: Floats, episodes: Ints, folds: Ints | None = None) -> Auc:
    """AUC of ``scores`` [step] for ``truth`` [step].

    Only steps of the same fold are compared: probes of two folds differ in their intercept,
    and a fold rich in positives has a training set poor in them, which biases pooled
    comparisons below chance. With one fold it is scikit-learn's ``roc_auc_score``.
    """
    folds = np.zeros(len(truth), dtype=np.int64) if folds is None else folds
    rows = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    return Auc(tuple(_fold_pairs(truth[own], scores[own], episodes[own]) for own in rows))


def _fold_pairs(truth: NDArray[np.bool_], scores: Floats, episodes: Ints) -> FoldPairs:
    known, own = np.unique(episodes, return_inverse=True)
    member = own[:, None] == np.arange(len(known))  # (step, episode)
    order = np.flatnonzero(~truth)[np.argsort(scores[~truth], kind="stable")]
    below = np.zeros((len(order) + 1, len(known)))  # of the lowest n negatives, by episode
    below[1:] = np.cumsum(member[order], axis=0)
    first, last = (
        np.searchsorted(scores[order], scores[truth], side) for side in ("left", "right")
    )
    beaten = (below[first] + below[last]) / 2
    up, down = (member[truth == side].sum(0).astype(float) for side in (True, False))
    return FoldPairs(known, member[truth].T.astype(float) @ beaten, up, down)


def balanced_accuracy(
    truth: NDArray[np.generic], read: NDArray[np.generic], episodes: Ints
) -> BalancedAccuracy:
    """Balanced accuracy of the classes ``read`` [step] for ``truth`` [step]."""
    classes = np.unique(truth)
    member = (truth[:, None] == classes).astype(float)  # (step, class)
    return BalancedAccuracy(
        _sums(member * (truth == read)[:, None], episodes), _sums(member, episodes)
    )


def r2(truth: Floats, read: Floats, episodes: Ints) -> R2:
    """R2 of the numbers ``read`` [step] for ``truth`` [step]."""
    shifted = truth - truth.mean()
    columns = np.stack([np.ones_like(truth), shifted, shifted**2, (truth - read) ** 2], axis=1)
    return R2(*_sums(columns, episodes).T)


def _sums(columns: Floats, episodes: Ints) -> Floats:
    """Sums [episode, column] of rows [step, column]."""
    count = int(episodes.max()) + 1
    return np.stack([np.bincount(episodes, column, count) for column in columns.T], axis=1)
