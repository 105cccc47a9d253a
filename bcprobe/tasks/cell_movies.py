"""The truth of a movie of dividing cells: who is where, who descends from whom."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bcprobe.types import CANVAS_SIZE

_MARGIN = 22
#: Daughters begin at this share of the grown radius and add so much of it per frame.
_NEWBORN, _GROWTH = 0.76, 0.06
#: Share of a frame's velocity that is kept in the next.
_PERSISTENCE = 0.55
_RELAXATIONS = 10


@dataclass(frozen=True)
class Settings:
    """Difficulty of a movie.

    ``frames``, ``founders``, ``cycle`` (frames from a birth to the next division) and
    ``debris`` are ranges with both ends; ``most`` is the number of cells beyond which none
    divides. ``speed`` is the standard deviation of a cell's step per axis and frame in px,
    ``noise`` that of the camera in grey levels, ``blur`` the softness of edges in px.
    """

    frames: tuple[int, int]
    founders: tuple[int, int]
    cycle: tuple[int, int]
    most: int
    debris: tuple[int, int]
    speed: float
    noise: float
    blur: float


SETTINGS = {
    "easy": Settings((8, 8), (2, 2), (4, 6), 5, (3, 5), speed=2.5, noise=4.0, blur=1.0),
    "default": Settings((8, 10), (2, 3), (4, 6), 7, (6, 10), speed=3.8, noise=7.0, blur=1.3),
    "hard": Settings((10, 12), (3, 4), (4, 6), 8, (14, 20), speed=5.2, noise=14.0, blur=1.9),
}


@dataclass(frozen=True)
class Pose:
    """A cell in one frame: canvas px, radii along and across ``angle`` (rad).

    ``stage``: ``interphase``, ``metaphase`` (two frames before the division), ``anaphase``
    (the frame before it) or ``newborn`` (the first frame of a daughter).
    """

    x: float
    y: float
    long: float
    short: float
    angle: float
    stage: str = "interphase"


@dataclass(frozen=True)
class Cell:
    """A cell from its birth to its division or the end of the movie.

    ``parent`` is the mother's index or -1; ``poses`` start at frame ``birth``. ``division``
    is the first frame of its daughters, or the number of frames. ``tone`` scales its
    brightness, ``outline`` holds its shape and ``texture`` the place its grain is cut from.
    """

    parent: int
    birth: int
    division: int
    radius: float
    tone: float
    outline: tuple[float, float, float, float]
    texture: tuple[int, int]
    poses: tuple[Pose, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class World:
    """A movie: ``modality`` is ``fluorescence`` or ``phase``.

    ``present`` holds for each frame ``(cell, x, y)`` of every cell. ``debris`` float [n, 6]:
    canvas px x, y, drift per frame x, y, radius px, strength 0-1. ``offsets`` int
    [frames, 2] say where each frame's noise is cut from the noise tile.
    """

    settings: Settings
    modality: str
    cells: tuple[Cell, ...]
    founders: int
    frames: int
    present: tuple[tuple[tuple[int, float, float], ...], ...]
    debris: NDArray[np.float64]
    offsets: NDArray[np.int64]

    def children(self, cell: int, frame: int) -> tuple[int, ...]:
        """What a cell seen in ``frame - 1`` has become in ``frame``: itself, or daughters."""
        if self.cells[cell].division != frame:
            return (cell,)
        return tuple(i for i, other in enumerate(self.cells) if other.parent == cell)

    def place(self, cell: int, frame: int) -> tuple[float, float]:
        """Centre of a cell in a frame, in canvas px."""
        pose = self.cells[cell].poses[frame - self.cells[cell].birth]
        return pose.x, pose.y


@dataclass
class _Growing:
    """A cell while its movie is simulated."""

    parent: int
    birth: int
    division: int
    radius: float
    x: float
    y: float
    vx: float
    vy: float
    angle: float
    stretch: float
    places: list[tuple[float, float]]

    def size(self, frame: int) -> float:
        share = 1.0 if self.parent < 0 else _NEWBORN + _GROWTH * (frame - self.birth)
        return self.radius * min(1.0, share)


def grow(rng: np.random.Generator, settings: Settings) -> World:
    """Draw a movie: cells that wander, push each other aside, and divide."""
    frames = int(rng.integers(*settings.frames, endpoint=True))
    cells = _founders(rng, settings, frames)
    founders = len(cells)
    live = list(range(founders))
    for frame in range(frames):
        if frame:
            live = _divide(rng, settings, cells, live, frame, frames)
            _wander(rng, settings, [cells[i] for i in live if cells[i].birth < frame])
        _push_apart([cells[i] for i in live], frame)
        for i in live:
            cells[i].places.append((cells[i].x, cells[i].y))
    done = tuple(_finish(rng, cell, frames) for cell in cells)
    return World(
        settings=settings,
        modality=("fluorescence", "phase")[rng.integers(2)],
        cells=done,
        founders=founders,
        frames=frames,
        present=tuple(_present(done, frame) for frame in range(frames)),
        debris=_debris(rng, settings),
        offsets=rng.integers(0, CANVAS_SIZE, size=(frames, 2)),
    )


def _founders(rng: np.random.Generator, settings: Settings, frames: int) -> list[_Growing]:
    """Founders apart from each other, from left to right; the first one divides early."""
    count = int(rng.integers(*settings.founders, endpoint=True))
    places: list[tuple[float, float]] = []
    while len(places) < count:
        x, y = rng.uniform(60, CANVAS_SIZE - 60, size=2)
        if all(math.hypot(x - px, y - py) > 55 for px, py in places):
            places.append((float(x), float(y)))
    divisions = [int(rng.integers(2, 4 if i == 0 else frames + 1)) for i in range(count)]
    return [
        _new(rng, -1, 0, division, float(rng.uniform(12.0, 15.0)), place)
        for place, division in zip(sorted(places), rng.permutation(divisions), strict=True)
    ]


def _new(
    rng: np.random.Generator,
    parent: int,
    birth: int,
    division: int,
    radius: float,
    place: tuple[float, float],
) -> _Growing:
    vx, vy, angle, stretch = (float(v) for v in rng.uniform((-2, -2, 0, 1), (2, 2, np.pi, 1.22)))
    return _Growing(parent, birth, int(division), radius, *place, vx, vy, angle, stretch, [])


def _divide(
    rng: np.random.Generator,
    settings: Settings,
    cells: list[_Growing],
    live: list[int],
    frame: int,
    frames: int,
) -> list[int]:
    """Indices of the cells of a frame: those whose time has come give way to two daughters."""
    after: list[int] = []
    count = len(live)
    for i in live:
        mother = cells[i]
        if mother.division != frame or count >= settings.most:
            mother.division = max(mother.division, frame + 1)
            after.append(i)
            continue
        count += 1
        dx, dy = (0.84 * mother.radius * f(mother.angle) for f in (math.cos, math.sin))
        for sign in sorted((-1, 1), key=lambda s: s * dx):
            division = frame + int(rng.integers(*settings.cycle, endpoint=True))
            place = (mother.x + sign * dx, mother.y + sign * dy)
            after.append(len(cells))
            cells.append(_new(rng, i, frame, division, mother.radius, place))
            cells[-1].vx, cells[-1].vy = sign * 0.25 * dx, sign * 0.25 * dy
    for i in after:
        if frame + 1 == frames or cells[i].division > frames:
            cells[i].division = max(cells[i].division, frames)
    return after


def _wander(rng: np.random.Generator, settings: Settings, cells: list[_Growing]) -> None:
    for cell in cells:
        dx, dy = (float(v) for v in rng.normal(0, settings.speed, size=2))
        cell.vx = _PERSISTENCE * cell.vx + dx
        cell.vy = _PERSISTENCE * cell.vy + dy
        longest = 3.2 * settings.speed
        shrink = min(1.0, longest / max(1e-9, math.hypot(cell.vx, cell.vy)))
        cell.x += cell.vx * shrink
        cell.y += cell.vy * shrink
        cell.angle += float(rng.normal(0, 0.12))


def _push_apart(cells: list[_Growing], frame: int) -> None:
    """Cells give way to each other and to the edge of the field."""
    for _ in range(_RELAXATIONS):
        for i, one in enumerate(cells):
            for other in cells[:i]:
                _push(one, other, one.size(frame) + other.size(frame) + 2.0)
        for cell in cells:
            cell.x = min(CANVAS_SIZE - _MARGIN, max(_MARGIN, cell.x))
            cell.y = min(CANVAS_SIZE - _MARGIN, max(_MARGIN, cell.y))


def _push(one: _Growing, other: _Growing, apart: float) -> None:
    dx, dy = one.x - other.x, one.y - other.y
    distance = math.hypot(dx, dy)
    if 0 < distance < apart:
        share = (apart - distance) / (2 * distance)
        one.x, one.y = one.x + share * dx, one.y + share * dy
        other.x, other.y = other.x - share * dx, other.y - share * dy


def _finish(rng: np.random.Generator, cell: _Growing, frames: int) -> Cell:
    outline = (*rng.uniform(0.02, 0.09, size=2), *rng.uniform(0, 2 * np.pi, size=2))
    division = min(cell.division, cell.birth + len(cell.places))
    return Cell(
        parent=cell.parent,
        birth=cell.birth,
        division=division,
        radius=cell.radius,
        tone=float(rng.uniform(0.8, 1.15)),
        outline=tuple(float(v) for v in outline),  # type: ignore[arg-type]
        texture=(int(rng.integers(64, 400)), int(rng.integers(64, 400))),
        poses=tuple(
            _pose(cell, cell.birth + age, place, divides=division < frames)
            for age, place in enumerate(cell.places)
        ),
    )


def _pose(cell: _Growing, frame: int, place: tuple[float, float], *, divides: bool) -> Pose:
    size = cell.size(frame)
    pose = Pose(*place, size * cell.stretch, size / cell.stretch, cell.angle)
    to_go = cell.division - frame if divides else 9
    if to_go == 1:
        return replace(pose, long=1.22 * size, short=0.9 * size, stage="anaphase")
    if to_go == 2:
        return replace(pose, long=0.93 * size, short=0.93 * size, stage="metaphase")
    if frame == cell.birth and cell.parent >= 0:
        return replace(pose, long=size, short=0.95 * size, stage="newborn")
    return pose


def _present(cells: tuple[Cell, ...], frame: int) -> tuple[tuple[int, float, float], ...]:
    poses = [(i, c.poses, frame - c.birth) for i, c in enumerate(cells)]
    return tuple((i, p[age].x, p[age].y) for i, p, age in poses if 0 <= age < len(p))


def _debris(rng: np.random.Generator, settings: Settings) -> NDArray[np.float64]:
    count = int(rng.integers(*settings.debris, endpoint=True))
    low = (4, 4, -1.0, -1.0, 1.0, 0.35)
    high = (CANVAS_SIZE - 4, CANVAS_SIZE - 4, 1.0, 1.0, 2.6, 1.0)
    return rng.uniform(low, high, size=(count, 6))
