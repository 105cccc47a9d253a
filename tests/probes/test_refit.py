"""Refits on worlds drawn anew equal those of scikit-learn, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bcprobe.probes.linear import C
from bcprobe.probes.refit import over_tasks, refit_cross, row_counts, weighted_auc


def test_refits_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 15)
    truth = rng.random(300) < 0.3
    features = rng.normal(size=(300, 6)).astype(np.float32) + truth[:, None] * 0.5
    counts = row_counts(groups, 3)
    assert counts.sum(axis=0).tolist() == [300, 300, 300]
    scores, folds = refit_cross(features, truth, groups, counts)
    found = weighted_auc(truth, scores, counts, folds)
    for column in range(3):
        won = pairs = 0.0
        for train, test in GroupKFold(5).split(features, groups=groups):
            rows = np.repeat(train, counts[train, column].astype(int))
            model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
            model.fit(features[rows], truth[rows])
            weights = counts[test, column]
            up, down = weights[truth[test]].sum(), weights[~truth[test]].sum()
            if up and down:
                values = model.decision_function(features[test])
                won += up * down * roc_auc_score(truth[test], values, sample_weight=weights)
                pairs += up * down
        assert found[column] == pytest.approx(won / pairs, abs=2e-3)


def test_a_resample_without_a_class_is_nan_and_tasks_are_drawn_too() -> None:
    truth = np.array([True, False])
    scores = np.array([[1.0, 1.0], [0.0, 0.0]], dtype=np.float32)
    counts = np.array([[1, 0], [1, 2]], dtype=np.float32)
    found = weighted_auc(truth, scores, counts, np.zeros(2, dtype=int))
    assert found[0] == 1
    assert np.isnan(found[1])
    apart = over_tasks([np.full(10, 0.5), np.full(10, 1.0)])
    assert set(apart.tolist()) == {0.5, 0.75, 1.0}
