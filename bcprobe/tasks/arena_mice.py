"""Look-alike mice crossing an arena, seen from above."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.tasks.animals import Pixels, capsule, finish, flesh, fur, grain, limb, mottle

FRAMES = 5
#: Nose to tail base, px.
LENGTH = 46.0
#: Ends of different mice keep this far apart, and all stay this far from the edge, px.
APART, EDGE = 18.0, 20.0
#: A mouse's bearing from the crossing, evenly spread and then turned by at most this, rad.
_SPREAD = 0.45
_TRIES = 200
Point = NDArray[np.float64]
COATS = ((92, 84, 78), (224, 216, 206), (132, 112, 88))
FLOORS = ((196, 186, 164), (128, 134, 132), (176, 172, 168))


@dataclass(frozen=True, eq=False)
class Mice:
    """Where the mice are: ``noses`` and ``tails`` (tail bases) float [5, mouse, 2] px (x, y);
    ``bends`` float [5, mouse] px: how far the middle of the back lies off the straight line."""

    noses: Point
    tails: Point
    bends: Point

    @property
    def count(self) -> int:
        """How many there are."""
        return self.noses.shape[1]


def draw_mice(count: int, pace: tuple[float, float], rng: np.random.Generator) -> Mice:
    """Mice at random whose paths cross, each at its own time; ``pace``: range of px a frame."""
    made = _cross(count, pace, rng)
    for _ in range(_TRIES):
        if _clear(made):
            break
        made = _cross(count, pace, rng)
    return made


def _cross(count: int, pace: tuple[float, float], rng: np.random.Generator) -> Mice:
    centre = np.array([128.0, 128.0]) + rng.uniform(-22, 22, 2)
    turn = rng.uniform(0, 2 * np.pi)
    bearings = turn + np.pi * np.arange(count) / count * rng.choice([1, 2])
    bearings = bearings + rng.uniform(-_SPREAD, _SPREAD, count)
    when = np.linspace(0.4, 3.6, count)[rng.permutation(count)] + rng.uniform(-0.3, 0.3, count)
    paces = rng.uniform(*pace, count)
    time = np.arange(FRAMES)[:, None] - when  # (frame, mouse)
    sway = rng.uniform(0.1, 0.35, count) * np.sin(1.4 * time + rng.uniform(0, 6, count))
    ahead = np.stack([np.cos(bearings), np.sin(bearings)], axis=-1)  # (mouse, 2)
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    beside = rng.uniform(-48, 48, count) + 14 * sway
    middle = centre + (time * paces)[..., None] * ahead + beside[..., None] * aside
    heading = bearings + sway
    half = LENGTH / 2 * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    return Mice(middle + half, middle - half, 9 * sway)


def _clear(mice: Mice) -> bool:
    """Whether all ends lie on the canvas, and ends and middles of different mice apart."""
    ends = np.concatenate([mice.noses, mice.tails], axis=1)  # (frame, 2 * mouse, 2)
    if ends.min() < EDGE or ends.max() > 256 - EDGE:
        return False
    gaps = np.hypot(*np.moveaxis(ends[:, :, None] - ends[:, None], -1, 0))
    owner = np.tile(np.arange(mice.count), 2)
    middle = (mice.noses + mice.tails) / 2
    between = np.hypot(*np.moveaxis(middle[:, :, None] - middle[:, None], -1, 0))
    others = between[:, ~np.eye(mice.count, dtype=bool)]
    return bool(min(gaps[:, owner[:, None] != owner].min(), others.min()) >= APART)


@dataclass(frozen=True)
class Arena:
    """How it looks: coat and floor (indices of `COATS` and `FLOORS`), how much of the coat
    shows against the floor (0-1), grain in grey levels, droppings (x, y px), noise offset."""

    coat: int
    floor: int
    contrast: float
    grain: float
    droppings: tuple[tuple[float, float], ...]
    offset: tuple[int, int]


def draw_frame(mice: Mice, arena: Arena, frame: int) -> NDArray[np.uint8]:
    """A video frame: uint8 [256, 256, 3]."""
    floor = np.array(FLOORS[arena.floor], dtype=float)
    canvas = _background(arena).copy()
    coat = floor + arena.contrast * (np.array(COATS[arena.coat], dtype=float) - floor)
    for mouse in range(mice.count):
        nose, tail = mice.noses[frame, mouse], mice.tails[frame, mouse]
        _draw_mouse(canvas, nose, tail, float(mice.bends[frame, mouse]), coat)
    canvas += (arena.grain * grain(((arena.offset[0] + 41 * frame) % 256, arena.offset[1])))[
        ..., None
    ]
    return finish(canvas)


@lru_cache(maxsize=2)
def _background(arena: Arena) -> Pixels:
    """The empty arena, float32 [256, 256, 3]: litter on a floor within walls."""
    canvas = np.empty((256, 256, 3), dtype=np.float32)
    canvas[:] = FLOORS[arena.floor]
    canvas += 5 * mottle(arena.offset)[..., None]
    canvas *= 1 + 0.03 * grain((arena.offset[1], arena.offset[0]))[..., None]
    edge = np.minimum(np.arange(256), 255 - np.arange(256))
    depth = np.minimum(edge[:, None], edge[None, :])[..., None]
    canvas *= np.where(depth < 7, 0.45, np.clip(0.82 + (depth - 7) / 90, 0.82, 1.03))
    canvas[np.broadcast_to(depth == 7, canvas.shape)] *= 1.5
    for x, y in arena.droppings:
        capsule(canvas, (x, y), (x + 2, y + 1), (1.4, 1.0), (58, 48, 40))
    return canvas


def _draw_mouse(canvas: Pixels, nose: Point, tail: Point, bend: float, coat: Point) -> None:
    ahead = (nose - tail) / math.dist(nose, tail)
    aside = np.array([-ahead[1], ahead[0]])

    def at(share: float, side: float = 0.0) -> Point:
        """A point so far along the body (0 tail base, 1 nose) and so many px to its side."""
        return tail + share * (nose - tail) + (side + 4 * share * (1 - share) * bend) * aside

    hair = fur(round(float(nose[0])), round(float(nose[1])), 0.045)
    for grow in (14, 11.5, 9):
        capsule(canvas, at(0.15) + 3.5, at(0.75) + 3.5, (grow, 0.7 * grow), (20, 18, 16),
                flat=True, opacity=0.13)  # fmt: skip
    curl = [at(0.04 - 0.2 * k, 5 * math.sin(0.9 * k) * math.copysign(1, bend)) for k in range(7)]
    skin = coat * 0.4 + (118, 84, 78)
    feet = [
        limb([at(back, wide * side), at(back + 0.1, (wide + 1.5) * side)], (2.6, 1.9))
        for side in (-1, 1)
        for back, wide in ((0.2, 10.0), (0.66, 7.5))
    ]
    flesh(canvas, [limb(curl, np.linspace(2.7, 0.8, 7)), *feet], skin, hair)
    body = [at(s) for s in (0.02, 0.14, 0.32, 0.5, 0.64, 0.76, 0.88, 0.97)]
    flesh(canvas, [limb(body, (5.5, 9.4, 11.2, 10, 8, 7.2, 4.8, 2.3))], coat, hair)
    ears = [limb([at(0.7, 6.4 * k), at(0.68, 7.4 * k)], (3.9, 3.5), lift=2.0) for k in (-1, 1)]
    flesh(canvas, ears, coat * 0.66 + (66, 44, 42), hair)
    for side in (-1, 1):
        eye = at(0.86, 3.6 * side)
        capsule(canvas, eye, eye, (1.3, 1.3), (14, 12, 12), flat=True)
    capsule(canvas, at(0.985), at(1.0), (1.6, 1.6), (196, 132, 128), flat=True)
