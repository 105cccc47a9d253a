"""A hyperspectral scene: ground of many fields, bright smoke, and a drifting gas plume."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.rng import generator
from bcprobe.types import CANVAS_SIZE

Floats = NDArray[np.float64]
BANDS = 12
_TILE = 2 * CANVAS_SIZE
_FIELDS = 26
_ALONG = 48


def plume_rim(rng: np.random.Generator) -> Floats:
    """Rim of a plume, float [k, 2] canvas px about 2 px apart, clockwise from its topmost point.

    It widens downwind from its source along a bent path, and bulges softly on both sides.
    """
    while True:
        rim = _even(_plume(rng), 2.0)
        if rim.min() > 18 and rim.max() < CANVAS_SIZE - 18:
            return np.roll(rim, -int(rim[:, 1].argmin()), axis=0)


def _plume(rng: np.random.Generator) -> Floats:
    """Closed line [m, 2] px, clockwise on the screen."""
    share = np.linspace(0, 1, _ALONG)
    length, wind = rng.uniform(95, 145), rng.uniform(0, 2 * np.pi)
    course = wind + rng.uniform(-0.9, 0.9) * (share - 0.5)
    steps = np.stack([np.cos(course), np.sin(course)], axis=1) * length / _ALONG
    path = np.cumsum(steps, axis=0)
    path += rng.uniform(62, CANVAS_SIZE - 62, size=2) - path.mean(axis=0)
    side = np.stack([-np.sin(course), np.cos(course)], axis=1)
    widths = [rng.uniform(13, 18) + rng.uniform(16, 26) * share**0.8 for _ in range(2)]
    right, left = (w * (1 + _bulge(share, rng)) for w in widths)
    ends = [_cap(path[-1], course[-1], left[-1], right[-1], 0.75),
            _cap(path[0], course[0] + np.pi, right[0], left[0], 0.9)]  # fmt: skip
    parts = [path - left[:, None] * side, ends[0], (path + right[:, None] * side)[::-1], ends[1]]
    return np.concatenate(parts)


def _cap(end: Floats, course: float, first: float, last: float, blunt: float) -> Floats:
    """Half an oval round the end of a path, from its left side (px) to its right."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 16)[1:-1]
    radius = first + (last - first) * (angle / np.pi + 0.5)
    ahead, across = blunt * radius * np.cos(angle), radius * np.sin(angle)
    forward = np.array([np.cos(course), np.sin(course)])
    side = np.array([-forward[1], forward[0]])
    return end + ahead[:, None] * forward + across[:, None] * side


def _bulge(share: Floats, rng: np.random.Generator) -> Floats:
    waves = (1.0, 1.7, 2.6)
    phases, sizes = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.03, 0.09, 3)
    turns = [
        s * np.sin(2 * np.pi * w * share + p) for w, p, s in zip(waves, phases, sizes, strict=True)
    ]
    return np.sum(turns, axis=0)


def _even(line: Floats, step: float) -> Floats:
    """The closed line at equal steps of its length."""
    closed = np.concatenate([line, line[:1]])
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    at = np.linspace(0, lengths[-1], int(lengths[-1] / step), endpoint=False)
    return np.stack([np.interp(at, lengths, closed[:, axis]) for axis in range(2)], axis=1)


def filled(outline: Floats) -> NDArray[np.bool_]:
    """Canvas pixels whose middle lies inside a closed outline [k, 2]: bool [256, 256]."""
    flips = np.zeros((CANVAS_SIZE, CANVAS_SIZE + 1), dtype=np.int64)
    ends = np.roll(outline, -1, axis=0)
    low = np.clip(np.ceil(np.minimum(outline[:, 1], ends[:, 1])), 0, CANVAS_SIZE).astype(int)
    high = np.clip(np.ceil(np.maximum(outline[:, 1], ends[:, 1])), 0, CANVAS_SIZE).astype(int)
    for (x0, y0), (x1, y1), first, last in zip(outline, ends, low, high, strict=True):
        rows = np.arange(first, last)
        if len(rows):
            cross = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            flips[rows, np.clip(np.ceil(cross), 0, CANVAS_SIZE).astype(int)] += 1
    return np.cumsum(flips, axis=1)[:, :CANVAS_SIZE] % 2 == 1


@lru_cache(maxsize=4)
def texture(smooth: int) -> Floats:
    """Noise of unit spread that varies over about ``smooth`` px: float [512, 512], periodic."""
    grain = generator("plume texture", smooth).normal(size=(_TILE, _TILE))
    for axis in (0, 1, 0, 1):
        grain = np.sum([np.roll(grain, k, axis=axis) for k in range(smooth)], axis=0)
    return (grain - grain.mean()) / grain.std()


def cut(smooth: int, rng: np.random.Generator) -> Floats:
    """A canvas of that texture, float [256, 256], from a place at random."""
    x, y = rng.integers(0, _TILE - CANVAS_SIZE, size=2)
    return texture(smooth)[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]


def soften(image: Floats, reach: int) -> Floats:
    """The image averaged twice over ``2 reach + 1`` px along both axes."""
    for axis in (0, 1, 0, 1):
        pad = [(reach + 1, reach) if a == axis else (0, 0) for a in range(2)]
        total = np.cumsum(np.pad(image, pad, mode="edge"), axis=axis)
        size = 2 * reach + 1
        ahead = np.take(total, np.arange(size, size + CANVAS_SIZE), axis=axis)
        image = (ahead - np.take(total, np.arange(CANVAS_SIZE), axis=axis)) / size
    return image


def ground(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Cover of the ground and the covers' spectra: int [256, 256] and float [cover, 12] (0-1).

    Fields lie in strips of one course; the last two covers are roads and bare soil.
    """
    kinds = _spectra(rng)
    y, x = np.mgrid[0:CANVAS_SIZE, 0:CANVAS_SIZE]
    turn = rng.uniform(0, np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    strip = rng.uniform(44, 70)
    row = np.floor((v + rng.uniform(0, strip)) / strip).astype(int) + 20
    shifts, lengths = rng.uniform(0, 90, 48), rng.uniform(40, 95, 48)
    column = np.floor((u + shifts[row]) / lengths[row]).astype(int) + 20
    cover = rng.integers(0, _FIELDS, size=(48, 64))[row, column]
    bare = soften(cut(16, rng), 2) > 1.15
    cover = np.where(bare, _FIELDS + 1, cover)
    for _ in range(2):
        cover = np.where(_road(x, y, rng), _FIELDS, cover)
    return cover, kinds


def _road(x: NDArray[np.int64], y: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Pixels of a road that bends gently across the canvas."""
    turn, bend = rng.uniform(0, np.pi), rng.uniform(-18, 18)
    u = (x - 128) * np.cos(turn) + (y - 128) * np.sin(turn)
    v = (y - 128) * np.cos(turn) - (x - 128) * np.sin(turn)
    middle = rng.uniform(-90, 90) + bend * np.sin(u / 70 + rng.uniform(0, 6))
    return np.abs(v - middle) < rng.uniform(1.6, 2.6)


def _spectra(rng: np.random.Generator) -> Floats:
    """Smooth reflectances float [28, 12]: crops, then road, then soil."""
    band = np.arange(BANDS)
    slope, wave = rng.uniform(-0.012, 0.012, (_FIELDS, 1)), rng.uniform(0.0, 0.045, (_FIELDS, 1))
    level, phase = rng.uniform(0.30, 0.58, (_FIELDS, 1)), rng.uniform(0, 6.3, (_FIELDS, 1))
    crops = level + slope * (band - 5.5) + wave * np.sin(band / 2.6 + phase)
    return np.concatenate([crops, 0.68 + 0 * band[None], 0.60 + 0.008 * (band[None] - 5)])


def smoke(rng: np.random.Generator, away: Floats) -> Floats:
    """Opacity float [256, 256] (0-1) of bright puffs that lie far from a point (x, y)."""
    y, x = np.mgrid[0:CANVAS_SIZE, 0:CANVAS_SIZE].astype(float)
    spots = rng.uniform(40, CANVAS_SIZE - 40, size=(40, 2))
    centre = spots[np.hypot(*(spots - away).T).argmax()]
    out = np.zeros((CANVAS_SIZE, CANVAS_SIZE))
    for _ in range(9):
        (cx, cy), size = centre + rng.normal(0, 15, size=2), rng.uniform(9, 19)
        out += rng.uniform(0.35, 0.7) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * size**2))
    return np.clip(out * (1 + 0.18 * cut(6, rng)), 0, 1)


def draw_bands(
    rim: Floats,
    depths: Floats,
    contrast: float,
    noise: float,
    puffs: float,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """The bands, then their ratios to the first: uint8 [24, 256, 256, 3].

    ``depths`` [12]: share of light that the plume inside ``rim`` takes from each band;
    ``contrast`` of the fields, sensor ``noise`` and ``puffs`` (unevenness of the gas) as shares.
    """
    cover, spectra = ground(rng)
    relief = 1 + 0.05 * cut(6, rng) + 0.04 * cut(2, rng)
    haze, inside = smoke(rng, rim.mean(axis=0)), soften(filled(rim).astype(float), 2)
    density = inside * (1 - puffs * np.abs(cut(16, rng)))
    grain = np.stack([noise * cut(1, rng) for _ in range(BANDS)])
    spectra = 0.45 + contrast * (spectra - 0.45)
    reflected = np.moveaxis(spectra[cover], -1, 0) * relief * (1 - haze) + 0.93 * haze
    bands = np.clip(reflected * (1 - depths[:, None, None] * density) + grain, 0.03, 1.0)
    grey = np.repeat(_levels(bands)[..., None], 3, axis=3)
    return np.concatenate([grey, np.take(ratio_colors(), _levels(bands / bands[0] - 0.25), axis=0)])


def _levels(values: Floats) -> NDArray[np.uint8]:
    return np.rint(np.clip(255 * values, 0, 255)).astype(np.uint8)


@lru_cache(maxsize=1)
def ratio_colors() -> NDArray[np.uint8]:
    """Colours uint8 [256, 3] of a ratio: deep violet where light is missing, ochre at one."""
    stops = {0: (22, 8, 70), 70: (72, 40, 140), 130: (60, 130, 150), 190: (205, 195, 130),
             255: (250, 245, 220)}  # fmt: skip
    colors = np.array(list(stops.values()))
    levels = [np.interp(np.arange(256), list(stops), colors[:, axis]) for axis in range(3)]
    return np.rint(np.stack(levels, axis=1)).astype(np.uint8)
