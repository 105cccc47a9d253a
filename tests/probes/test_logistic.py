"""Fits of many problems at once are those that scikit-learn finds one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bcprobe.probes.logistic import fit_logistics

ROWS, WIDTH, C = 400, 12, 0.1


def scikit_learns(
    x: np.ndarray, y: np.ndarray, counts: np.ndarray, c: float = C
) -> tuple[np.ndarray, float]:
    """Weights and intercept in the features' own units."""
    rows = np.repeat(np.arange(len(y)), counts.astype(int))
    scaler = StandardScaler().fit(x[rows])
    model = LogisticRegression(C=c, tol=1e-10, max_iter=5000)
    model.fit(scaler.transform(x[rows]), y[rows])
    weights = model.coef_[0] / scaler.scale_
    return weights, model.intercept_[0] - weights @ scaler.mean_


def problem(separation: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of very different scale and offset, and a rare class."""
    rng = np.random.default_rng(seed)
    y = rng.random(ROWS) < 0.15
    x = rng.normal(size=(ROWS, WIDTH)) @ rng.normal(size=(WIDTH, WIDTH))
    x[:, 3] += separation * y
    return (x * np.geomspace(0.01, 100, WIDTH) + np.arange(WIDTH)).astype(np.float32), y


@pytest.mark.parametrize("separation", [0.0, 2.0, 60.0])
@pytest.mark.parametrize("c", [0.1, 10.0])
def test_coefficients_are_scikit_learns(separation: float, c: float) -> None:
    x, y = problem(separation)
    rng = np.random.default_rng(1)
    folds = np.arange(ROWS) % 5 != np.arange(5)[:, None]
    draws = rng.multinomial(ROWS, np.full(ROWS, 1 / ROWS), size=5)
    counts = np.concatenate([np.ones((1, ROWS)), folds, draws]).T
    found = fit_logistics(x, y, counts, c)
    for number, own in enumerate(counts.T):
        weights, intercept = scikit_learns(x.astype(float), y, own, c)
        spread = x.std(0)
        assert np.allclose(found.weights[number] * spread, weights * spread, atol=2e-3)
        values = x @ weights + intercept
        assert np.allclose(found.read(x, number), values, atol=1e-2 * values.std())


def test_problems_may_differ_in_their_truth() -> None:
    x, y = problem(2.0)
    other = np.random.default_rng(2).random(ROWS) < 0.5
    found = fit_logistics(x, np.stack([y, other], axis=1), np.ones((ROWS, 2)), C)
    for number, truth in enumerate((y, other)):
        alone = fit_logistics(x, truth, np.ones((ROWS, 1)), C)
        assert np.allclose(found.read(x, number), alone.read(x, 0), atol=1e-2)


def test_constant_features_weigh_nothing() -> None:
    x, y = problem(2.0)
    flat = np.full((ROWS, 1), 0.7, dtype=np.float32)
    found = fit_logistics(np.concatenate([x, flat], axis=1), y, np.ones((ROWS, 1)), C)
    assert found.weights[0, -1] == 0
    nothing = fit_logistics(np.repeat(flat, 3, axis=1), y, np.ones((ROWS, 1)), C)
    assert not nothing.weights.any()
    assert nothing.intercepts[0] == pytest.approx(np.log(y.mean() / (1 - y.mean())))


def test_rows_that_do_not_count_change_nothing() -> None:
    x, y = problem(2.0)
    counts = (np.arange(ROWS) < 300).astype(float)[:, None]
    spoilt = x.copy()
    spoilt[300:] *= 30
    plain, other = (fit_logistics(rows, y, counts, C).read(x[:300], 0) for rows in (x, spoilt))
    assert np.allclose(plain, other, atol=1e-2)


def test_fits_repeat_themselves() -> None:
    x, y = problem(2.0)
    one, two = (fit_logistics(x, y, np.ones((ROWS, 3)), C) for _ in range(2))
    assert np.array_equal(one.weights, two.weights)
