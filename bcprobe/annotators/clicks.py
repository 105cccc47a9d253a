"""Where a click lands: exact distributions over whole screen pixels."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.layouts import Arrangement, Rect
from bcprobe.types import CANVAS_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH, Click

#: Button clicks (paper, annotator): mean 0.5 and sd 0.2 of the size, clipped to [0.1, 0.9].
BUTTON_SD = 0.2
BUTTON_CLIP = (0.1, 0.9)
#: A right placement never lies further than this many standard deviations off, per axis.
REACH = 2.5


@dataclass(frozen=True)
class Press:
    """Aim at a button."""

    button: str


@dataclass(frozen=True)
class Point:
    """Aim at a canvas point (x, y) px with a standard deviation of ``spread`` px per axis."""

    x: float
    y: float
    spread: float


@dataclass(frozen=True, eq=False)
class Region:
    """Aim anywhere in equal square tiles of the canvas: ``corners`` int [n, 2], side px."""

    corners: NDArray[np.int64]
    side: int


Target = Press | Point | Region


@lru_cache(maxsize=4096)
def rounded_normal(mean: float, sd: float, low: int, high: int) -> NDArray[np.float64]:
    """Probabilities of the whole numbers low..high for a normal rounded and clipped to them."""
    edges = [math.erf((k + 0.5 - mean) / (sd * math.sqrt(2))) for k in range(low, high)]
    cdf = np.array([-1.0, *edges, 1.0])
    return np.diff(cdf) / 2


@dataclass(frozen=True, eq=False)
class Patch:
    """A separable distribution: pixel (x + i, y + j) has ``px[i] * py[j]``."""

    x: int
    y: int
    px: NDArray[np.float64]
    py: NDArray[np.float64]

    def sample(self, rng: np.random.Generator) -> Click:
        """A pixel at random."""
        i, j = (bisect_left(sums, rng.random()) for sums in self._sums)
        return Click(self.x + min(i, len(self.px) - 1), self.y + min(j, len(self.py) - 1))

    @cached_property
    def _sums(self) -> tuple[list[float], list[float]]:
        return np.cumsum(self.px).tolist(), np.cumsum(self.py).tolist()

    def add_to(self, heat: NDArray[np.float64], weight: float) -> None:
        """Add the weighted probabilities to a heat map [360, 480]."""
        window = heat[self.y : self.y + len(self.py), self.x : self.x + len(self.px)]
        window += weight * self.py[:, None] * self.px


@lru_cache(maxsize=1024)
def button_patch(rect: Rect) -> Patch:
    """Clicks on a button."""
    x0, px = _button_axis(rect.x, rect.width)
    y0, py = _button_axis(rect.y, rect.height)
    return Patch(x0, y0, px, py)


def _button_axis(start: int, size: int) -> tuple[int, NDArray[np.float64]]:
    low, high = (int(start + share * (size - 1) + 0.5) for share in BUTTON_CLIP)
    return low, rounded_normal(start + (size - 1) / 2, BUTTON_SD * size, low, high)


def point_patch(target: Point, canvas: Rect) -> Patch:
    """Clicks at a canvas point, clipped to the canvas and to `REACH` standard deviations."""
    x0, px = _point_axis(target.x, target.spread)
    y0, py = _point_axis(target.y, target.spread)
    return Patch(canvas.x + x0, canvas.y + y0, px, py)


def _point_axis(centre: float, sd: float) -> tuple[int, NDArray[np.float64]]:
    last = CANVAS_SIZE - 1
    low = min(last, max(0, math.ceil(centre - REACH * sd - 0.5)))
    high = max(low, min(last, math.floor(centre + REACH * sd + 0.5)))
    return low, rounded_normal(centre, sd, low, high)


def region_patch(target: Region, tile: int, canvas: Rect) -> Patch:
    """Clicks in one tile of a region."""
    even = np.full(target.side, 1 / target.side)
    x, y = target.corners[tile]
    return Patch(canvas.x + int(x), canvas.y + int(y), even, even)


def sample_click(
    target: Target, arrangement: Arrangement, names: Sequence[str], rng: np.random.Generator
) -> Click:
    """A click at random on a target; ``names`` are the buttons in the arrangement's order."""
    if not isinstance(target, Region):
        return patch_of(target, arrangement, names).sample(rng)
    tile = int(rng.integers(len(target.corners)))
    return region_patch(target, tile, arrangement.canvas).sample(rng)


@dataclass(frozen=True, eq=False)
class ScreenDistribution:
    """The next click as a distribution over the screen's 172,800 pixels."""

    heat: NDArray[np.float64]

    def heat_map(self) -> NDArray[np.float64]:
        """Probability of each pixel: float64 [360, 480], sums to 1."""
        return self.heat

    def log_prob(self, x: int, y: int) -> float:
        """Log-probability of a pixel; -inf where the annotator never clicks."""
        value = float(self.heat[y, x])
        return math.log(value) if value > 0 else -math.inf

    def entropy(self) -> float:
        """Entropy in nats."""
        positive = self.heat[self.heat > 0]
        return float(-(positive * np.log(positive)).sum())

    def sample(self, rng: np.random.Generator) -> Click:
        """A pixel at random."""
        pixel = int(np.searchsorted(np.cumsum(self.heat.ravel()), rng.random()))
        return Click(pixel % SCREEN_WIDTH, min(pixel // SCREEN_WIDTH, SCREEN_HEIGHT - 1))


def mixture(
    targets: Sequence[tuple[float, Target]], arrangement: Arrangement, names: Sequence[str]
) -> ScreenDistribution:
    """Distribution of the click when each target is aimed at with its probability."""
    heat = np.zeros((SCREEN_HEIGHT, SCREEN_WIDTH))
    for probability, target in targets:
        if isinstance(target, Region):
            rows, columns, share = _tiles(target, arrangement.canvas)
            np.add.at(heat, (rows, columns), probability * share)
        else:
            patch_of(target, arrangement, names).add_to(heat, probability)
    return ScreenDistribution(heat)


def add_sums(
    across: NDArray[np.float32],
    down: NDArray[np.float32],
    targets: Sequence[tuple[float, Target]],
    arrangement: Arrangement,
    names: Sequence[str],
) -> None:
    """Add what `mixture` gives, summed over cells of the screen, to arrays of 0.

    ``across`` [rows of cells, 480] are sums over each row of cells, ``down`` [360, columns of
    cells] over each column: all of a distribution that a click head's factors look at.
    """
    height, width = SCREEN_HEIGHT // len(across), SCREEN_WIDTH // down.shape[1]
    for probability, target in targets:
        if isinstance(target, Region):
            rows, columns, share = _tiles(target, arrangement.canvas)
            _count(across, rows // height, columns, probability * share)
            _count(down, rows, columns // width, probability * share)
        else:
            patch = patch_of(target, arrangement, names)
            first, shares = _by_cell(patch.y, patch.py, height)
            window = slice(patch.x, patch.x + len(patch.px))
            across[first : first + len(shares), window] += probability * shares[:, None] * patch.px
            first, shares = _by_cell(patch.x, patch.px, width)
            window = slice(patch.y, patch.y + len(patch.py))
            down[window, first : first + len(shares)] += probability * patch.py[:, None] * shares


def _count(
    sums: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64], share: float
) -> None:
    """Add ``share`` at each (row, column), however often it comes."""
    at = (rows * sums.shape[1] + columns).ravel()
    sums += share * np.bincount(at, minlength=sums.size).reshape(sums.shape)


def _by_cell(start: int, chances: NDArray[np.float64], size: int) -> tuple[int, Any]:
    """First cell along an axis, and the sum in each cell, of chances that begin at ``start``."""
    first = start // size
    return first, np.bincount((start + np.arange(len(chances))) // size - first, weights=chances)


def _tiles(region: Region, canvas: Rect) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """Screen rows [tile, side, 1] and columns [tile, 1, side] of a region; each pixel's share."""
    side = np.arange(region.side)
    x, y = region.corners.T + np.array([[canvas.x], [canvas.y]])
    share = 1 / (len(region.corners) * region.side**2)
    return (y[:, None] + side)[:, :, None], (x[:, None] + side)[:, None, :], share


def patch_of(target: Press | Point, arrangement: Arrangement, names: Sequence[str]) -> Patch:
    """Clicks on a button or at a point."""
    if isinstance(target, Press):
        return button_patch(arrangement.buttons[names.index(target.button)])
    return point_patch(target, arrangement.canvas)
