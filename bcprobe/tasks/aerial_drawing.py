"""Roads, fields, roofs and trees as an aerial camera shows them."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bcprobe.rng import generator
from bcprobe.tasks.road_maps import World, road_line
from bcprobe.types import CANVAS_SIZE

Floats = NDArray[np.float64]
_TILE = 2 * CANVAS_SIZE
#: Crops and meadows, asphalt, verge, track, hedge, roofs, cars: RGB.
_CROPS = np.array(
    [(96, 116, 66), (118, 132, 76), (152, 142, 98), (124, 104, 78), (84, 104, 60),
     (166, 156, 116), (106, 124, 82), (138, 122, 92)], dtype=float,
)  # fmt: skip
_ASPHALT, _VERGE = np.array([128.0, 128, 132]), np.array([150.0, 146, 116])
_TRACK, _HEDGE = np.array([176.0, 160, 128]), np.array([62.0, 76, 44])
_CROWN, _LINE = np.array([54.0, 76, 40]), np.array([222.0, 222, 212])
_ROOFS = np.array(
    [(152, 86, 68), (132, 76, 62), (118, 118, 122), (94, 90, 90), (206, 204, 198)], dtype=float
)
_CARS = np.array([(232, 232, 236), (60, 62, 70), (170, 44, 40), (64, 92, 150)], dtype=float)
_X = np.arange(CANVAS_SIZE, dtype=float)[None, :]
_Y = np.arange(CANVAS_SIZE, dtype=float)[:, None]
#: Shadows fall so far to the lower right, px.
_SHADOW = 3


def draw_tile(world: World) -> NDArray[np.uint8]:
    """The tile and its road mask: uint8 [2, 256, 256, 3]."""
    rng = generator("aerial tile", world.seed)
    off = _off_road(world)
    land, edge = _fields(rng, world)
    _draw_roads(land, rng, world, off)
    roofs = _draw_roofs(land, rng, world, off)
    _draw_cars(land, rng, world)
    trees = _trees(rng, world, off, edge, roofs)
    for tree in trees:
        _draw_tree(land, *tree)
    for channel in range(3):
        land[..., channel] = gaussian_filter(land[..., channel], 0.55)
    land += world.settings.noise * _cut(_grain(), rng)[..., None]
    mask = _draw_mask(land, rng, off, edge, trees)
    return np.rint(np.clip(np.stack([land, mask]), 0, 255)).astype(np.uint8)


def _cut(tile: Floats, rng: np.random.Generator) -> Floats:
    """A canvas cut from a tile at random."""
    x, y = rng.integers(0, _TILE - CANVAS_SIZE, size=2)
    return tile[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]


@lru_cache(maxsize=16)
def _smooth(sigma: float) -> Floats:
    """Smooth noise float [512, 512], standard deviation 1."""
    noise = generator("ground", str(sigma)).normal(size=(_TILE, _TILE))
    noise = gaussian_filter(noise, sigma, mode="wrap")
    return noise / noise.std()


@lru_cache(maxsize=1)
def _grain() -> Floats:
    return 0.7 * _smooth(0.7) + 0.5 * generator("camera").normal(size=(_TILE, _TILE))


def _mix(land: Floats, color: Floats, share: Floats) -> None:
    """Lay a colour [3] or [..., 3] over a window of the land, in place."""
    land += (color - land) * share[..., None]


def _off_road(world: World) -> Floats:
    """Distance to the nearest road's edge, px: float [256, 256], negative on roads, up to 40."""
    off = np.full((CANVAS_SIZE, CANVAS_SIZE), 40.0)
    for road in range(len(world.roads)):
        line, half = road_line(world, road), world.widths[road] / 2
        low = np.maximum(np.floor(line.min(axis=0)).astype(int) - 40, 0)
        high = np.minimum(np.ceil(line.max(axis=0)).astype(int) + 41, CANVAS_SIZE)
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        x, y = _X[:, window[1]], _Y[window[0]]
        for start, end in pairwise(line):
            along = end - start
            share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along)
            share = np.clip(share, 0, 1)
            dx, dy = x - start[0] - share * along[0], y - start[1] - share * along[1]
            np.minimum(off[window], np.sqrt(dx * dx + dy * dy) - half, out=off[window])
    return off


def _fields(rng: np.random.Generator, world: World) -> tuple[Floats, Floats]:
    """Parcels with crops in rows, hedges and tracks; and the share of track on each px."""
    count = int(rng.integers(9, 15))
    sites = rng.uniform(-30, CANVAS_SIZE + 30, size=(count, 2))
    tilt = rng.uniform(0, np.pi)
    squared = (_X[..., None] - sites[:, 0]) ** 2 + (_Y[..., None] - sites[:, 1]) ** 2
    two = np.argpartition(squared, 1, axis=-1)[..., :2]
    near, far = np.take_along_axis(squared, two, axis=-1).transpose(2, 0, 1)
    parcel, beside = two[..., 0], two[..., 1]
    apart = np.sqrt(((sites[parcel] - sites[beside]) ** 2).sum(axis=-1))
    gap = (far - near) / (2 * apart) + 0.8 * _cut(_smooth(6), rng)
    colors = _CROPS[rng.integers(0, len(_CROPS), count)] + rng.normal(0, 3.5, size=(count, 3))
    land = colors[parcel]
    land += _rows(rng, parcel, count, tilt)[..., None]
    ground = 4.5 * _cut(_smooth(1), rng) + 4 * _cut(_smooth(5), rng) + 5 * _cut(_smooth(24), rng)
    land += ground[..., None]
    pairs = rng.random((count, count))
    tracked = np.minimum(pairs, pairs.T)[parcel, beside] < 1 - np.sqrt(1 - world.settings.tracks)
    track = np.where(tracked, np.clip(2.4 - np.abs(gap), 0, 1), 0) * 0.8
    _mix(land, _HEDGE, np.where(tracked, 0, np.clip(1.8 - np.abs(gap), 0, 1)) * 0.7)
    _mix(land, _TRACK, track)
    return land, track


def _rows(rng: np.random.Generator, parcel: NDArray[np.int64], count: int, tilt: float) -> Floats:
    """Brightness of crop rows and of the tractor's lines, each parcel in its own direction."""
    angle = tilt + rng.choice([0, np.pi / 2], count) + rng.normal(0, 0.12, count)
    across = _X * np.cos(angle)[parcel] + _Y * np.sin(angle)[parcel]
    period, depth = rng.uniform(3.2, 6, count), rng.choice([0, 2.5, 5.5], count)
    rows = depth[parcel] * np.cos(2 * np.pi * across / period[parcel])
    spacing = rng.uniform(18, 30, count)
    lines = np.abs(np.mod(across, spacing[parcel]) - spacing[parcel] / 2) < 0.8
    return rows - np.where(lines & (depth > 0)[parcel], 10, 0)


def _draw_roads(land: Floats, rng: np.random.Generator, world: World, off: Floats) -> None:
    """Verges, asphalt with soft, ragged edges, and dashes along the middle of wide roads."""
    ragged = off + 0.55 * _cut(_smooth(2), rng)
    _mix(land, _VERGE, 0.6 * np.clip(2.6 - ragged, 0, 1))
    tone = 5 * _cut(_smooth(24), rng) + 3.5 * _cut(_smooth(1), rng) + rng.normal(0, 8)
    asphalt = _ASPHALT + tone[..., None] - 14 * np.clip(-off - 1.5, 0, 1)[..., None]
    contrast = world.settings.contrast
    _mix(land, asphalt, (0.45 + 0.55 * contrast) * np.clip(0.5 - ragged / 1.4, 0, 1))
    for road in np.flatnonzero(world.widths > 10):
        line = road_line(world, int(road), 121)
        clear = np.hypot(*(line[:, None] - world.nodes[None]).transpose(2, 0, 1)).min(axis=1) > 14
        dash = np.arange(121) * np.hypot(*(line[-1] - line[0])) / 120 % 11 < 5.5
        x, y = np.rint(line[clear & dash]).astype(int).T
        inside = (x >= 0) & (x < CANVAS_SIZE) & (y >= 0) & (y < CANVAS_SIZE)
        land[y[inside], x[inside]] += 0.6 * contrast * (_LINE - land[y[inside], x[inside]])


def _window(x: float, y: float, reach: int) -> tuple[slice, slice, Floats, Floats]:
    """The canvas around a point: slices, and px off the point (may be empty at the rim)."""
    rows = slice(max(0, int(y) - reach), max(0, min(CANVAS_SIZE, int(y) + reach + 1)))
    columns = slice(max(0, int(x) - reach), max(0, min(CANVAS_SIZE, int(x) + reach + 1)))
    return rows, columns, _X[:, columns] - x, _Y[rows] - y


def _draw_box(
    land: Floats, x: float, y: float, angle: float, sides: tuple[float, float], color: Floats
) -> None:
    """A gabled roof (or a car) with its shadow; half sides in px."""
    long, short = sides
    rows, columns, dx, dy = _window(x, y, int(long + short) + _SHADOW + 2)
    cos, sin = np.cos(angle), np.sin(angle)
    for shift in (min(_SHADOW, short / 2), 0.0):
        u = cos * (dx - shift) + sin * (dy - shift)
        v = cos * (dy - shift) - sin * (dx - shift)
        cover = np.clip(np.minimum(long - np.abs(u), short - np.abs(v)) + 0.5, 0, 1)
        if shift:
            land[rows, columns] *= (1 - 0.5 * cover)[..., None]
        else:
            sun = np.where(v * (cos - sin) > 0, 0.82, 1.1) + 0.05 * (np.abs(v) < 0.8)
            _mix(land[rows, columns], color * sun[..., None], cover)


def _draw_roofs(
    land: Floats, rng: np.random.Generator, world: World, off: Floats
) -> list[tuple[float, float]]:
    """Houses along the roads, gable or eaves to the street. Returns their places."""
    placed: list[tuple[float, float]] = []
    for _ in range(int(rng.integers(26, 60))):
        road = int(rng.integers(len(world.roads)))
        line = road_line(world, road)
        part = int(rng.integers(1, len(line) - 2))
        way = line[part + 1] - line[part]
        way = way / np.hypot(*way)
        sides = float(rng.uniform(6, 9.5)), float(rng.uniform(4, 5.8))
        side, reach = rng.choice([-1, 1]), world.widths[road] / 2 + rng.uniform(10, 16)
        x, y = line[part] + side * reach * np.array([-way[1], way[0]]) + rng.uniform(-3, 3) * way
        if not (6 < x < CANVAS_SIZE - 6 and 6 < y < CANVAS_SIZE - 6):
            continue
        near = any((x - a) ** 2 + (y - b) ** 2 < 19**2 for a, b in placed)
        if near or off[int(y), int(x)] < sides[0] + 1:
            continue
        rows, columns, dx, dy = _window(x, y, 16)
        yard = np.clip(14 - np.sqrt(dx * dx + dy * dy), 0, 1) * (off[rows, columns] > 2)
        _mix(land[rows, columns], _VERGE * 0.82 + rng.normal(0, 6), 0.45 * yard)
        angle = float(np.arctan2(way[1], way[0]) + rng.choice([0, np.pi / 2]))
        color = _ROOFS[rng.integers(len(_ROOFS))] + rng.normal(0, 7)
        _draw_box(land, float(x), float(y), angle, sides, color)
        placed.append((float(x), float(y)))
    return placed


def _draw_cars(land: Floats, rng: np.random.Generator, world: World) -> None:
    for _ in range(int(rng.integers(1, 6))):
        road = int(rng.integers(len(world.roads)))
        line = road_line(world, road)
        part = int(rng.integers(2, len(line) - 2))
        dx, dy = line[part + 1] - line[part]
        length = np.hypot(dx, dy)
        lane = rng.choice([-1, 1]) * 0.24 * world.widths[road]
        x, y = line[part] + lane * np.array([-dy, dx]) / length
        color = _CARS[rng.integers(len(_CARS))]
        _draw_box(land, float(x), float(y), float(np.arctan2(dy, dx)), (2.6, 1.3), color)


def _trees(
    rng: np.random.Generator,
    world: World,
    off: Floats,
    track: Floats,
    roofs: list[tuple[float, float]],
) -> list[tuple[float, float, float]]:
    """Crowns ``(x, y, radius)``: strewn and in copses off the roads, and some over roads."""
    copses = rng.uniform(0, CANVAS_SIZE, size=(4, 2))
    strewn = rng.uniform(0, CANVAS_SIZE, size=(38, 2))
    dense = (copses[:, None] + rng.normal(0, 15, size=(4, 16, 2))).reshape(-1, 2)
    trees = []
    for x, y in np.concatenate([strewn, dense]):
        radius = float(rng.uniform(3.5, 7.5))
        if not (0 <= x < CANVAS_SIZE and 0 <= y < CANVAS_SIZE):
            continue
        if off[int(y), int(x)] < radius or track[int(y), int(x)] > 0:
            continue
        if all((x - a) ** 2 + (y - b) ** 2 > (radius + 8) ** 2 for a, b in roofs):
            trees.append((float(x), float(y), radius))
    return trees + _over_roads(rng, world)


def _over_roads(rng: np.random.Generator, world: World) -> list[tuple[float, float, float]]:
    """Rows of crowns that hide part of a road, away from its ends."""
    trees = []
    for road in range(len(world.roads)):
        line = road_line(world, road, 33)
        for _ in range(int(rng.poisson(world.settings.cover))):
            start, side = int(rng.integers(8, 22)), rng.choice([-1, 1])
            for step in range(3):
                x, y = line[start + step] + side * rng.uniform(0, 3.5, size=2)
                trees.append((float(x), float(y), float(rng.uniform(4.5, 7))))
    return trees


def _draw_tree(land: Floats, x: float, y: float, radius: float) -> None:
    """A crown, lit from the upper left, with its shadow."""
    rows, columns, dx, dy = _window(x, y, int(radius) + _SHADOW + 2)
    far = np.sqrt((dx - _SHADOW) ** 2 + (dy - _SHADOW) ** 2)
    land[rows, columns] *= (1 - 0.42 * np.clip(radius - far + 0.5, 0, 1))[..., None]
    leaves = _smooth(1)[rows, columns]
    distance = np.sqrt(dx * dx + dy * dy) + 0.9 * leaves
    light = 1.0 - 0.5 * (dx + dy) / (1.6 * radius) + 0.13 * leaves
    _mix(land[rows, columns], _CROWN * light[..., None], np.clip(radius - distance + 0.4, 0, 1))


def _draw_mask(
    land: Floats,
    rng: np.random.Generator,
    off: Floats,
    track: Floats,
    trees: list[tuple[float, float, float]],
) -> Floats:
    """Where asphalt reflects, in amber over the darkened tile; weak under trees and on tracks."""
    share = np.clip(0.5 - off / 3, 0, 1)
    for x, y, radius in trees:
        rows, columns, dx, dy = _window(x, y, int(radius) + 1)
        share[rows, columns] *= 1 - 0.75 * np.clip(radius - np.sqrt(dx * dx + dy * dy), 0, 1)
    share = np.clip(share + 0.22 * track + 0.05 * _cut(_smooth(2), rng), 0, 1)
    dim = 0.26 * (land @ np.array([0.3, 0.59, 0.11]))
    return dim[..., None] * (1 - share[..., None]) + share[..., None] * np.array([255.0, 176, 64])
