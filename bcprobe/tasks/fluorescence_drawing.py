"""Two stains of one field of cells under a fluorescence microscope, with beads in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcprobe.rng import generator
from bcprobe.tasks.animals import grain, mottle

Pixels = NDArray[np.float64]
Points = NDArray[np.float64]
#: Outermost ring of a bead in px.
_BEAD = 9


@dataclass(frozen=True, eq=False)
class Field:
    """What lies in the field, in channel 1's px: ``cells`` float [cell, 5] (x, y, long and
    short radius, angle), ``beads`` [bead, 2] seen in both channels, ``debris`` [2 lists] of
    points [n, 2] seen in one channel each, in that channel's px; ``texture`` seeds what the
    cells look like inside."""

    cells: Points
    beads: Points
    debris: tuple[Points, Points]
    texture: int


def place_cells(rng: np.random.Generator) -> NDArray[np.float64]:
    """Cells float [20, 5]: x, y, long and short radius, angle; some lie beyond the canvas."""
    places = rng.uniform(-20, 256 + 20, (20, 2))
    sizes = rng.uniform(9, 17, (20, 1)) * np.array([1.0, 0.0]) + rng.uniform(7, 9, (20, 1))
    sizes = np.sort(sizes, axis=1)[:, ::-1]
    return np.concatenate([places, sizes / [1.35, 1.0], rng.uniform(0, np.pi, (20, 1))], axis=1)


def place_dirt(
    beads: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Points [count, 2] of bright dirt away from the beads."""
    kept: list[NDArray[np.float64]] = []
    while len(kept) < count:
        point = rng.uniform(20, 256 - 20, 2)
        if np.hypot(*(beads - point).T).min() >= 26:
            kept.append(point)
    return np.array(kept).reshape(-1, 2)


def draw_channel(
    field: Field, channel: int, cells: Points, beads: Points, noise: float
) -> NDArray[np.uint8]:
    """Grey image uint8 [256, 256] of channel 0 (nuclei) or 1 (membranes).

    ``cells`` and ``beads`` are where the channel shows them; ``noise`` is in grey levels.
    """
    rng = generator("stain", field.texture)
    brightness = rng.uniform(0.55, 1.0, (len(cells), 2))
    seeds = rng.integers(0, 256, (len(cells), 2))
    offset = int(seeds[0, 0]), int(seeds[0, 1])
    canvas = 13.0 + 4.0 * mottle(offset)
    draw = _draw_nucleus if channel == 0 else _draw_membrane
    for cell, light, seed in zip(cells, brightness[:, channel], seeds, strict=True):
        draw(canvas, cell, 120 * light, (int(seed[0]), int(seed[1])))
    for x, y in field.debris[channel]:
        _add_spot(canvas, float(x), float(y), 200.0, 2.0, streak=5.0)
    for x, y in beads:
        _add_spot(canvas, float(x), float(y), 235.0, 2.3)
    signal = np.clip(canvas, 0, 255)
    shot = grain((offset[1], (offset[0] + 91 * channel) % 256))
    return np.rint(np.clip(signal + noise * np.sqrt(0.25 + signal / 110) * shot, 0, 255)).astype(
        np.uint8
    )


def _window(x: float, y: float, reach: float) -> tuple[slice, slice, Pixels, Pixels]:
    x0, x1 = max(0, int(x - reach)), min(256, int(x + reach) + 2)
    y0, y1 = max(0, int(y - reach)), min(256, int(y + reach) + 2)
    dx = np.arange(x0, max(x0, x1), dtype=float)[None, :] - x
    dy = np.arange(y0, max(y0, y1), dtype=float)[:, None] - y
    return slice(y0, max(y0, y1)), slice(x0, max(x0, x1)), dx, dy


def _radius(cell: Points, dx: Pixels, dy: Pixels) -> Pixels:
    """Distance from the middle of a cell in units of its radius."""
    cos, sin = np.cos(cell[4]), np.sin(cell[4])
    return np.hypot((cos * dx + sin * dy) / cell[2], (cos * dy - sin * dx) / cell[3])


def _draw_nucleus(canvas: Pixels, cell: Points, light: float, seed: tuple[int, int]) -> None:
    rows, columns, dx, dy = _window(float(cell[0]), float(cell[1]), float(cell[2]) + 4)
    inside = np.clip((1 - _radius(cell, dx, dy)) * float(cell[3]) / 2.4 + 0.5, 0, 1)
    chromatin = 1 + 0.22 * mottle(seed)[: inside.shape[0], : inside.shape[1]]
    canvas[rows, columns] += light * inside * chromatin


def _draw_membrane(canvas: Pixels, cell: Points, light: float, seed: tuple[int, int]) -> None:
    wide = cell.copy()
    wide[2:4] = cell[2:4] * 1.35 + 1.5
    rows, columns, dx, dy = _window(float(cell[0]), float(cell[1]), float(wide[2]) + 6)
    off = (_radius(wide, dx, dy) - 1) * float(wide[3])
    patchy = 1 + 0.3 * mottle(seed)[: off.shape[0], : off.shape[1]]
    rim = np.exp(-0.5 * (off / 1.9) ** 2)
    body = np.clip(-off / 3, 0, 1)
    canvas[rows, columns] += light * (0.95 * rim * patchy + 0.2 * body)


def _add_spot(
    canvas: Pixels, x: float, y: float, light: float, sigma: float, streak: float = 0.0
) -> None:
    """A bead with its diffraction ring or, with ``streak`` px, a smear of dirt."""
    rows, columns, dx, dy = _window(x, y, _BEAD + streak)
    r = np.hypot(dx, dy)
    if streak:
        along = np.clip(dx * 0.8 + dy * 0.6, -streak, streak)
        r = np.hypot(dx - 0.8 * along, dy - 0.6 * along)
    spot = np.exp(-0.5 * (r / sigma) ** 2)
    ring = 0.0 if streak else 0.22 * np.exp(-0.5 * ((r - 6.5) / 1.0) ** 2)
    canvas[rows, columns] += light * (spot + ring)
