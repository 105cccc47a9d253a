"""Ring-shaped protein complexes of six subunits, as shaded points seen from any side."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import Label, Stroke
from bcprobe.rng import generator
from bcprobe.types import CANVAS_SIZE

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
SUBUNITS = 6
#: Degrees between the ends of a spiral.
SPIRAL_GAP = 18.0
AZIMUTHS = 12
#: Elevations in degrees, from below to above.
ELEVATIONS = (-60, -30, 0, 30, 60)
#: Place of the complex on the canvas, half the side of its window, px per unit of length.
CENTRE, HALF, SCALE = (128, 100), 88, 50.0
#: Radius in px of a point of the complex and of a speck of debris.
POINT, SPECK = 5, 2
#: Pictures of the four classes at the foot of the canvas: side in px, left edges, top.
ICON, ICON_LEFTS, ICON_TOP = 48, (22, 82, 142, 202), 198
GREY = (170, 180, 190)
#: Names of the axes and their colours.
AXES = (("X", (240, 110, 100)), ("Y", (120, 210, 120)), ("Z", (120, 170, 250)))
#: The classes' names beside their pictures.
ICON_NAMES = tuple(
    Label(name, left - 5, ICON_TOP + ICON // 2, GREY)
    for name, left in zip("ABCD", ICON_LEFTS, strict=True)
)
#: Grey levels: of the ground, of the darkest and of the brightest surface.
GROUND, DARKEST, BRIGHTEST = 12, 48, 250
_LIGHT = np.array([-0.35, 0.5, 0.79])


def complex_points(gap: float, rise: float, points: int) -> tuple[Floats, Floats]:
    """Surface points and outward normals, float [n, 3] each, of a complex with its seam at 0.

    ``gap``: degrees missing at the seam; ``rise``: how far the subunits climb in one turn
    (positive: right-handed), the ring's radius being 1; ``points`` on each large lobe.
    """
    width = np.deg2rad(360 - gap) / SUBUNITS
    lobes = ((0.98, -0.12, (0.36, 0.49 * width, 0.52), points),
             (0.84, 0.52, (0.30, 0.36 * width, 0.28), points // 2))  # fmt: skip
    found = []
    for number in range(SUBUNITS):
        turn = np.deg2rad(gap) / 2 + (number + 0.5) * width
        lift = rise * ((number + 0.5) / SUBUNITS - 0.5)
        found += [_lobe(radius, turn, lift + z, axes, count) for radius, z, axes, count in lobes]
    return np.concatenate([p for p, _ in found]), np.concatenate([n for _, n in found])


def _lobe(
    radius: float, turn: float, z: float, axes: tuple[float, float, float], count: int
) -> tuple[Floats, Floats]:
    """Points and normals of an ellipsoid standing at an angle on the ring."""
    sphere = _sphere(count)
    normals = sphere / np.array(axes)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    cos, sin = np.cos(turn), np.sin(turn)
    spin = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return (sphere * np.array(axes) + [radius, 0, z]) @ spin, normals @ spin


@lru_cache(maxsize=8)
def _sphere(count: int) -> Floats:
    """Evenly spread unit vectors [count, 3]."""
    number = np.arange(count) + 0.5
    z, turn = 1 - 2 * number / count, np.pi * (1 + 5**0.5) * number
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


@lru_cache(maxsize=AZIMUTHS * len(ELEVATIONS))
def camera(azimuth: int, elevation: int) -> Floats:
    """Right, up and towards the camera, as rows [3, 3]; azimuth in steps, elevation by index."""
    a, e = 2 * np.pi * azimuth / AZIMUTHS, np.deg2rad(ELEVATIONS[elevation])
    return np.array(
        [
            [-np.sin(a), np.cos(a), 0],
            [-np.cos(a) * np.sin(e), -np.sin(a) * np.sin(e), np.cos(e)],
            [np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)],
        ]
    )


def draw_complex(points: Floats, normals: Floats, specks: Floats, ground: Pixels) -> Pixels:
    """Grey levels of a complex from every side: uint8 [azimuth * elevation, side, side].

    ``ground`` uint8 [side, side] lies behind; ``specks`` [m, 3] float around the complex.
    """
    views = [camera(a, e) for a in range(AZIMUTHS) for e in range(len(ELEVATIONS))]
    out = np.empty((len(views), *ground.shape), dtype=np.uint8)
    out[:] = ground
    for view, image in zip(views, out, strict=True):
        seen = specks @ view.T
        behind = seen[:, 2] < 0
        _splat(image, seen[behind], np.full(behind.sum(), 74.0), SCALE, SPECK)
        draw_side(image, points @ view.T, normals @ view.T, SCALE, POINT)
        _splat(image, seen[~behind], np.full((~behind).sum(), 128.0), SCALE, SPECK)
    return out


def draw_side(image: Pixels, points: Floats, normals: Floats, scale: float, radius: int) -> None:
    """Draw a complex given in the camera's axes into ``image`` uint8 [side, side]."""
    front = normals[:, 2] > -0.1
    points, normals = points[front], normals[front]
    near = np.clip(0.5 + points[:, 2] / 2.8, 0, 1)
    level = (0.22 + 0.78 * np.clip(normals @ _LIGHT, 0, 1)) * (0.35 + 0.65 * near)
    _splat(image, points, DARKEST + 26 + (BRIGHTEST - DARKEST - 26) * level, scale, radius)


def _splat(image: Pixels, points: Floats, levels: Floats, scale: float, radius: int) -> None:
    """Draw points as small balls, the farthest first; later ones cover earlier ones."""
    side, points = image.shape[0], np.round(points, 6)
    order = np.argsort(points[:, 2], kind="stable")
    points, levels = points[order], levels[order]
    low, high = radius, side - 1 - radius
    x = np.clip(np.rint(side / 2 + scale * points[:, 0]), low, high).astype(np.intp)
    y = np.clip(np.rint(side / 2 - scale * points[:, 1]), low, high).astype(np.intp)
    offsets, shade = _ball(radius, side)
    values = np.rint(levels).astype(np.int16)[:, None] - shade
    image.reshape(-1)[(y * side + x)[:, None] + offsets] = np.maximum(values, DARKEST)


@lru_cache(maxsize=8)
def _ball(radius: int, side: int) -> tuple[NDArray[np.intp], NDArray[np.int16]]:
    """Offsets of a disc's pixels in a flat image, and how much darker each is than the middle."""
    axis = np.arange(-radius, radius + 1)
    x, y = np.meshgrid(axis, axis)
    away = (x * x + y * y) / (radius + 0.3) ** 2
    inside = away <= 1
    shade = np.rint(26 * away[inside] ** 1.5).astype(np.int16)
    return (y * side + x)[inside].astype(np.intp), shade


#: Gap (degrees) and rise of the complex in each icon.
_CLASS_ICONS = ((SPIRAL_GAP, -0.9), (SPIRAL_GAP, 0.9), (0.0, 0.0), (52.0, 0.0))


@lru_cache(maxsize=1)
def icons() -> Pixels:
    """The four classes seen with their seam in front: uint8 [4, side, side]."""
    out = np.full((4, ICON, ICON), GROUND + 12, dtype=np.uint8)
    for number, (gap, rise) in enumerate(_CLASS_ICONS):
        points, normals = complex_points(gap, rise, 160)
        view = camera(0, 2)
        draw_side(out[number], points @ view.T, normals @ view.T, 16.0, 2)
    return out


@lru_cache(maxsize=1)
def ground_levels() -> Pixels:
    """Faint grain with the four icons at its foot: uint8 [256, 256]."""
    grain = generator("hexamer ground").normal(GROUND, 2.5, size=(CANVAS_SIZE, CANVAS_SIZE))
    out = np.clip(np.rint(grain), 3, 24).astype(np.uint8)
    for left, icon in zip(ICON_LEFTS, icons(), strict=True):
        out[ICON_TOP : ICON_TOP + ICON, left : left + ICON] = icon
    return out


def palette(hue: Floats) -> Pixels:
    """Colours uint8 [256, 3] of the grey levels, from near black over a hue (RGB 0-1) to white."""
    level = np.arange(256)[:, None] / 255
    color = 255 * np.where(level < 0.72, hue * level / 0.72, hue + (1 - hue) * (level - 0.72) / 0.4)
    dark = np.array([0.75, 0.9, 1.25]) * level * 255
    mixed = np.where(np.arange(256)[:, None] < 40, dark, color)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def colored(levels: Pixels, colors: Pixels) -> Pixels:
    """Grey levels in the colours of a palette: uint8 [..., 3]."""
    raw, out = levels.tobytes(), np.empty((*levels.shape, 3), dtype=np.uint8)
    for channel in range(3):
        values = raw.translate(colors[:, channel].tobytes())
        out[..., channel] = np.frombuffer(values, dtype=np.uint8).reshape(levels.shape)
    return out


def turned(turn: float, lean: float, way: float) -> Floats:
    """Rotation [3, 3] by ``turn`` about z and then by ``lean`` about an axis ``way`` (degrees)."""
    cos, sin = np.cos(np.deg2rad(lean)), np.sin(np.deg2rad(lean))
    tip = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return _about_z(way) @ tip @ _about_z(turn - way)


def _about_z(degrees: float) -> Floats:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


@lru_cache(maxsize=AZIMUTHS * len(ELEVATIONS))
def axes_shown(azimuth: int, elevation: int) -> tuple[tuple[Stroke, ...], tuple[Label, ...]]:
    """The world's axes as the camera sees them, in the upper left corner."""
    x0, y0, arm = 30, 32, 16
    right, up, _ = np.rint(arm * camera(azimuth, elevation)).astype(int)
    far = np.rint((arm + 8) * camera(azimuth, elevation)).astype(int)
    ends = list(zip(AXES, right.tolist(), up.tolist(), strict=True))
    strokes = tuple(Stroke(x0, y0, x0 + x, y0 - y, color, 2) for (_, color), x, y in ends)
    labels = tuple(
        Label(name, x0 + int(far[0, axis]), y0 - int(far[1, axis]), color)
        for axis, (name, color) in enumerate(AXES)
    )
    return strokes, labels
