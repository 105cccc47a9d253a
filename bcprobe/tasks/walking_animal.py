"""A walking animal seen from the side: its gait, its skeleton and its looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcprobe.tasks.animals import Pixels, capsule, chain, finish, grain, mottle

FRAMES = 6
GROUND = 196.0
#: Share of a stride that a foot stands on the ground (walk).
STANCE = 0.64
#: Stride phases of hind near, front near, hind far, front far: a lateral-sequence walk.
PHASES = (0.0, 0.25, 0.5, 0.75)
_HIP, _SHOULDER = (-34.0, -45.0), (30.0, -43.0)
_UPPER, _LOWER = 24.0, 25.0
Point = NDArray[np.float64]
#: Coats (RGB): brown, grey, sand, black.
COATS = ((150, 105, 66), (128, 128, 132), (196, 164, 112), (70, 64, 62))


@dataclass(frozen=True)
class Walk:
    """How an animal walks through the picture.

    ``facing``: +1 to the right, -1 to the left. ``size``: scale of the body (1 is 64 px from
    hip to shoulder). ``x``: middle of the body in the first frame, ``speed`` px a frame to the
    front; ``phase`` and ``cadence``: stride phase in the first frame and its advance a frame;
    ``nod`` and ``tail``: swing of head and tail in rad; ``coat`` indexes `COATS`.
    """

    facing: int
    size: float
    x: float
    speed: float
    phase: float
    cadence: float
    nod: float
    tail: float
    coat: int


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints of one frame in canvas px, (x, y).

    ``legs`` float [4, 3, 2]: joint, knee, paw of hind near, front near, hind far, front far;
    ``spine`` [2, 2]: hip and shoulder; ``head`` [2, 2]: skull and nose; ``tail`` [6, 2].
    """

    legs: Point
    spine: Point
    head: Point
    tail: Point


def draw_walk(rng: np.random.Generator) -> Walk:
    """A walk at random that stays inside the picture."""
    facing = 1 if rng.random() < 0.5 else -1
    size = rng.uniform(1.0, 1.22)
    speed = rng.uniform(6, 11)
    start = 128 - facing * speed * (FRAMES - 1) / 2 + rng.uniform(-9, 9)
    return Walk(
        facing=facing,
        size=size,
        x=float(start),
        speed=float(speed),
        phase=float(rng.random()),
        cadence=float(rng.uniform(0.15, 0.21)),
        nod=float(rng.uniform(0.05, 0.16)),
        tail=float(rng.uniform(0.2, 0.7)),
        coat=int(rng.integers(len(COATS))),
    )


def skeleton(walk: Walk, frame: int) -> Skeleton:
    """Joints of a frame."""
    phase = walk.phase + walk.cadence * frame
    bob = 1.6 * math.cos(4 * math.pi * phase)
    middle = np.array([walk.x + walk.facing * walk.speed * frame, GROUND])
    mirror = np.array([walk.facing, 1.0]) * walk.size
    lift = np.array([0.0, bob])
    spine = middle + (np.array([_HIP, _SHOULDER]) + lift) * mirror
    legs = [
        _leg(phase + own, _HIP if hind else _SHOULDER, lift, hind=hind, far=far)
        for own, hind, far in zip(
            PHASES, (True, False, True, False), (False, False, True, True), strict=True
        )
    ]
    nod = 0.5 + walk.nod * math.sin(4 * math.pi * phase)
    neck = np.array(_SHOULDER) + lift
    skull = neck + 25 * np.array([math.cos(nod), -math.sin(nod)])
    nose = skull + 16 * np.array([math.cos(0.25 - walk.nod), math.sin(0.25 - walk.nod)])
    tail = _tail(np.array(_HIP) + lift + (-13, -5), walk.tail * math.sin(2 * math.pi * phase))
    place = [middle + np.asarray(part) * mirror for part in (legs, [skull, nose], tail)]
    return Skeleton(legs=place[0], spine=spine, head=place[1], tail=place[2])


def _leg(
    phase: float, joint: tuple[float, float], lift: Point, *, hind: bool, far: bool
) -> list[Point]:
    """Joint, knee and paw relative to the ground under the body, facing right."""
    top = np.array(joint) + lift
    share = phase % 1.0
    if share < STANCE:
        swing, height = 0.5 - share / STANCE, 0.0
    else:
        part = (share - STANCE) / (1 - STANCE)
        swing, height = -0.5 + part, 9 * math.sin(math.pi * part)
    paw = np.array([joint[0] + (2 if hind else -1) + 34 * swing, -height - (3.0 if far else 0.0)])
    return [top, _knee(top, paw, -1 if hind else 1), paw]


def _knee(top: Point, paw: Point, bend: int) -> Point:
    """Knee of a leg of two bones; hind legs bend backwards, front legs forwards."""
    across = paw - top
    reach = min(float(np.hypot(*across)), _UPPER + _LOWER - 0.5)
    along = (_UPPER**2 - _LOWER**2 + reach**2) / (2 * reach)
    out = math.sqrt(max(_UPPER**2 - along**2, 0.0))
    unit = across / np.hypot(*across)
    return top + along * unit + bend * out * np.array([unit[1], -unit[0]])


def _tail(base: Point, swing: float) -> Point:
    points = [base]
    for k in range(5):
        angle = math.pi - 0.35 + 0.12 * k + swing * (0.3 + 0.15 * k)
        points.append(points[-1] + 9 * np.array([math.cos(angle), math.sin(angle)]))
    return np.array(points)


@dataclass(frozen=True)
class Scenery:
    """Where it walks: wall and floor colours (RGB), how much the far legs differ from the
    near ones (0-1), grain in grey levels, grass tufts (x px) in front, and noise offsets."""

    wall: tuple[int, int, int]
    floor: tuple[int, int, int]
    far: float
    grain: float
    tufts: tuple[float, ...]
    offset: tuple[int, int]


def draw_frame(walk: Walk, scenery: Scenery, frame: int) -> NDArray[np.uint8]:
    """A video frame: uint8 [256, 256, 3]."""
    canvas = _background(scenery)
    bones = skeleton(walk, frame)
    coat = np.array(COATS[walk.coat], dtype=float)
    _shadow(canvas, walk, bones)
    for leg in (2, 3):
        _draw_leg(canvas, bones.legs[leg], coat * (1 - scenery.far), walk.size, hind=leg == 2)
    chain(canvas, bones.tail, (3.6 * walk.size, 1.4), coat * 0.92)
    _draw_body(canvas, bones, coat, walk.size)
    for leg in (0, 1):
        _draw_leg(canvas, bones.legs[leg], coat, walk.size, hind=leg == 0)
    _draw_head(canvas, bones, coat, walk)
    _fur(canvas, scenery)
    for x in scenery.tufts:
        _tuft(canvas, x)
    noise = scenery.grain * grain(((scenery.offset[0] + 37 * frame) % 256, scenery.offset[1]))
    return finish(canvas + noise[..., None])


def _background(scenery: Scenery) -> Pixels:
    y = np.arange(256.0)[:, None, None]
    wall = np.array(scenery.wall) * (1.06 - 0.0007 * y)
    floor = np.array(scenery.floor) * (0.9 + 0.0022 * (y - 178))
    share = np.clip((y - 178) / 3, 0, 1)
    canvas = np.repeat(wall * (1 - share) + floor * share, 256, axis=1)
    canvas += (2.0 + 3.5 * share) * mottle(scenery.offset)[..., None]
    canvas[214:216, ::8] *= 0.8  # a ruler along the walkway
    canvas[212:218, ::40] *= 0.65
    return canvas


def _shadow(canvas: Pixels, walk: Walk, bones: Skeleton) -> None:
    hip, shoulder = bones.spine
    for grow, opacity in ((9, 0.16), (5, 0.2)):
        capsule(canvas, (hip[0], GROUND + 6), (shoulder[0], GROUND + 6), (grow, grow),
                (20, 18, 16), flat=True, opacity=opacity)  # fmt: skip


def _draw_leg(canvas: Pixels, leg: Point, coat: Point, size: float, *, hind: bool) -> None:
    top, knee, paw = leg
    thigh = 9.5 if hind else 7.0
    capsule(canvas, top, knee, (thigh * size, 4.4 * size), coat)
    capsule(canvas, knee, paw, (4.2 * size, 2.6 * size), coat * 0.96)
    capsule(canvas, paw, paw, (3.6 * size, 3.6 * size), coat * 0.8 + 34)


def _draw_body(canvas: Pixels, bones: Skeleton, coat: Point, size: float) -> None:
    hip, shoulder = bones.spine
    capsule(canvas, hip, shoulder, (17 * size, 15 * size), coat)
    capsule(canvas, shoulder, bones.head[0], (12 * size, 8.5 * size), coat)


def _draw_head(canvas: Pixels, bones: Skeleton, coat: Point, walk: Walk) -> None:
    skull, nose = bones.head
    size, toward = walk.size, np.array([walk.facing, 0.0])
    capsule(canvas, skull, nose, (9.5 * size, 4.0 * size), coat)
    ear = skull + (-4 * toward[0] * size, -8 * size)
    capsule(canvas, ear, ear + (-2 * toward[0], -5 * size), (4.2 * size, 2.2 * size), coat * 0.72)
    eye = skull + (6 * toward[0] * size, -1.5 * size)
    capsule(canvas, eye, eye, (1.7 * size, 1.7 * size), (16, 14, 14), flat=True)
    capsule(canvas, nose, nose, (2.2 * size, 2.2 * size), (30, 24, 24), flat=True)


def _fur(canvas: Pixels, scenery: Scenery) -> None:
    texture = grain((scenery.offset[1], scenery.offset[0]))
    canvas *= 1 + 0.035 * texture[..., None]


def _tuft(canvas: Pixels, x: float) -> None:
    for k, lean in enumerate((-9, -4, 0, 5, 10)):
        root, tip = (x + 1.5 * (k - 2), 222.0), (x + 1.5 * (k - 2) + lean, 178.0 + abs(lean))
        capsule(canvas, root, tip, (2.2, 0.6), (74, 96 + 6 * k, 52))
