"""Intervals where resamples say nothing, and simultaneous ones."""

from __future__ import annotations

import numpy as np
import pytest

from bcprobe.bootstrap import (
    Z_95,
    cluster_bootstrap,
    difference_of,
    exact,
    interval,
    max_t,
    mean_score,
    spread_interval,
)


def test_a_degenerate_bootstrap_gives_the_exact_interval() -> None:
    assert exact(20, 20)[0] == pytest.approx(0.025 ** (1 / 20))
    assert exact(0, 20) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    low, high = exact(10, 20)
    assert low == pytest.approx(0.272, abs=1e-3)
    assert high == pytest.approx(0.728, abs=1e-3)
    found = interval(1.0, np.ones(50), 400, units=20)
    assert (found.lower, found.upper) == exact(20, 20)
    assert interval(1.0, np.ones(50), 400).lower == 1.0


def test_shares_that_never_vary_have_width_and_other_means_do_not() -> None:
    always = mean_score(np.ones(12), np.repeat(np.arange(6), 2))
    assert always.lower == pytest.approx(0.025 ** (1 / 6))
    assert mean_score(np.full(12, 3.0), np.repeat(np.arange(6), 2)).lower == 3.0


def test_the_spread_of_refits_is_used_and_not_their_level() -> None:
    values = 0.7 + 0.02 * np.random.default_rng(0).normal(size=400)
    found = spread_interval(0.8, values, 10, share=True, units=30)
    assert found.lower < 0.8 < found.upper
    assert found.upper - found.lower == pytest.approx(2 * Z_95 * 0.02 * 0.16 / 0.21, rel=0.1)
    assert spread_interval(1.0, np.ones(9), 10, share=True, units=30).lower == exact(30, 30)[0]
    assert np.isnan(spread_interval(0.5, [0.4], 10).lower)


def test_simultaneous_intervals_are_wider_the_more_is_compared() -> None:
    values = np.random.default_rng(0).normal(size=(4000, 6))
    one, six = max_t(np.zeros(1), values[:, :1]), max_t(np.zeros(6), values)
    assert one == pytest.approx(Z_95, abs=0.06)
    assert six == pytest.approx(2.63, abs=0.1)
    assert max_t(np.zeros(2), np.ones((10, 2))) == Z_95


def test_a_difference_that_no_unit_shows_is_not_known_to_be_none() -> None:
    none = difference_of(np.zeros(100), 16)
    most = exact(0, 16)[1]
    assert (none.lower, none.upper) == (-most, most)
    lost = difference_of(np.full(100, -1.0), 16)
    assert (lost.lower, lost.upper) == (-1.0, -exact(16, 16)[0])
    some = difference_of(np.array([0.0, -0.5, 0.5]), 16)
    assert -0.5 < some.lower < 0 < some.upper < 0.5


def test_an_auc_of_one_in_every_resample_has_the_exact_interval() -> None:
    score = cluster_bootstrap(np.arange(16), lambda weights: 1.0, share=True)
    assert (score.lower, score.upper) == exact(16, 16)
    assert cluster_bootstrap(np.arange(16), lambda weights: 1.0).lower == 1.0
