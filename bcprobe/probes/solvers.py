"""Many linear probes on the same activations at once, each equal to scikit-learn's.

What is minimised is what ``make_pipeline(StandardScaler(), LogisticRegression(C))`` or
``Ridge(1 / C)`` minimise on a probe's training steps; the scaler enters as a change of
variables. Probes of all folds and label sets share each pass over the activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Features = NDArray[np.floating[Any]]

#: The search ends where no gradient exceeds this; there a decision value is within about
#: the same distance of its end point, times the root of dimensions over steps.
GRADIENT = 1e-3
MOST_STEPS = 2000
#: Curvature of the logistic loss at even odds, its largest.
CURVATURE = 0.25
NEVER = -1e9


@dataclass(frozen=True, eq=False)
class Fits:
    """Weights [probe, dim, score] and intercepts [probe, score], in the features' own units."""

    weights: Floats
    intercepts: Floats

    def scores(self, features: Features) -> Singles:
        """Decision values or numbers read: float32 [step, probe, score]."""
        probes, dims, count = self.weights.shape
        flat = self.weights.transpose(1, 0, 2).reshape(dims, -1)
        centre = features.mean(0, dtype=np.float64)
        near = np.asarray(features - centre.astype(features.dtype), dtype=np.float32)
        level = (centre @ flat).reshape(probes, count) + self.intercepts
        read = (near @ flat.astype(np.float32)).reshape(-1, probes, count)
        return read + level.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Problem:
    """Probes to fit: bool ``train`` [probe, step] and the label set each one learns.

    ``labels`` [set, step] holds class numbers from 0 or numbers; ``which`` [probe] the row.
    """

    features: Features
    labels: NDArray[Any]
    which: Ints
    train: NDArray[np.bool_]

    def scales(self) -> Floats:
        """What StandardScaler divides by on each probe's training steps: [probe, dim]."""
        masks = self.train.astype(np.float64)
        centred = np.asarray(self.features - self.features.mean(0), dtype=np.float64)
        counts = masks.sum(1, keepdims=True)
        mean, square = masks @ centred / counts, masks @ centred**2 / counts
        scale = np.sqrt(np.maximum(square - mean**2, 0))
        return np.where(scale > 1e-7 * np.sqrt(square + 1e-30), scale, 1.0)


def ridge(problem: Problem, alpha: float) -> Fits:
    """Probes that read numbers: ridge regression, in closed form."""
    centre = problem.features.mean(0, dtype=np.float64)
    x = np.asarray(problem.features, dtype=np.float64) - centre
    y = problem.labels.astype(np.float64).T  # (step, set)
    used, blocks = _blocks(problem.train)
    count, level, mean, moment, gram = (
        np.tensordot(used, np.stack(sums), 1)  # (probe, ...)
        for sums in zip(*[_sums(x[rows], y[rows]) for rows in blocks], strict=True)
    )
    weights, intercepts = [], []
    for i, (which, scale) in enumerate(zip(problem.which, problem.scales(), strict=True)):
        middle, target = mean[i] / count[i], level[i, which] / count[i]
        spread = gram[i] - count[i] * np.outer(middle, middle) + alpha * np.diag(scale**2)
        weights.append(np.linalg.solve(spread, moment[i][:, which] - mean[i] * target))
        intercepts.append(target - (middle + centre) @ weights[-1])
    return Fits(np.stack(weights)[:, :, None], np.array(intercepts)[:, None])


def _blocks(train: NDArray[np.bool_]) -> tuple[Floats, list[Ints]]:
    """Steps that always go together: which probes use them [probe, block], and their rows."""
    packed = np.packbits(train, axis=0)
    _, first, code = np.unique(packed, axis=1, return_index=True, return_inverse=True)
    rows = [np.flatnonzero(code.ravel() == number) for number in range(len(first))]
    return train[:, first].astype(np.float64), rows


def _sums(x: Floats, y: Floats) -> tuple[Floats, ...]:
    """Count, sums of y and of x, their products, and products of x among themselves."""
    return np.float64(len(x)), y.sum(0), x.sum(0), x.T @ y, x.T @ x


def logistic(problem: Problem, classes: int, c: float, *, balanced: bool) -> Fits:
    """Probes that tell classes apart: one score for two classes, else one for each.

    ``balanced`` weighs classes as ``class_weight='balanced'`` does.
    """
    search = _Search(problem, classes, c, balanced)
    start = np.zeros(search.shape).ravel()
    options = {"maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "gtol": GRADIENT, "ftol": 0.0}
    found = minimize(
        search, start, jac=True, method="L-BFGS-B", options={**options, "maxcor": 20}
    )
    return search.fits(found.x)


class _Search:
    """Loss and gradient of all probes together, in coordinates in which it is nearly round.

    Features are centred and multiplied by ``turn`` [dim, dim], which makes the penalised
    Hessian at even odds the identity.
    """

    def __init__(self, problem: Problem, classes: int, c: float, balanced: bool) -> None:
        scales = problem.scales()
        self.centre = problem.features.mean(0, dtype=np.float64)
        x = np.asarray(problem.features - self.centre.astype(np.float32), dtype=np.float32)
        gram = (x.T @ x).astype(np.float64)
        hessian = c * CURVATURE * gram + np.diag((scales**2).mean(0))
        size, axes = np.linalg.eigh(hessian)
        self.turn = axes / np.sqrt(np.maximum(size, 1e-12 * size[-1]))
        self.x = x @ self.turn.astype(np.float32)  # (step, dim)
        turned = [self.turn.T * scale**2 @ self.turn for scale in scales]
        self.penalty = np.stack(turned)  # (probe, dim, dim)
        self.level = 1 / np.sqrt(c * CURVATURE * len(x))
        self._read_labels(problem, classes, c, balanced)

    def _read_labels(self, problem: Problem, classes: int, c: float, balanced: bool) -> None:
        member = problem.labels[:, :, None] == np.arange(classes)  # (set, step, class)
        member = member[problem.which].transpose(1, 0, 2)  # (step, probe, class)
        train = problem.train.T[:, :, None]
        count = (member & train).sum(0)  # (probe, class)
        even = train.sum(0) / (np.maximum((count > 0).sum(1, keepdims=True), 1) * np.maximum(count, 1))
        weight = (member * (even if balanced else np.ones_like(even))).sum(2)
        self.weight = (c * weight * problem.train.T).astype(np.float32)  # (step, probe)
        self.binary = classes == 2
        self.truth = member[:, :, 1:] if self.binary else member
        self.truth = self.truth.astype(np.float32)  # (step, probe, score)
        self.missing = np.where(count == 0, NEVER, 0).astype(np.float32)  # (probe, class)
        self.shape = (self.x.shape[1] + 1, *self.truth.shape[1:])

    def __call__(self, point: Floats) -> tuple[float, Floats]:
        """Loss and its gradient at ``point`` [(dim + 1) * probe * score]."""
        at = point.reshape(self.shape)
        flat = at[:-1].reshape(self.shape[0] - 1, -1).astype(np.float32)
        scores = (self.x @ flat).reshape(-1, *self.shape[1:])
        scores += (self.level * at[-1]).astype(np.float32)
        loss, slope = (self._two if self.binary else self._many)(scores)
        pull = np.einsum("pde,eps->dps", self.penalty, at[:-1])
        gradient = np.empty(self.shape)
        gradient[:-1] = (self.x.T @ slope.reshape(len(slope), -1)).reshape(pull.shape) + pull
        gradient[-1] = self.level * slope.sum(0, dtype=np.float64)
        return loss + 0.5 * float((at[:-1] * pull).sum()), gradient.ravel()

    def _two(self, scores: Singles) -> tuple[float, Singles]:
        small = np.exp(-np.abs(scores))
        loss = np.maximum(scores, 0) + np.log(1 + small) - self.truth * scores
        slope = np.where(scores > 0, 1, small) / (1 + small) - self.truth
        total = float((loss[:, :, 0] * self.weight).sum(dtype=np.float64))
        return total, slope * self.weight[:, :, None]

    def _many(self, scores: Singles) -> tuple[float, Singles]:
        scores = scores + self.missing
        scores -= scores.max(2, keepdims=True)
        odds = np.exp(scores)
        whole = odds.sum(2, keepdims=True)
        loss = np.log(whole[:, :, 0]) - (scores * self.truth).sum(2)
        total = float((loss * self.weight).sum(dtype=np.float64))
        return total, (odds / whole - self.truth) * self.weight[:, :, None]

    def fits(self, point: Floats) -> Fits:
        """Weights and intercepts for features as they came."""
        at = point.reshape(self.shape)
        weights = np.einsum("de,eps->pds", self.turn, at[:-1])
        intercepts = self.level * at[-1] - np.einsum("d,pds->ps", self.centre, weights)
        return Fits(weights, intercepts + (0 if self.binary else self.missing))
