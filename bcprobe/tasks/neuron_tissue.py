"""Neural tissue cut into thin sections: packed cells that drift, swell and shrink with depth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bcprobe.rng import generator
from bcprobe.types import CANVAS_SIZE

Floats = NDArray[np.float32]
#: Cells are computed on a grid of this side (one node per 2 x 2 px).
GRID = CANVAS_SIZE // 2
#: Distances to the membrane are stored in 1/8 px, up to 31 px.
GAP_UNIT = 8
#: Cells fill the canvas and so much around it, px.
_RIM = 52
#: Nodes share their candidate fibres in blocks of this side, sections in groups so long.
_BLOCK, _GROUP, _CANDIDATES, _QUARTER = 4, 4, 7, 4
_WARP_TILE = 2 * GRID


@dataclass(frozen=True, eq=False)
class Tissue:
    """Cells as bundles of fibres: ``centres`` float [section, fibre, 2] px, ``radii`` px.

    ``owner`` int [fibre] says which cell (from 1) a fibre belongs to; ``warp`` int [2, 2]
    where the bending of first and last section is cut from its tile.
    """

    centres: Floats
    radii: Floats
    owner: NDArray[np.int64]
    warp: NDArray[np.int64]


def grow_tissue(
    rng: np.random.Generator, sections: int, size: float, drift: float, swell: float
) -> Tissue:
    """Tissue at random.

    ``size`` scales the cells' radii, ``drift`` (px) how far they wander from the first section
    to the last, ``swell`` (share) how much they swell and shrink.
    """
    places, radii = _pack(rng, size)
    owner = _merge(rng, places, radii)
    leader = np.array([np.flatnonzero(owner == cell)[0] for cell in owner])
    z = np.arange(sections) / max(1, sections - 1)
    common = _wander(rng, z, np.full(1, 0.7 * drift))
    own = _wander(rng, z, 0.12 * drift + 0.12 * radii)[:, leader]
    strain = rng.normal(0, 0.0016 * drift, size=(2, 2))
    sheared = z[:, None, None] * ((places - CANVAS_SIZE / 2) @ strain)
    pace, phase = rng.uniform(0.5, 1.8, len(radii)), rng.uniform(0, 1, len(radii))
    beat = np.sin(2 * np.pi * (z[:, None] * pace + phase))
    return Tissue(
        centres=_rounded(places + common + own + sheared),
        radii=_rounded(radii * (1 + swell * beat)),
        owner=owner,
        warp=rng.integers(0, _WARP_TILE - GRID, size=(2, 2)),
    )


def _rounded(values: NDArray[np.float64]) -> Floats:
    """Values in whole 1/64 px, so that no machine's last bit shows."""
    return (np.rint(values * 64) / 64).astype(np.float32)


def _wander(
    rng: np.random.Generator, z: NDArray[np.float64], reach: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Smooth ways [section, fibre, 2] that start at 0 and lead about ``reach`` px away."""
    shape = (len(reach), 2)
    slow, fast = rng.uniform(0.2, 0.5, size=shape), rng.uniform(0.8, 1.6, size=shape)
    start, begin = rng.uniform(0, 2 * np.pi, size=(2, *shape))
    t = 2 * np.pi * z[:, None, None]
    wave = np.sin(fast * t + begin) - np.sin(begin)
    return reach[:, None] * (np.sin(slow * t + start) - np.sin(start) + 0.3 * wave)


def _pack(rng: np.random.Generator, size: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres [fibre, 2] and radii [fibre] of circles thrown until they fill the field."""
    tries = ((40, 24.0, 34.0), (170, 13.0, 20.0), (420, 6.5, 12.0))
    sizes = size * np.concatenate([rng.uniform(a, b, size=count) for count, a, b in tries])
    throws = rng.uniform(-_RIM, CANVAS_SIZE + _RIM, size=(len(sizes), 2))
    x, y = np.ascontiguousarray(throws.T)
    free = np.ones(len(sizes), dtype=bool)
    kept = []
    for index in range(len(sizes)):
        if free[index]:
            kept.append(index)
            dx, dy = x - x[index], y - y[index]
            free &= dx * dx + dy * dy > (0.86 * (sizes + sizes[index])) ** 2
    return throws[kept], sizes[kept]


def _merge(
    rng: np.random.Generator, places: NDArray[np.float64], radii: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Cell of each fibre: a third of them grow together with their nearest neighbour."""
    owner = np.arange(1, len(radii) + 1)
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) - radii
    np.fill_diagonal(apart, np.inf)
    for fibre in np.flatnonzero(rng.random(len(radii)) < 0.33):
        other = int(apart[fibre].argmin())
        if (owner == owner[fibre]).sum() == 1 and (owner == owner[other]).sum() < 3:
            owner[fibre] = owner[other]
    return owner


def section_cells(tissue: Tissue) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cell of each node and its distance to the nearest membrane.

    Both uint8 [section, 128, 128]; the distance in 1/8 px.
    """
    sections = len(tissue.centres)
    cells = np.empty((sections, GRID, GRID), dtype=np.uint8)
    gap = np.empty_like(cells)
    for first in range(0, sections, _GROUP):
        group = slice(first, min(sections, first + _GROUP))
        cells[group], gap[group] = _group_cells(tissue, group)
    return cells, gap


def _group_cells(tissue: Tissue, group: slice) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    nodes = _nodes(tissue, group)  # (2, section, block, node)
    centres, radii = tissue.centres[group], tissue.radii[group]
    middle = len(centres) // 2
    near = _candidates(nodes[:, middle].mean(axis=-1), centres[middle], radii[middle])
    owners = tissue.owner.astype(np.uint8)[near]
    parts = [
        _section_cells(nodes[:, z], centres[z][near], radii[z][near], owners)
        for z in range(len(centres))
    ]
    cells, gap = (np.stack(part) for part in zip(*parts, strict=True))
    return _unblock(cells), _unblock(gap)


def _section_cells(
    nodes: Floats, centres: Floats, radii: Floats, owners: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cell and gap of nodes [2, block, node], given each block's candidate fibres."""
    x, y = nodes
    far = np.float32(1e6)
    best, second = np.full_like(x, far), np.full_like(x, far)
    distance, down, loser = (np.empty_like(x) for _ in range(3))
    cell = np.zeros(x.shape, dtype=np.uint8)
    for place in range(centres.shape[1]):
        np.subtract(x, centres[:, place, :1], out=distance)
        np.subtract(y, centres[:, place, 1:], out=down)
        distance *= distance
        down *= down
        distance += down
        np.sqrt(distance, out=distance)
        distance -= radii[:, place, None]
        owner = owners[:, place, None]
        np.maximum(distance, best, out=loser)
        np.minimum(second, np.where(cell == owner, far, loser), out=second)
        cell = np.where(distance < best, owner, cell)
        np.minimum(distance, best, out=best)
    gap = np.minimum((second - best) * (GAP_UNIT / 2), 255)
    return cell, gap.astype(np.uint8)


def _candidates(middles: Floats, centres: Floats, radii: Floats) -> NDArray[np.int64]:
    """The fibres nearest to each block: int [block, candidate], sought among those of a quarter
    so wide as `_QUARTER` blocks.
    """
    side = GRID // _BLOCK
    wide = side // _QUARTER
    split = middles.reshape(2, wide, _QUARTER, wide, _QUARTER)
    coarse = split.mean(axis=(2, 4)).reshape(2, -1)
    some = _nearest(coarse, centres[None], radii[None], 4 * _CANDIDATES)
    spread = some.reshape(wide, 1, wide, 1, -1)
    spread = np.broadcast_to(spread, (wide, _QUARTER, wide, _QUARTER, some.shape[1]))
    few = spread.reshape(side * side, -1)
    own = _nearest(middles, centres[few], radii[few], _CANDIDATES)
    return np.sort(np.take_along_axis(few, own, axis=1), axis=1)


def _nearest(places: Floats, centres: Floats, radii: Floats, count: int) -> NDArray[np.int64]:
    """Which ``count`` of each row of fibres lie nearest to the row's place."""
    dx, dy = places[0][:, None] - centres[..., 0], places[1][:, None] - centres[..., 1]
    distance = np.sqrt(dx * dx + dy * dy) - radii
    return np.argpartition(distance, count, axis=1)[:, :count]


def _nodes(tissue: Tissue, group: slice) -> Floats:
    """Bent places of the nodes: float [2, section, block, node], px."""
    tile, last = _warp_tile(), max(1, len(tissue.centres) - 1)
    first, final = (tile[:, y : y + GRID, x : x + GRID] for x, y in tissue.warp)
    share = (np.arange(group.start, group.stop) / last).astype(np.float32)[None, :, None, None]
    axis = np.arange(GRID, dtype=np.float32) * 2 + np.float32(0.5)
    straight = np.stack(np.broadcast_arrays(axis[None, :], axis[:, None]))[:, None]
    return _block(straight + first[:, None] * (1 - share) + final[:, None] * share)


def _block(nodes: Floats) -> Floats:
    lead, side = nodes.shape[:2], GRID // _BLOCK
    cut = nodes.reshape(*lead, side, _BLOCK, side, _BLOCK).swapaxes(-3, -2)
    return np.ascontiguousarray(cut.reshape(*lead, side * side, _BLOCK * _BLOCK))


def _unblock(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = GRID // _BLOCK
    cut = values.reshape(len(values), side, side, _BLOCK, _BLOCK).swapaxes(-3, -2)
    return cut.reshape(len(values), GRID, GRID)


@lru_cache(maxsize=1)
def _warp_tile() -> Floats:
    """Bending of the membranes: float [2, 256, 256] px, coarse folds and fine ruffles."""
    rng = generator("membrane folds")
    tile = np.zeros((2, _WARP_TILE, _WARP_TILE))
    for sigma, reach in ((14, 5.0), (4, 1.6), (2, 0.7)):
        noise = rng.normal(size=tile.shape)
        for axis in range(2):
            smooth = gaussian_filter(noise[axis], sigma, mode="wrap")
            tile[axis] += reach * smooth / smooth.std()
    return _rounded(tile)
