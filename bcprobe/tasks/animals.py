"""Bodies put together from tapered limbs, shaded as if round and lit from above."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcprobe.rng import generator
from bcprobe.types import CANVAS_SIZE

Pixels = NDArray[np.floating]
#: How dark the flank of a round body is, and how much its underside loses to the light above.
_FLANK, _UNDERSIDE = 0.38, 0.22
_TILE = 2 * CANVAS_SIZE
_RAMP = np.arange(CANVAS_SIZE, dtype=np.float32)


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


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.float64]:
    return generator("video grain").normal(size=(_TILE, _TILE))


def grain(offset: tuple[int, int]) -> NDArray[np.float64]:
    """Noise of unit deviation [256, 256], cut from a tile at an offset below 256."""
    x, y = offset
    return _grain()[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]


@lru_cache(maxsize=1)
def _mottle() -> NDArray[np.float64]:
    small = generator("mottled ground").normal(size=(_TILE // 8 + 2, _TILE // 8 + 2))
    place = np.arange(_TILE) / 8
    cell, part = place.astype(int), place % 1
    rows = small[cell] * (1 - part)[:, None] + small[cell + 1] * part[:, None]
    return rows[:, cell] * (1 - part) + rows[:, cell + 1] * part


def mottle(offset: tuple[int, int]) -> NDArray[np.float64]:
    """Smooth blotches of about unit deviation [256, 256], cut from a tile at an offset."""
    x, y = offset
    return _mottle()[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]


def finish(canvas: Pixels) -> NDArray[np.uint8]:
    """A frame in whole grey levels: uint8 [256, 256, 3]. ``canvas`` is used up."""
    np.clip(canvas, 0, 255, out=canvas)
    return np.rint(canvas, out=canvas).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Limb:
    """A part of a body: a line of points float [n, 2] px and a radius float [n] px at each.

    ``lift``: how far (px) it stands out towards the camera; ``tone``: its coat's brightness.
    """

    points: Pixels
    radii: Pixels
    lift: float = 0.0
    tone: float = 1.0


def limb(
    points: ArrayLike,
    radii: ArrayLike,
    lift: float = 0.0,
    tone: float = 1.0,
    *,
    smooth: bool = True,
) -> Limb:
    """A limb whose line and radii run through the given ones, ``smooth`` or straight."""
    joints = np.column_stack([np.asarray(points, dtype=float), np.asarray(radii, dtype=float)])
    line = _smooth(joints) if smooth and len(joints) > 2 else joints
    return Limb(line[:, :2], np.maximum(line[:, 2], 0.5), lift, tone)


def _smooth(joints: Pixels) -> Pixels:
    """Catmull-Rom curve through joints [n, k], two steps from each to the next."""
    ends = 2 * joints[[0, -1]] - joints[[1, -2]]
    p = np.concatenate([ends[:1], joints, ends[1:]])
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    steps = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
               + (3 * b - a - 3 * c + d) * t**3)
        for t in (0.0, 0.5)
    ]  # fmt: skip
    return np.concatenate([np.stack(steps, axis=1).reshape(-1, joints.shape[1]), joints[-1:]])


def flesh(canvas: Pixels, limbs: Sequence[Limb], colour: ArrayLike, fur: Pixels) -> None:
    """Paint limbs as one round body, lit from above left, with fur; in place.

    ``canvas`` float [256, 256, 3] in grey levels; ``colour`` [3]; ``fur`` [256, 256] is the
    coat's relative brightness less one at each canvas pixel.
    """
    points = np.concatenate([part.points for part in limbs])
    reach = max(float(part.radii.max()) for part in limbs) + 2
    low = np.maximum(np.floor(points.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(points.max(axis=0) + reach) + 1, CANVAS_SIZE).astype(int)
    if (high - low < 2).any():
        return
    height, inside, tone = _relief(limbs, low, high)
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    light = tone * _lambert(height) * (1 + fur[window])
    cover = np.clip(inside + 0.5, 0, 1)
    canvas[window] *= (1 - cover)[..., None]
    canvas[window] += (cover * light)[..., None] * np.asarray(colour, dtype=np.float32)


def _relief(
    limbs: Sequence[Limb], low: NDArray[np.int64], high: NDArray[np.int64]
) -> tuple[Pixels, Pixels, Pixels]:
    """Height (px), depth inside the outline (px) and tone of each pixel of a window."""
    height = np.zeros((high[1] - low[1], high[0] - low[0]), dtype=np.float32)
    inside, tone = np.full_like(height, -1.0), np.ones_like(height)
    for part in limbs:
        beads = np.column_stack([part.points - low, part.radii]).tolist()
        for start, end in pairwise(beads):
            box = _box(start, end, height.shape)
            gap, tall = _segment(start, end, box)
            if part.lift:
                tall += part.lift * (gap > 0)
            if part.tone != 1:
                tone[box][tall > height[box]] = part.tone
            np.maximum(height[box], tall, out=height[box])
            np.maximum(inside[box], gap, out=inside[box])
    return height, inside, tone


#: A point of a limb's line: x, y and radius, px.
_Bead = Sequence[float]


def _box(start: _Bead, end: _Bead, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns that a segment may touch."""
    reach = max(start[2], end[2]) + 1.5
    spans = []
    for axis, size in ((1, shape[0]), (0, shape[1])):
        first = max(0, math.floor(min(start[axis], end[axis]) - reach))
        last = min(size, math.ceil(max(start[axis], end[axis]) + reach) + 1)
        spans.append(slice(first, max(first, last)))
    return spans[0], spans[1]


def _segment(start: _Bead, end: _Bead, box: tuple[slice, slice]) -> tuple[Pixels, Pixels]:
    """Depth inside a tapered capsule and its height above the picture, px, over a box."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    x, y = _RAMP[box[1]] - start[0], _RAMP[box[0], None] - start[1]
    square = max(dx * dx + dy * dy, 1e-9)
    share = x * (dx / square) + y * (dy / square)
    np.maximum(share, 0, out=share)
    np.minimum(share, 1, out=share)
    across, down = x - share * dx, y - share * dy
    distance = across * across + down * down
    radius = start[2] + (end[2] - start[2]) * share
    tall = np.sqrt(np.maximum(radius * radius - distance, 0))
    return radius - np.sqrt(distance), tall


def _lambert(height: Pixels) -> Pixels:
    """Brightness of a relief lit from above left."""
    dy, dx = np.gradient(height)
    facing = (0.22 * dx + 0.62 * dy + 0.9) / np.sqrt(1 + dx * dx + dy * dy)
    return 0.5 + 0.58 * np.maximum(facing, 0)


@lru_cache(maxsize=1)
def _fur() -> Pixels:
    rows = generator("fur").normal(size=(_TILE, _TILE))
    hairs = np.sum([np.roll(rows, (k // 3, k), axis=(0, 1)) for k in range(6)], axis=0)
    return (hairs / 6**0.5).astype(np.float32)


def fur(x: int, y: int, strength: float) -> Pixels:
    """Short hairs that go with a body at (x, y) px: [256, 256] of deviation ``strength``."""
    tile = _fur()[256 - y % 256 :, 256 - x % 256 :]
    return strength * tile[:CANVAS_SIZE, :CANVAS_SIZE]


def shake(video: NDArray[np.uint8], shaken: Iterable[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """A video [t, y, x, 3] with some frames shifted by whole px, (t, x, y); rims are repeated."""
    for t, dx, dy in shaken:
        frame = video[t]
        rows = np.clip(np.arange(frame.shape[0]) - dy, 0, frame.shape[0] - 1)
        columns = np.clip(np.arange(frame.shape[1]) - dx, 0, frame.shape[1] - 1)
        video[t] = frame[rows][:, columns]
    return video
