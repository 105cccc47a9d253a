"""A walking animal seen from the side: its gait, its skeleton and its looks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.tasks.animals import Limb, Pixels, capsule, finish, flesh, fur, grain, limb, mottle

FRAMES = 6
GROUND, HORIZON = 208.0, 186.0
#: Share of a stride that a foot stands on the ground (walk), and how far the body goes meanwhile.
STANCE, STRIDE = 0.64, 34.0
#: Stride phases of hind near, front near, hind far, front far: a lateral-sequence walk.
PHASES = (0.0, 0.25, 0.5, 0.75)
_HIP, _SHOULDER = (-29.0, -45.0), (29.0, -39.0)
Point = NDArray[np.floating]
#: Coats (RGB): brown, grey, sand, dark.
COATS = ((176, 118, 70), (150, 148, 148), (204, 168, 120), (104, 92, 84))


@dataclass(frozen=True)
class LegPlan:
    """A leg: where it hangs, upper, middle and foot bone px, which way its middle joint bends
    (+1 forwards), and the foot's lean in rad over the stride (knots of the stride in `_KNOTS`)."""

    joint: tuple[float, float]
    bones: tuple[float, float, float]
    bend: int
    lift: float
    lean: tuple[float, float, float, float]


_KNOTS = (0.0, STANCE, STANCE + 0.15, 1.0)
_HIND = LegPlan(_HIP, (20.0, 21.0, 14.0), 1, 7.0, (0.5, -0.3, -0.9, 0.5))
_FRONT = LegPlan(_SHOULDER, (17.0, 18.0, 9.0), -1, 9.0, (0.1, -0.45, -1.4, 0.1))


@dataclass(frozen=True)
class Walk:
    """How an animal walks through the picture.

    ``facing``: +1 to the right, -1 to the left. ``size``: scale of the body (1 is 58 px from
    hip to shoulder). ``x``: middle of the body in the first frame, ``speed`` px a frame to the
    front; ``phase``: stride phase in the first frame; ``nod`` and ``tail``: swing of head and
    tail in rad; ``coat`` indexes `COATS`.
    """

    facing: int
    size: float
    x: float
    speed: float
    phase: float
    nod: float
    tail: float
    coat: int

    @property
    def cadence(self) -> float:
        """Advance of the stride phase a frame, such that standing feet do not slide."""
        return self.speed * STANCE / (STRIDE * self.size)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints of one frame in canvas px, (x, y).

    ``legs`` float [4, 4, 2]: joint, knee or elbow, hock or wrist, paw of hind near, front
    near, hind far, front far; ``trunk`` [6, 2] from rump to throat; ``head`` [2, 2]: skull
    and nose; ``tail`` [7, 2].
    """

    legs: Point
    trunk: Point
    head: Point
    tail: Point


def draw_walk(rng: np.random.Generator) -> Walk:
    """A walk at random that stays inside the picture."""
    facing = 1 if rng.random() < 0.5 else -1
    size = rng.uniform(1.15, 1.35)
    speed = rng.uniform(7, 11)
    start = 128 - facing * (speed * (FRAMES - 1) / 2 + 8 * size) + rng.uniform(-9, 9)
    return Walk(
        facing=facing,
        size=float(size),
        x=float(start),
        speed=float(speed),
        phase=float(rng.random()),
        nod=float(rng.uniform(0.04, 0.12)),
        tail=float(rng.uniform(0.15, 0.4)),
        coat=int(rng.integers(len(COATS))),
    )


def skeleton(walk: Walk, frame: int) -> Skeleton:
    """Joints of a frame."""
    phase = walk.phase + walk.cadence * frame
    lift = np.array([0.0, 1.2 * math.cos(4 * math.pi * phase)])
    middle = np.array([walk.x + walk.facing * walk.speed * frame, GROUND])
    mirror = np.array([walk.facing, 1.0]) * walk.size
    plans = ((_HIND, False), (_FRONT, False), (_HIND, True), (_FRONT, True))
    legs = [
        _leg(plan, phase + own, lift, far=far)
        for own, (plan, far) in zip(PHASES, plans, strict=True)
    ]
    trunk = lift + [(-39, -51), (-29, -50), (-10, -51), (10, -48), (25, -47), (31, -52)]
    nod = 0.72 + walk.nod * math.sin(4 * math.pi * phase)
    skull = trunk[-1] + 23 * np.array([math.cos(nod), -math.sin(nod)])
    nose = skull + 18 * np.array([math.cos(0.32 - nod / 4), math.sin(0.32 - nod / 4)])
    tail = _tail(lift + (-46, -55), walk.tail * math.sin(2 * math.pi * phase))
    parts = (legs, trunk, [skull, nose], tail)
    return Skeleton(*(middle + np.asarray(part) * mirror for part in parts))


def _leg(plan: LegPlan, phase: float, lift: Point, *, far: bool) -> list[Point]:
    """Joint, knee, hock and paw relative to the ground under the body, facing right."""
    top = np.array(plan.joint) + lift
    share = phase % 1.0
    if share < STANCE:
        swing, height = 0.5 - share / STANCE, 0.0
    else:
        part = (share - STANCE) / (1 - STANCE)
        swing, height = -0.5 + part, plan.lift * math.sin(math.pi * part)
    paw = np.array([plan.joint[0] + STRIDE * swing, -height - (4.5 if far else 0.0)])
    lean = float(np.interp(share, _KNOTS, plan.lean))
    hock = paw - plan.bones[2] * np.array([math.sin(lean), math.cos(lean)])
    return [top, _middle_joint(top, hock, plan), hock, paw]


def _middle_joint(top: Point, end: Point, plan: LegPlan) -> Point:
    """Knee or elbow between two bones that reach from ``top`` to ``end``."""
    upper, lower, _ = plan.bones
    across = end - top
    reach = min(math.hypot(*across), upper + lower - 0.5)
    along = (upper**2 - lower**2 + reach**2) / (2 * reach)
    out = math.sqrt(max(upper**2 - along**2, 0.0))
    unit = across / math.hypot(*across)
    return top + along * unit + plan.bend * out * np.array([unit[1], -unit[0]])


def _tail(base: Point, swing: float) -> Point:
    points = [base]
    for k in range(6):
        angle = math.pi - 0.55 + 0.3 * k + swing * (0.4 + 0.12 * k)
        points.append(points[-1] + 7 * np.array([math.cos(angle), math.sin(angle)]))
    return np.array(points)


@dataclass(frozen=True)
class Scenery:
    """Where it walks: wall and floor colours (RGB), how much darker the far legs are than the
    near ones (0-1), grain in grey levels, grass tufts (x px) in front, and noise offsets."""

    wall: tuple[int, int, int]
    floor: tuple[int, int, int]
    far: float
    grain: float
    tufts: tuple[float, ...]
    offset: tuple[int, int]


def draw_frame(walk: Walk, scenery: Scenery, frame: int) -> NDArray[np.uint8]:
    """A video frame: uint8 [256, 256, 3]."""
    canvas = _background(scenery).copy()
    bones = skeleton(walk, frame)
    coat = np.array(COATS[walk.coat], dtype=float)
    hair = fur(round(walk.x + walk.facing * walk.speed * frame), 0, 0.05)
    _shadow(canvas, walk, bones)
    for leg in (2, 3):
        flesh(canvas, _leg_limbs(bones, leg, walk), coat * (1 - scenery.far), hair)
    flesh(canvas, [_ear(bones, walk, 4.0)], coat * (0.9 - scenery.far), hair)
    flesh(canvas, _near_side(bones, walk), coat, hair)
    _draw_face(canvas, bones, walk)
    for x in scenery.tufts:
        _tuft(canvas, x)
    noise = grain(((scenery.offset[0] + 37 * frame) % 256, scenery.offset[1]))
    canvas += (scenery.grain * noise)[..., None]
    return finish(canvas)


@lru_cache(maxsize=2)
def _background(scenery: Scenery) -> Pixels:
    y, x = np.arange(256.0)[:, None, None], np.arange(256.0)[None, :, None]
    wall = np.array(scenery.wall) * (1.1 - 0.0016 * y - 6e-6 * (x - 100) ** 2)
    floor = np.array(scenery.floor) * (0.82 + 0.0032 * (y - HORIZON) - 4e-6 * (x - 100) ** 2)
    share = np.clip((y - HORIZON) / 2, 0, 1)
    canvas = wall * (1 - share) + floor * share
    canvas += (1.2 + 4.5 * share) * mottle(scenery.offset)[..., None]
    canvas[int(HORIZON) - 7 : int(HORIZON) + 1] *= 0.72  # skirting
    canvas[int(HORIZON) - 8] *= 1.12
    canvas[: int(HORIZON) - 8, scenery.offset[0] % 96 :: 96] *= 0.9  # panels
    canvas[232:234, 4::8] *= 0.8  # a ruler along the walkway
    canvas[230:236, 4::40] *= 0.6
    return canvas.astype(np.float32)


def _shadow(canvas: Pixels, walk: Walk, bones: Skeleton) -> None:
    """A soft shadow under the trunk and a dark one under each foot on the ground."""
    mid = float(bones.trunk[:, 0].mean())
    _darken(canvas, (mid, GROUND + 3), (44 * walk.size, 8 * walk.size), 0.42)
    for x, y in bones.legs[:, 3]:
        _darken(canvas, (x, GROUND + 2), (9, 3), 0.4 if y > GROUND - 6 else 0.12)


def _darken(
    canvas: Pixels, centre: tuple[float, float], size: tuple[float, float], depth: float
) -> None:
    x = (np.arange(256.0) - centre[0]) / size[0]
    y = (np.arange(256.0) - centre[1]) / size[1]
    rows = slice(int(centre[1] - 2.2 * size[1]), int(centre[1] + 2.2 * size[1]))
    columns = slice(max(0, int(centre[0] - 2.2 * size[0])), max(0, int(centre[0] + 2.2 * size[0])))
    fall = np.exp(-(y[rows, None] ** 2)) * np.exp(-(x[columns] ** 2))
    canvas[rows, columns] *= 1 - depth * fall[..., None]


def _leg_limbs(bones: Skeleton, leg: int, walk: Walk) -> list[Limb]:
    joints, hind = bones.legs[leg], leg % 2 == 0
    radii = np.array((12.0, 6.6, 3.3, 3.0) if hind else (9.0, 5.4, 3.4, 3.0)) * walk.size
    toe = joints[3] + np.array([4.5 * walk.facing, 0.8]) * walk.size
    paw = limb([joints[3], toe], np.array([3.3, 2.7]) * walk.size, tone=1.12)
    return [limb(joints, radii, lift=2.0, smooth=leg < 2), paw]


def _near_side(bones: Skeleton, walk: Walk) -> list[Limb]:
    """Tail, trunk, near legs, neck and head."""
    size, (skull, nose) = walk.size, bones.head
    neck = [bones.trunk[4], bones.trunk[5], skull]
    muzzle = [skull, skull + 0.5 * (nose - skull), nose]
    return [
        limb(bones.tail, np.array([4.4, 4.2, 4.2, 4.0, 3.4, 2.6, 1.6]) * size, smooth=False),
        limb(bones.trunk, np.array([10, 13.5, 12, 15, 15, 12]) * size),
        limb(neck, np.array([13, 11.5, 8.5]) * size),
        limb(muzzle, np.array([9.2, 6.2, 3.8]) * size, lift=1.0),
        *_leg_limbs(bones, 0, walk),
        *_leg_limbs(bones, 1, walk),
        _ear(bones, walk, 0.0),
    ]


def _ear(bones: Skeleton, walk: Walk, ahead: float) -> Limb:
    place = np.array([walk.facing, 1.0]) * walk.size
    points = bones.head[0] + np.array([(-3 + ahead, -6), (-8 + ahead, -17)]) * place
    return limb(points, np.array([4.6, 1.0]) * walk.size, lift=8.0, tone=0.78)


def _draw_face(canvas: Pixels, bones: Skeleton, walk: Walk) -> None:
    (skull, nose), size = bones.head, walk.size
    eye = skull + np.array([6.0 * walk.facing, -2.5]) * size
    capsule(canvas, eye, eye, (1.9 * size, 1.9 * size), (20, 15, 14), flat=True)
    capsule(canvas, eye - 0.7, eye - 0.7, (0.6, 0.6), (210, 205, 200), flat=True)
    tip = nose + np.array([2.2 * walk.facing, -1.0]) * size
    capsule(canvas, tip, tip, (2.4 * size, 2.4 * size), (34, 27, 27))


def _tuft(canvas: Pixels, x: float) -> None:
    for k, lean in enumerate((-9, -4, 0, 5, 10)):
        root, tip = (x + 1.5 * (k - 2), 234.0), (x + 1.5 * (k - 2) + lean, 190.0 + abs(lean))
        capsule(canvas, root, tip, (2.2, 0.6), (86, 104 + 6 * k, 58))
