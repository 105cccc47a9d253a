"""Bodies put together from tapered capsules, shaded as if round and lit from above."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcprobe.rng import generator
from bcprobe.types import CANVAS_SIZE

Pixels = NDArray[np.float64]
#: How dark the flank of a round body is, and how much its underside loses to the light above.
_FLANK, _UNDERSIDE = 0.38, 0.22
_TILE = 2 * CANVAS_SIZE


def capsule(
    canvas: Pixels,
    start: ArrayLike,
    end: ArrayLike,
    radii: tuple[float, float],
    colour: ArrayLike,
    *,
    flat: bool = False,
    opacity: float = 1.0,
) -> None:
    """Paint a capsule from start to end (x, y px) whose radius runs from one to the other.

    ``canvas`` float [256, 256, 3] in grey levels, painted in place; ``colour`` [3]. A ``flat``
    one is not shaded.
    """
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    reach = max(radii) + 1.5
    low = np.maximum(np.floor(np.minimum(a, b) - reach), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(a, b) + reach) + 1, CANVAS_SIZE).astype(int)
    if (low >= high).any():
        return
    x = np.arange(low[0], high[0], dtype=float)[None, :]
    y = np.arange(low[1], high[1], dtype=float)[:, None]
    along = b - a
    share = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(float(along @ along), 1e-9)
    share = np.clip(share, 0, 1)
    dx, dy = x - a[0] - share * along[0], y - a[1] - share * along[1]
    radius = radii[0] + (radii[1] - radii[0]) * share
    distance = np.hypot(dx, dy)
    cover = (opacity * np.clip(radius - distance + 0.5, 0, 1))[..., None]
    light = np.ones_like(distance)
    if not flat:
        across = np.minimum(distance / radius, 1)
        light = 1 + 0.06 - _FLANK * across**2 - _UNDERSIDE * np.clip(dy / radius, -1, 1) * across
    window = canvas[low[1] : high[1], low[0] : high[0]]
    window *= 1 - cover
    window += cover * light[..., None] * np.asarray(colour, dtype=float)


def chain(canvas: Pixels, points: ArrayLike, radii: tuple[float, float], colour: ArrayLike) -> None:
    """Paint capsules along points [n, 2]: a tail."""
    points = np.asarray(points, dtype=float)
    sizes = np.linspace(*radii, len(points))
    for a, b, first, last in zip(points[:-1], points[1:], sizes[:-1], sizes[1:], strict=True):
        capsule(canvas, a, b, (float(first), float(last)), colour)


@lru_cache(maxsize=1)
def _grain() -> Pixels:
    return generator("video grain").normal(size=(_TILE, _TILE))


def grain(offset: tuple[int, int]) -> Pixels:
    """Noise of unit deviation [256, 256], cut from a tile at an offset below 256."""
    x, y = offset
    return _grain()[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]


@lru_cache(maxsize=1)
def _mottle() -> Pixels:
    small = generator("mottled ground").normal(size=(_TILE // 8 + 2, _TILE // 8 + 2))
    place = np.arange(_TILE) / 8
    cell, part = place.astype(int), place % 1
    rows = small[cell] * (1 - part)[:, None] + small[cell + 1] * part[:, None]
    return rows[:, cell] * (1 - part) + rows[:, cell + 1] * part


def mottle(offset: tuple[int, int]) -> Pixels:
    """Smooth blotches of about unit deviation [256, 256], cut from a tile at an offset."""
    x, y = offset
    return _mottle()[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]


def finish(canvas: Pixels) -> NDArray[np.uint8]:
    """A frame in whole grey levels: uint8 [256, 256, 3]."""
    return np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)
