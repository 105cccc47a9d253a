from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

from bcprobe.bootstrap import cluster_bootstrap, interval, paired_draws
from bcprobe.probes.metrics import auc, balanced_accuracy, r2

EPISODES = 12


def episodes(rng: np.random.Generator) -> np.ndarray:
    return np.repeat(np.arange(EPISODES), rng.integers(5, 15, EPISODES))


@given(st.integers(0, 10_000), st.booleans())
def test_auc_of_resamples_is_scikit_learns_weighted_auc(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    groups = episodes(rng)
    truth = rng.random(len(groups)) < 0.4
    scores = rng.normal(size=len(groups)) + truth
    scores = scores.round() if ties else scores
    draws = paired_draws(EPISODES, 4, seed)
    found = auc(truth, scores, groups)(draws)
    for value, draw in zip(found, draws, strict=True):
        expected = roc_auc_score(truth, scores, sample_weight=draw[groups])
        assert value == pytest.approx(expected, abs=1e-12)


def test_auc_compares_within_folds_only() -> None:
    rng = np.random.default_rng(0)
    groups = episodes(rng)
    folds = groups % 3
    truth = rng.random(len(groups)) < 0.5
    scores = rng.normal(size=len(groups)) + truth + 100 * folds
    found = auc(truth, scores, groups, folds)(np.ones((1, EPISODES)))[0]
    parts = [(roc_auc_score(truth[folds == f], scores[folds == f]), f) for f in range(3)]
    pairs = [truth[folds == f].sum() * (~truth[folds == f]).sum() for f in range(3)]
    assert found == pytest.approx(np.average([value for value, _ in parts], weights=pairs))


def test_constant_scores_are_at_chance_whatever_the_folds() -> None:
    rng = np.random.default_rng(0)
    groups = episodes(rng)
    folds = groups % 5
    truth = rng.random(len(groups)) < 0.1
    intercepts = np.array([-truth[folds == fold].mean() for fold in range(5)])
    assert auc(truth, intercepts[folds], groups, folds)(np.ones((1, EPISODES)))[0] == 0.5


def test_interval_is_that_of_the_plain_cluster_bootstrap() -> None:
    rng = np.random.default_rng(2)
    groups = episodes(rng)
    truth = rng.random(len(groups)) < 0.4
    scores = rng.normal(size=len(groups)) + truth
    metric = auc(truth, scores, groups)
    estimate = metric(np.ones((1, EPISODES)))[0]
    found = interval(estimate, metric(paired_draws(EPISODES, 50)), EPISODES)
    plain = cluster_bootstrap(
        groups, lambda w: roc_auc_score(truth, scores, sample_weight=w), resamples=50
    )
    assert found.as_dict() == pytest.approx(plain.as_dict())


@given(st.integers(0, 10_000))
def test_balanced_accuracy_and_r2_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = episodes(rng)
    names = np.array(["a", "b", "c"])
    truth, read = names[rng.integers(3, size=(2, len(groups)))]
    numbers, guesses = rng.normal(size=(2, len(groups))) + 7
    draws = paired_draws(EPISODES, 4, seed)
    accuracies = balanced_accuracy(truth, read, groups)(draws)
    shares = r2(numbers, guesses, groups)(draws)
    for accuracy, share, draw in zip(accuracies, shares, draws, strict=True):
        weight = draw[groups]
        expected = balanced_accuracy_score(truth, read, sample_weight=weight)
        assert accuracy == pytest.approx(expected)
        assert share == pytest.approx(r2_score(numbers, guesses, sample_weight=weight))


def test_a_resample_without_positives_is_left_out() -> None:
    groups = np.array([0, 0, 1, 1])
    truth = np.array([True, False, False, False])
    metric = auc(truth, np.array([2.0, 1.0, 0.0, 3.0]), groups)
    values = metric(np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert values[0] == pytest.approx(2 / 3)
    assert np.isnan(values[1])
    score = interval(values[0], values, 4)
    assert score.lower == score.upper == pytest.approx(2 / 3)
