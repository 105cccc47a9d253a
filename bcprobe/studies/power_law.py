"""Loss as a sum of powers of size and data, and the data that a loss takes.

L(N, D) = L_inf + a (N / N0)^-alpha + b (D / D0)^-beta, of the form of Hoffmann et al. 2022; N0 and
D0 are the geometric means of what was measured, so that a and b are losses in nats.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Floats = NDArray[np.float64]
#: The fitted numbers, in this order.
NAMES = ("L_inf", "a", "alpha", "b", "beta")
#: Exponents tried as a start; the fit with the least squares counts.
STARTS = (0.2, 0.5, 1.0)
#: Bounds: losses of 1e-4 to 100 nats, exponents of 0.01 to 5.
LOW, HIGH = np.log([1e-4, 1e-4, 0.01, 1e-4, 0.01]), np.log([100.0, 100.0, 5.0, 100.0, 5.0])


def predicted(fit: Floats, size: Floats, data: Floats) -> Floats:
    """Loss of a fit (`NAMES`) at N / N0 and D / D0."""
    floor, a, alpha, b, beta = fit
    return np.asarray(floor + a * size**-alpha + b * data**-beta)


def fit(size: Floats, data: Floats, loss: Floats, start: Floats | None = None) -> Floats:
    """The least-squares fit of log losses; ``start`` is a fit to begin from.

    All nan with fewer points than numbers to fit, or a loss that is none.
    """
    if len(loss) < len(NAMES) or not np.isfinite(loss).all():
        return np.full(len(NAMES), math.nan)
    size, data = size / geometric_mean(size), data / geometric_mean(data)

    def gap(logs: Floats) -> Floats:
        return np.log(predicted(np.exp(logs), size, data)) - np.log(loss)

    tried = [least_squares(gap, np.log(s), bounds=(LOW, HIGH)) for s in _starts(loss, start)]
    best = min(tried, key=lambda one: float(one.cost))
    return np.exp(best.x)


def _starts(loss: Floats, start: Floats | None) -> list[Floats]:
    if start is not None and np.isfinite(start).all():
        return [np.clip(start, np.exp(LOW) * 1.001, np.exp(HIGH) * 0.999)]
    low, spread = 0.9 * loss.min(), max(1e-3, float(np.ptp(loss)) / 4)
    return [np.array([low, spread, power, spread, power]) for power in STARTS]


def geometric_mean(values: Floats) -> float:
    """Geometric mean of positive numbers."""
    return float(np.exp(np.log(np.unique(values)).mean()))


def frames_to(loss: float, frames: Floats, curve: Floats) -> float:
    """Frames at which a curve first reaches a loss; between points straight in their logs.

    nan if it never does.
    """
    below = np.flatnonzero(curve <= loss)
    if len(below) == 0:
        return math.nan
    last = int(below[0])
    if last == 0:
        return float(frames[0])
    pair = slice(last - 1, last + 1)
    x, y = np.log(frames[pair]), np.log(curve[pair])
    return float(np.exp(np.interp(-math.log(loss), -y, x)))


def factor_per_ten(size: Floats, frames: Floats) -> float:
    """How many times fewer frames ten times the parameters need, by a line through the logs."""
    known = np.isfinite(frames)
    if known.sum() < 2:
        return math.nan
    slope = np.polyfit(np.log10(size[known]), np.log10(frames[known]), 1)[0]
    return float(10**-slope)


def at_loss(loss: float, curve: Floats, values: Floats) -> float:
    """A quantity at the point at which a curve first reaches a loss, straight between points."""
    below = np.flatnonzero(curve <= loss)
    if len(below) == 0 or below[0] == 0:
        return math.nan
    pair = slice(int(below[0]) - 1, int(below[0]) + 1)
    return float(np.interp(-loss, -curve[pair], values[pair]))
