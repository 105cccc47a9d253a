"""How a movie of dividing cells looks through a microscope."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.rng import generator
from bcprobe.tasks.cell_movies import Cell, Pose, World
from bcprobe.types import CANVAS_SIZE

Grey = NDArray[np.float32]
_TILE = 2 * CANVAS_SIZE
#: Grey levels: ground, body, nucleus, condensed chromosomes (fluorescence).
_DARK, _BODY, _NUCLEUS, _CHROMATIN = 22.0, 34.0, 78.0, 135.0
#: Grey level of the ground in phase contrast.
_MID = 122.0


def draw_movie(world: World) -> NDArray[np.uint8]:
    """All frames of a movie: uint8 [frames, 256, 256, 3], grey."""
    images = np.empty((world.frames, CANVAS_SIZE, CANVAS_SIZE, 3), dtype=np.uint8)
    for frame in range(world.frames):
        images[frame] = _draw_frame(world, frame)[..., None]
    return images


def _draw_frame(world: World, frame: int) -> NDArray[np.uint8]:
    glow = world.modality == "fluorescence"
    shade = _smooth_tile(40)[:CANVAS_SIZE, :CANVAS_SIZE]
    grey = _DARK + 6 * shade if glow else _MID + 9 * shade
    for piece in world.debris:
        _draw_debris(grey, piece, frame, glow)
    for cell in world.cells:
        age = frame - cell.birth
        if 0 <= age < len(cell.poses):
            (_draw_glowing if glow else _draw_phase)(grey, cell, cell.poses[age], world)
    x, y = world.offsets[frame]
    grain = _grain()[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]
    spread = world.settings.noise * np.sqrt(np.maximum(grey, 4) / 90)
    return np.rint(np.clip(grey + spread * grain, 0, 255)).astype(np.uint8)


class _Window:
    """The part of a frame around a cell, in the cell's own axes.

    ``u`` and ``v`` are px along and across; ``rho`` is 1 on the outline.
    """

    def __init__(self, cell: Cell, pose: Pose) -> None:
        reach = int(1.75 * max(pose.long, pose.short)) + 3
        cx, cy = int(pose.x), int(pose.y)
        x0, x1 = max(0, cx - reach), min(CANVAS_SIZE, cx + reach + 1)
        y0, y1 = max(0, cy - reach), min(CANVAS_SIZE, cy + reach + 1)
        self.at = (slice(y0, y1), slice(x0, x1))
        tx, ty = cell.texture[0] - cx, cell.texture[1] - cy
        self.texture = _smooth_tile(2)[ty + y0 : ty + y1, tx + x0 : tx + x1]
        dx = (np.arange(x0, x1) - pose.x).astype(np.float32)[None, :]
        dy = (np.arange(y0, y1) - pose.y).astype(np.float32)[:, None]
        cos, sin = np.float32(np.cos(pose.angle)), np.float32(np.sin(pose.angle))
        self.u: Grey = (cos * dx + sin * dy).astype(np.float32)
        self.v: Grey = (cos * dy - sin * dx).astype(np.float32)
        self.rho = _outline(
            cell, pose, self.u / np.float32(pose.long), self.v / np.float32(pose.short)
        )

    def inside(self, reach: float, softness: float) -> Grey:
        """1 inside ``reach`` times the outline, 0 outside, with an edge so soft (in rho)."""
        return 1 / (1 + np.exp(np.clip((self.rho - reach) / softness, -30, 30)))

    def rim(self, reach: float, width: float) -> Grey:
        """A soft rim at ``reach`` times the outline."""
        return np.exp(-(((self.rho - reach) / width) ** 2))

    def spot(self, u: float, v: float, long: float, short: float) -> Grey:
        """A soft spot at (u, v) px."""
        return np.exp(-(((self.u - u) / long) ** 2 + ((self.v - v) / short) ** 2))


def _outline(cell: Cell, pose: Pose, a: Grey, b: Grey) -> Grey:
    """Distance from the centre, 1 on the outline: wavy, and pinched while it divides."""
    if pose.stage == "anaphase":
        b = b / (1 - 0.42 * np.exp(-((a / 0.3) ** 2)))
    square = a * a + b * b
    if pose.stage != "interphase":
        return np.sqrt(square)
    two, three, phase_two, phase_three = cell.outline
    even = (a * a - b * b) / (square + 1e-6)
    odd = 2 * a * b / (square + 1e-6)
    wave = two * (np.cos(phase_two) * even + np.sin(phase_two) * odd)
    lobe = three * np.cos(phase_three) * (a * even - b * odd) / np.sqrt(square + 1e-6)
    return np.sqrt(square) / (1 + wave + lobe)


def _draw_glowing(grey: Grey, cell: Cell, pose: Pose, world: World) -> None:
    """A cell with a faint body and a bright nucleus, or condensed chromosomes."""
    window, soft = _Window(cell, pose), 0.8 * world.settings.blur / pose.short
    body = _BODY * (1 + 0.25 * window.texture) * window.inside(1.0, soft)
    if pose.stage == "interphase":
        core = window.inside(0.56, 0.75 * soft)
        nucleoli = 0.35 * _nucleoli(window, cell, pose)
        light = body + _NUCLEUS * core * (1 + 0.3 * window.texture - nucleoli)
    else:
        light = 1.35 * body + _CHROMATIN * _chromosomes(window, pose)
    grey[window.at] += np.float32(cell.tone) * light


def _draw_phase(grey: Grey, cell: Cell, pose: Pose, world: World) -> None:
    """A grey body with a dark rim and a bright halo; a dividing one shines."""
    window, soft = _Window(cell, pose), 0.7 * world.settings.blur / pose.short
    body, shine = window.inside(1.0, soft), 1.0 if pose.stage == "interphase" else 2.0
    light = 30 * shine * window.rim(1.13, 0.11) - 34 * window.rim(0.93, 0.1)
    if pose.stage == "interphase":
        light -= body * (16 + 15 * window.texture)
        light += 16 * window.inside(0.5, soft) - 14 * window.rim(0.52, 0.07)
        light -= 38 * _nucleoli(window, cell, pose)
    else:
        light += body * (26 + 8 * window.texture) - 80 * _chromosomes(window, pose)
    grey[window.at] += np.float32(cell.tone) * light


def _nucleoli(window: _Window, cell: Cell, pose: Pose) -> Grey:
    """Two small round spots in the nucleus."""
    turn, size = cell.outline[2], 0.13 * pose.short
    u, v = 0.24 * pose.long * np.cos(turn), 0.24 * pose.short * np.sin(turn)
    return window.spot(u, v, size, size) + window.spot(-0.8 * u, -v, 0.8 * size, 0.8 * size)


def _chromosomes(window: _Window, pose: Pose) -> Grey:
    """A plate, two parting plates, or the compact nucleus of a newborn."""
    thick, wide = 0.2 * pose.long, 0.52 * pose.short
    if pose.stage == "newborn":
        return 0.85 * window.spot(0, 0, 0.42 * pose.long, 0.46 * pose.short)
    if pose.stage == "metaphase":
        return window.spot(0, 0, thick, 1.1 * wide)
    apart = 0.47 * pose.long
    return window.spot(apart, 0, thick, wide) + window.spot(-apart, 0, thick, wide)


def _draw_debris(grey: Grey, piece: NDArray[np.float64], frame: int, glow: bool) -> None:
    """A speck that drifts: bright in fluorescence, dark with a halo in phase contrast."""
    x, y, dx, dy, radius, strength = (float(v) for v in piece)
    x, y, reach = x + frame * dx, y + frame * dy, int(3 * radius) + 3
    x0, x1 = max(0, int(x) - reach), min(CANVAS_SIZE, int(x) + reach + 1)
    y0, y1 = max(0, int(y) - reach), min(CANVAS_SIZE, int(y) + reach + 1)
    if x0 >= x1 or y0 >= y1:
        return
    square = (np.arange(x0, x1)[None, :] - x) ** 2 + (np.arange(y0, y1)[:, None] - y) ** 2
    core = np.exp(-square / radius**2)
    halo = np.exp(-((np.sqrt(square) - 1.9 * radius) ** 2) / (0.4 * radius**2))
    grey[y0:y1, x0:x1] += strength * (95 * core if glow else 42 * halo - 95 * core)


@lru_cache(maxsize=1)
def _grain() -> Grey:
    """Camera noise float32 [512, 512], standard deviation 1."""
    return generator("cell movie grain").normal(size=(_TILE, _TILE)).astype(np.float32)


@lru_cache(maxsize=4)
def _smooth_tile(scale: int) -> Grey:
    """Blotches of about ``scale`` px, float32 [512, 512], standard deviation 1."""
    rough = generator("cell movie blotches", scale).normal(size=(_TILE, _TILE))
    frequency = np.fft.fftfreq(_TILE)
    square = frequency[:, None] ** 2 + frequency[None, :] ** 2
    smooth = np.fft.ifft2(np.fft.fft2(rough) * np.exp(-2 * (np.pi * scale) ** 2 * square)).real
    return (smooth / smooth.std()).astype(np.float32)
