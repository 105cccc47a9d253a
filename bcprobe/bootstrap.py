"""Intervals: the one bootstrap over clusters that every number here uses, and Wilson's."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcprobe.results import Score

#: Resamples behind an interval, unless said otherwise.
RESAMPLES = 1000
Z_95 = 1.959963984540054
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def draw_counts(count: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each of ``count`` units is drawn: float64 [resample, unit]."""
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)


@lru_cache(maxsize=16)
def paired_draws(count: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """`draw_counts` from a seed, read-only: equal arguments, equal draws.

    Statistics computed on the same draws are paired, so that differences have intervals.
    """
    draws = draw_counts(count, resamples, np.random.default_rng(seed))
    draws.flags.writeable = False
    return draws


def with_all(draws: Floats) -> Floats:
    """The draws after a first row that counts every unit once: [1 + resample, unit]."""
    return np.concatenate([np.ones((1, draws.shape[1])), draws])


def ratio(above: Floats, below: Floats) -> Floats:
    """``above / below``; nan where ``below`` is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def interval(estimate: float, values: ArrayLike, n: int, units: int | None = None) -> Score:
    """``estimate`` with the 2.5 % and 97.5 % quantiles of the resampled ``values``.

    Values that are not finite are left out; with none left, or an estimate that is nan, the
    interval is nan. With ``units``, how many independent ones stand behind a share (0-1), resamples
    that are all equal give the `exact` interval instead of one without width.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if math.isnan(estimate) or len(known) == 0:
        return Score(estimate, math.nan, math.nan, n)
    if units is not None and estimate in (0.0, 1.0) and np.ptp(known) == 0 and len(known) > 1:
        return Score(estimate, *exact(estimate * units, units), n)
    lower, upper = np.quantile(known, [0.025, 0.975])
    return Score(estimate, float(lower), float(upper), n)


def difference_of(values: Floats, units: int) -> Score:
    """A difference of two shares, the first value, with the `interval` of the others.

    Where every resample gives the same, as when no unit differs, the interval is the `exact` one of
    the share of ``units`` that differ, to both sides of 0 if none does.
    """
    score = interval(float(values[0]), values[1:], units)
    if abs(score.estimate) not in (0.0, 1.0) or score.lower != score.upper:
        return score
    low, high = exact(abs(score.estimate) * units, units)
    if score.estimate == 0:
        low = -high
    elif score.estimate < 0:
        low, high = -high, -low
    return Score(score.estimate, low, high, units)


def exact(successes: float, units: int) -> tuple[float, float]:
    """95 % interval (Clopper and Pearson 1934) of a share of ``units`` independent units.

    ``successes`` may be a fraction, where units count in part. With no unit it is nan.
    """
    from scipy.stats import beta

    if units == 0:
        return math.nan, math.nan
    failures = units - successes
    lower = 0.0 if successes <= 0 else float(beta.ppf(0.025, successes, failures + 1))
    upper = 1.0 if failures <= 0 else float(beta.ppf(0.975, successes + 1, failures))
    return lower, upper


def spread_interval(
    estimate: float,
    values: ArrayLike,
    n: int,
    *,
    critical: float = Z_95,
    units: int | None = None,
    share: bool = False,
) -> Score:
    """``estimate`` with ``critical`` standard deviations of ``values`` to both sides.

    For resamples whose level is biased, as that of refits is (each sees 63 % of the units): only
    their spread is used. A ``share`` (0-1, such as an AUC) is spread on the logit scale, so that
    the interval stays inside; at 0 and at 1 it is `exact` over ``units``.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if math.isnan(estimate) or len(known) < 2:
        return Score(estimate, math.nan, math.nan, n)
    if share and units is not None and estimate in (0.0, 1.0):
        return Score(estimate, *exact(estimate * units, units), n)
    if not share:
        half = critical * float(known.std(ddof=1))
        return Score(estimate, estimate - half, estimate + half, n)
    edge = 1e-4
    middle, logits = (
        np.log(np.clip(x, edge, 1 - edge) / (1 - np.clip(x, edge, 1 - edge)))
        for x in (estimate, known)
    )
    half = critical * float(logits.std(ddof=1))
    lower, upper = (1 / (1 + np.exp(-(middle + side * half))) for side in (-1, 1))
    return Score(estimate, min(float(lower), estimate), max(float(upper), estimate), n)


def max_t(estimates: Floats, values: Floats) -> float:
    """Critical value of simultaneous 95 % intervals of several statistics [k].

    ``values`` [resample, k] are paired resamples (Westfall and Young 1993): the 95 % quantile of
    the largest deviation in standard deviations; never below that of one statistic.
    """
    known = values[np.isfinite(values).all(axis=1)]
    spread = known.std(axis=0, ddof=1) if len(known) > 2 else np.zeros(len(estimates))
    moving = spread > 0
    if not moving.any():
        return Z_95
    off = np.abs(known[:, moving] - known[:, moving].mean(axis=0)) / spread[moving]
    return max(Z_95, float(np.quantile(off.max(axis=1), 0.95)))


def score_of(values: Floats, n: int, units: int | None = None) -> Score:
    """The first value, with the `interval` of the others (see `with_all`)."""
    return interval(float(values[0]), values[1:], n, units)


def cluster_bootstrap(
    groups: ArrayLike,
    statistic: Callable[[Floats], float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    share: bool = False,
) -> Score:
    """``statistic(row_weights)`` with the percentile interval of a cluster bootstrap.

    ``groups`` [row] names each row's cluster (the episode). ``statistic`` gets one weight
    per row: how often the row's cluster was drawn. Resamples on which it is nan are left out. A
    ``share`` (0-1, such as an AUC) that is 0 or 1 in every resample has the `exact` interval. The
    interval of a single cluster is nan: it says nothing about others.
    """
    _, code = np.unique(np.asarray(groups), return_inverse=True)
    count = int(code.max()) + 1 if len(code) else 0
    if count == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    estimate = float(statistic(np.ones(len(code))))
    if count == 1:
        return Score(estimate, math.nan, math.nan, count)
    values = [statistic(draw[code]) for draw in paired_draws(count, resamples, seed)]
    return interval(estimate, values, count, count if share else None)


def mean_score(values: ArrayLike, groups: ArrayLike, *, resamples: int = RESAMPLES) -> Score:
    """Mean of ``values`` [row] with a cluster-bootstrap interval over ``groups``.

    The ratio of resampled sums, so that long episodes keep their weight. The interval of a
    single cluster is nan: it says nothing about others.
    """
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    _, code = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(code, weights=values)
    if len(sums) == 1:
        return Score(float(values.mean()), math.nan, math.nan, len(values))
    draws = paired_draws(len(sums), resamples)
    means = (draws @ sums) / (draws @ np.bincount(code).astype(float))
    shares = len(sums) if np.isin(values, (0.0, 1.0)).all() else None
    return interval(float(values.mean()), means, len(values), shares)


def wilson(successes: int, n: int) -> Score:
    """Share of successes with Wilson's interval (Wilson 1927)."""
    if n == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    share = successes / n
    centre = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    spread = share * (1 - share) / n + Z_95**2 / (4 * n * n)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(spread)
    return Score(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)), n)
