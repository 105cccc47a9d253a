"""Many logistic regressions on the same rows at once, each with its own weights of the rows.

Folds, left-out tasks and bootstrap draws of one set of activations differ only in how often
each row counts. Newton's method is run on all of them together: the steps are solved by
conjugate gradients, so that a product with every problem's curvature is two matrix products,
and one factored curvature, that of the mean problem, serves them all.

The problem is that of scikit-learn's ``StandardScaler`` and ``LogisticRegression``: features
standardised by the rows that count, a penalty on the weights and none on the intercept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
#: Newton steps, and conjugate gradients within one, at most.
STEPS, INNER = 60, 60
#: Conjugate gradients after which the factored curvature is made anew for the next step.
TURNS = 6
#: A problem is solved when a further step would lower its mean loss by less than half of this.
GAIN = 1e-6
#: How far conjugate gradients go: norm of what is left of the gradient.
LEFT = 0.05
#: Variance, in units of the variance over all rows, below which a feature counts as constant.
CONSTANT = 1e-13
#: By how much a mean loss may seem to grow, from rounding.
ROUNDING, TINY = 1e-6, 1e-300


@dataclass(frozen=True, eq=False)
class Logistics:
    """Fitted problems: ``weights`` [problem, d] and ``intercepts`` [problem].

    In the features' own units; the decision value of a row x is ``x @ weights + intercept``.
    """

    weights: Floats
    intercepts: Floats

    def read(self, features: NDArray[np.floating[Any]], problem: int) -> Floats:
        """Decision values [row] of one problem for features [row, d]."""
        return features @ self.weights[problem] + self.intercepts[problem]


def fit_logistics(
    features: NDArray[np.floating[Any]],
    truth: NDArray[np.generic],
    counts: NDArray[np.floating[Any]],
    c: float,
) -> Logistics:
    """Fit problems that count the rows of features [row, d] ``counts`` [row, problem] times.

    ``truth`` is bool [row], or [row, problem] where problems differ in it; ``c`` the inverse
    strength of the penalty. Every problem must count rows of both classes.
    """
    mean, scale = features.mean(0, dtype=float), features.std(0, dtype=float)
    scale = np.where(scale > np.finfo(np.float32).eps * np.abs(mean), scale, 1.0)
    z = ((features - mean.astype(np.float32)) / scale.astype(np.float32)).astype(np.float32)
    problems = _Problems.of(z, truth.astype(bool).reshape(len(z), -1), counts, 1 / c)
    solved = problems.solve()
    weights = (solved[:-1] / problems.scale).T / scale
    shift = (problems.mean / problems.scale * solved[:-1]).sum(0)
    return Logistics(weights, solved[-1] - shift - weights @ mean)


@dataclass(frozen=True, eq=False)
class _Problems:
    """``z`` [row, d] and, for each problem, mean and scale [d, problem] of what it counts."""

    z: Singles
    truth: Singles
    counts: Singles
    total: Floats
    mean: Floats
    scale: Floats
    penalty: float

    @classmethod
    def of(
        cls,
        z: Singles,
        truth: NDArray[np.bool_],
        counts: NDArray[np.floating[Any]],
        penalty: float,
    ) -> _Problems:
        total = counts.sum(0, dtype=float)
        exact, shares = z.astype(float), counts / total
        mean = exact.T @ shares
        variance = np.square(exact, out=exact).T @ shares - mean**2
        scale = np.sqrt(np.where(variance > CONSTANT * (1 + mean**2), variance, 1.0))
        wanted, weights = truth.astype(np.float32), counts.astype(np.float32)
        return cls(z, wanted, weights, total, mean, scale, penalty)

    def solve(self) -> Floats:
        """Weights of standardised features, and the intercept: [d + 1, problem]."""
        positive = (self.truth * self.counts).sum(0, dtype=float) / self.total
        found = np.zeros((self.z.shape[1] + 1, len(self.total)))
        found[-1] = np.log(positive / (1 - positive))
        loss, move, factor = np.full(len(self.total), np.inf), np.zeros_like(found), None
        for _ in range(STEPS):
            values = self.values(found)
            now = self.loss(found, values)
            worse = now > loss + ROUNDING * self.total
            if worse.any():
                move = np.where(worse, move / 2, 0.0)
                found = found - move
                continue
            loss, chances = now, expit(values)
            gradient = self.back(self.counts * (chances - self.truth))
            gradient[:-1] += self.penalty * found[:-1]
            curvature = self.counts * chances * (1 - chances)
            factor = self.factor(curvature) if factor is None else factor
            step, turns = self.newton(curvature, gradient, factor)
            move, factor = -step, None if turns > TURNS else factor
            found = found + move
            if ((gradient * step).sum(0) <= GAIN * self.total).all():
                break
        return found

    def values(self, weights: Floats) -> Singles:
        """Decision values [row, problem]."""
        own = weights[:-1] / self.scale
        shift = weights[-1] - (self.mean * own).sum(0)
        return self.z @ own.astype(np.float32) + shift.astype(np.float32)

    def back(self, rows: Singles) -> Floats:
        """The transpose of `values`: [d + 1, problem] of [row, problem]."""
        sums = rows.sum(0, dtype=float)
        own = ((self.z.T @ rows).astype(float) - self.mean * sums) / self.scale
        return np.concatenate([own, sums[None]])

    def loss(self, weights: Floats, values: Singles) -> Floats:
        """Penalised losses [problem]."""
        rows = np.logaddexp(0, values) - self.truth * values
        return (self.counts * rows).sum(0, dtype=float) + self.penalty / 2 * (
            weights[:-1] ** 2
        ).sum(0)

    def newton(self, curvature: Singles, gradient: Floats, factor: Any) -> tuple[Floats, int]:
        """Newton's steps [d + 1, problem] by preconditioned conjugate gradients; turns taken."""
        step, left = np.zeros_like(gradient), gradient
        way = better = cho_solve(factor, left)
        energy = (left * better).sum(0)
        enough, turns = LEFT**2 * energy, 0
        while turns < INNER and (energy > enough).any():
            turns += 1
            bent = self.back(curvature * self.values(way))
            bent[:-1] += self.penalty * way[:-1]
            length = energy / np.maximum((way * bent).sum(0), TINY)
            step, left = step + length * way, left - length * bent
            better = cho_solve(factor, left)
            before, energy = energy, (left * better).sum(0)
            way = better + energy / np.maximum(before, TINY) * way
        return step, turns

    def factor(self, curvature: Singles) -> Any:
        """Cholesky factor of the mean problem's curvature [d + 1, d + 1]."""
        root = np.sqrt(curvature.mean(1))[:, None]
        mean, scale = self.mean.mean(1), self.scale.mean(1)
        rows = (self.z - mean.astype(np.float32)) * root / scale.astype(np.float32)
        rows = np.concatenate([rows, root], axis=1)
        bent = (rows.T @ rows).astype(float)
        bent[np.diag_indices(len(bent) - 1)] += self.penalty
        return cho_factor(bent)
