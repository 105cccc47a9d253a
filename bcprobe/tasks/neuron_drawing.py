"""Thin sections of neural tissue as a transmission electron microscope shows them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bcprobe.rng import generator
from bcprobe.tasks.neuron_tissue import GAP_UNIT, GRID, Tissue
from bcprobe.types import CANVAS_SIZE

Bytes = NDArray[np.uint8]
#: Grey levels of cytoplasm, of a membrane cut across, and of the matrix of a mitochondrion.
_CYTOPLASM, _MEMBRANE, _MATRIX = 152, 56, 98
_TILE = 2 * CANVAS_SIZE
#: Vesicles lie so far apart, px.
_APART = 5


@dataclass(frozen=True)
class Mitochondrion:
    """An ellipsoid in a fibre: place (px off the fibre's centre), half axes px, depth in sections.

    ``angle`` and ``cristae`` (the angle and distance of its folds) in rad and px.
    """

    fibre: int
    x: float
    y: float
    long: float
    short: float
    angle: float
    middle: float
    depth: float
    cristae: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Stain:
    """Everything about the look of a stack that is not the shape of its cells.

    ``tones`` int [cell] grey levels off the mean; ``clusters`` are fibres full of vesicles;
    ``offsets`` int [section, 2, 2] say where grain and texture are cut from their tiles;
    ``exposure`` int [section] grey levels; ``seed`` scatters the vesicles.
    """

    tones: NDArray[np.int16]
    mitochondria: tuple[Mitochondrion, ...]
    clusters: tuple[int, ...]
    offsets: NDArray[np.int64]
    exposure: NDArray[np.int64]
    shade: tuple[int, int]
    noise: float
    contrast: float
    seed: int


def stain_tissue(rng: np.random.Generator, tissue: Tissue, noise: float, contrast: float) -> Stain:
    """Organelles and staining at random.

    ``noise`` is the standard deviation of the grain in grey levels, ``contrast`` how dark the
    membranes are (1: as dark as can be).
    """
    sections, fibres = tissue.radii.shape
    roomy = np.flatnonzero(tissue.radii.mean(axis=0) > 10.5)
    hosts = roomy[rng.random(len(roomy)) < 0.5]
    return Stain(
        tones=np.rint(rng.normal(0, 7, size=fibres + 1)).astype(np.int16),
        mitochondria=tuple(_mitochondrion(rng, tissue, int(host)) for host in hosts),
        clusters=tuple(int(fibre) for fibre in roomy[rng.random(len(roomy)) < 0.22]),
        offsets=rng.integers(0, _TILE - CANVAS_SIZE, size=(sections, 2, 2)),
        exposure=np.rint(rng.normal(0, 4, size=sections)).astype(np.int64),
        shade=(int(rng.integers(_TILE - CANVAS_SIZE)), int(rng.integers(_TILE - CANVAS_SIZE))),
        noise=noise,
        contrast=contrast,
        seed=int(rng.integers(2**31)),
    )


def _mitochondrion(rng: np.random.Generator, tissue: Tissue, fibre: int) -> Mitochondrion:
    radius = float(tissue.radii[:, fibre].mean())
    short = min(rng.uniform(5.5, 9.5), 0.52 * radius)
    way, off = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.45) * radius
    return Mitochondrion(
        fibre=fibre,
        x=float(off * np.cos(way)),
        y=float(off * np.sin(way)),
        long=float(short * rng.uniform(1.0, 1.7)),
        short=float(short),
        angle=float(rng.uniform(0, np.pi)),
        middle=float(rng.uniform(-2, len(tissue.radii) + 2)),
        depth=float(rng.uniform(4, 9)),
        cristae=(float(rng.uniform(0, np.pi)), float(rng.uniform(2.6, 3.8))),
    )


def draw_sections(tissue: Tissue, stain: Stain, cells: NDArray[np.integer], gap: Bytes) -> Bytes:
    """Every section of a stack: uint8 [section, 256, 256, 3], grey."""
    images = np.empty((len(cells), CANVAS_SIZE, CANVAS_SIZE, 3), dtype=np.uint8)
    membranes = _membrane_table(stain.contrast)
    grain = _grain_tile(round(stain.noise * 4))
    for z in range(len(cells)):
        wide = _enlarge(gap[z])
        grey = _cytoplasm(stain, cells[z], z)
        _draw_vesicles(grey, tissue, stain, cells[z], gap[z], z)
        for body in stain.mitochondria:
            _draw_mitochondrion(grey, tissue, body, cells[z], wide, z)
        (x, y), (u, v) = stain.offsets[z]
        thick = _thickness_tile()[v : v + CANVAS_SIZE, u : u + CANVAS_SIZE]
        dark = membranes.take(thick + wide)
        grey -= ((grey - _MEMBRANE) * dark) >> 8
        grey += grain[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]
        np.clip(grey, 0, 255, out=grey)
        images[z] = grey.astype(np.uint8)[..., None]
    return images


def _cytoplasm(stain: Stain, cells: NDArray[np.integer], z: int) -> NDArray[np.int16]:
    """Grey of the cells' insides: tone, fine texture and uneven beam, int16 [256, 256]."""
    (_, y), (u, _) = stain.offsets[z]
    tone = (stain.tones + np.int16(_CYTOPLASM + stain.exposure[z]))[cells]
    grey = np.repeat(np.repeat(tone, 2, axis=0), 2, axis=1)
    grey += _texture_tile()[u : u + CANVAS_SIZE, y : y + CANVAS_SIZE]
    i, j = stain.shade
    grey += _shade_tile()[i : i + CANVAS_SIZE, j : j + CANVAS_SIZE]
    return grey


def _enlarge(gap: Bytes) -> Bytes:
    """Distances to the membrane on every px, rounded off at corners: uint8 [256, 256]."""
    grid = gap.astype(np.uint16)
    soft = (_with_neighbours(grid, 2, 0) + _with_neighbours(grid, 2, 1)) >> 3
    rows = np.empty((2 * GRID, GRID), dtype=np.uint16)
    rows[0::2] = rows[1::2] = 3 * soft
    rows[2::2] += soft[:-1]
    rows[1:-1:2] += soft[1:]
    rows[[0, -1]] += soft[[0, -1]]
    wide = np.empty((2 * GRID, 2 * GRID), dtype=np.uint16)
    wide[:, 0::2] = wide[:, 1::2] = 3 * rows
    wide[:, 2::2] += rows[:, :-1]
    wide[:, 1:-1:2] += rows[:, 1:]
    wide[:, [0, -1]] += rows[:, [0, -1]]
    return (wide >> 4).astype(np.uint8)


def _with_neighbours(grid: NDArray[np.uint16], weight: int, axis: int) -> NDArray[np.uint16]:
    """Each value ``weight`` times, with its two neighbours along an axis."""
    flat = np.swapaxes(grid, 0, axis)
    out = weight * flat
    out[1:] += flat[:-1]
    out[:-1] += flat[1:]
    out[[0, -1]] += flat[[0, -1]]
    return np.swapaxes(out, 0, axis)


@lru_cache(maxsize=8)
def _membrane_table(contrast: float) -> NDArray[np.int16]:
    """How dark it is (0-256) by the membrane's thickness (0-15) and distance (1/8 px)."""
    distance = np.arange(256)[None, :] / GAP_UNIT
    reach = np.linspace(1.1, 2.9, 16)[:, None]
    strength = contrast * np.linspace(1.0, 0.72, 16)[:, None]
    edge = np.maximum(distance - 0.5, 0) / reach
    return np.rint(256 * strength * np.exp(-(edge**2))).astype(np.int16)


@lru_cache(maxsize=1)
def _thickness_tile() -> NDArray[np.uint16]:
    """How thick (obliquely cut) membranes are, 256 times 0-15: uint16 [512, 512]."""
    noise = gaussian_filter(generator("membranes").normal(size=(_TILE, _TILE)), 9, mode="wrap")
    return 256 * np.clip(np.rint(3.6 + 3.4 * noise / noise.std()), 0, 15).astype(np.uint16)


@lru_cache(maxsize=1)
def _texture_tile() -> NDArray[np.int16]:
    """Cytoplasm: ribosomes, tubules and reticulum, int16 [512, 512] grey levels."""
    rng = generator("cytoplasm")
    soft = [gaussian_filter(rng.normal(size=(_TILE, _TILE)), s, mode="wrap") for s in (1.3, 3.5)]
    specks = gaussian_filter((rng.random((_TILE, _TILE)) < 0.010).astype(float), 0.9, mode="wrap")
    grey = 5.5 * soft[0] / soft[0].std() + 3 * soft[1] / soft[1].std() - 190 * specks + 2
    return np.rint(grey).astype(np.int16)


@lru_cache(maxsize=1)
def _shade_tile() -> NDArray[np.int16]:
    """Uneven staining: int16 [512, 512] grey levels."""
    noise = gaussian_filter(generator("shade").normal(size=(_TILE, _TILE)), 45, mode="wrap")
    return np.rint(6 * noise / noise.std()).astype(np.int16)


@lru_cache(maxsize=8)
def _grain_tile(quarters: int) -> NDArray[np.int16]:
    """Grain with a standard deviation of so many quarter grey levels: int16 [512, 512]."""
    rng = generator("electrons")
    blurred = gaussian_filter(rng.normal(size=(_TILE, _TILE)), 0.6, mode="wrap")
    grain = 0.75 * blurred / blurred.std() + 0.66 * rng.normal(size=(_TILE, _TILE))
    return np.rint(grain * quarters / 4).astype(np.int16)


@lru_cache(maxsize=1)
def _vesicle() -> NDArray[np.int16]:
    """What a vesicle adds: a dark rim about a clear middle, int16 [7, 7] grey levels."""
    axis = np.arange(-3, 4)
    radius = np.hypot(axis[None], axis[:, None])
    rim, clear = np.exp(-(((radius - 2.0) / 0.75) ** 2)), np.exp(-((radius / 1.1) ** 2))
    return np.rint(-34 * rim + 16 * clear).astype(np.int16)


def _draw_vesicles(
    grey: NDArray[np.int16],
    tissue: Tissue,
    stain: Stain,
    cells: NDArray[np.integer],
    gap: Bytes,
    z: int,
) -> None:
    """Vesicles crowd about the middle of their fibre, apart, clear of its membrane."""
    if not stain.clusters:
        return
    rng, fibres = generator("vesicles", stain.seed, z), np.array(stain.clusters)
    radii = tissue.radii[z, fibres]
    crowd = np.repeat(np.arange(len(fibres)), (0.9 * radii).astype(np.int64))
    spots = rng.normal(0, 0.45, size=(len(crowd), 2)) * radii[crowd, None]
    spots = np.rint((spots + tissue.centres[z, fibres[crowd]]) / _APART).astype(np.int64)
    spots = np.unique(spots[:, 1] * _TILE + spots[:, 0])
    places = np.stack([spots % _TILE, spots // _TILE], axis=1) * _APART
    places += rng.integers(-1, 2, size=places.shape)
    places = places[((places >= 4) & (places < CANVAS_SIZE - 4)).all(axis=1)]
    nodes = places[:, 1] // 2, places[:, 0] // 2
    room = np.isin(cells[nodes], tissue.owner[fibres]) & (gap[nodes] > 3 * GAP_UNIT)
    for x, y in places[room].tolist():
        grey[y - 3 : y + 4, x - 3 : x + 4] += _vesicle()


def _draw_mitochondrion(
    grey: NDArray[np.int16],
    tissue: Tissue,
    body: Mitochondrion,
    cells: NDArray[np.integer],
    gap: Bytes,
    z: int,
) -> None:
    """A dark body with a double membrane and folds, as far as its cell has room for it."""
    share = 1 - ((z - body.middle) / body.depth) ** 2
    if share <= 0.1:
        return
    x, y = (float(c) for c in tissue.centres[z, body.fibre] + (body.x, body.y))
    long, short = body.long * share**0.4, body.short * share**0.4
    reach = int(long) + 3
    x0, x1 = max(0, int(x) - reach), min(CANVAS_SIZE, int(x) + reach + 1)
    y0, y1 = max(0, int(y) - reach), min(CANVAS_SIZE, int(y) + reach + 1)
    if x0 >= x1 or y0 >= y1:
        return
    dx, dy = np.arange(x0, x1)[None, :] - x, np.arange(y0, y1)[:, None] - y
    cos, sin = np.cos(body.angle), np.sin(body.angle)
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    ellipse = np.sqrt((along / long) ** 2 + (across / short) ** 2)
    window = (slice(y0, y1), slice(x0, x1))
    nodes = np.ix_(np.arange(y0, y1) // 2, np.arange(x0, x1) // 2)
    own = cells[nodes] == tissue.owner[body.fibre]
    room = gap[window] / GAP_UNIT - 2.2
    depth = np.where(own, np.minimum((1 - ellipse) * short, room), -9.0)
    way, apart = body.cristae
    fold = np.cos(2 * np.pi * (dx * np.cos(way) + dy * np.sin(way)) / apart + 0.25 * along)
    inner = _MATRIX - 16 * fold - 46 * np.exp(-(((depth - 0.7) / 0.8) ** 2))
    cover = np.clip(depth + 0.9, 0, 1)
    under = grey[window]
    grey[window] = np.rint(under + cover * (inner - under)).astype(np.int16)
