"""Trace one dot per slice along a curve through a noisy volume."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import Mark, Stroke, View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.rng import generator
from bcprobe.tasks.curves import CURVES, along
from bcprobe.types import CANVAS_SIZE, Latents, Outcome

SLICES = 16
TOLERANCE = 5.0
SUCCESS_F1 = 0.9
BACKGROUND = 44
WHITE = (255, 255, 255)
_TILE = 2 * CANVAS_SIZE
_MARGIN = 20


@dataclass(frozen=True)
class Settings:
    """Difficulty of a volume.

    ``noise`` is the standard deviation of the background in grey levels, ``contrast`` the
    range of the dots' peak opacity (0-1), ``bleed`` how much of a dot shows in the
    neighbouring slices (share of its opacity), ``sigma`` the range of the dots' radii in px.
    """

    noise: float
    contrast: tuple[float, float]
    bleed: float
    sigma: tuple[float, float]


SETTINGS = {
    "easy": Settings(noise=1.5, contrast=(0.9, 1.0), bleed=0.1, sigma=(4.5, 6.0)),
    "default": Settings(noise=4.0, contrast=(0.7, 1.0), bleed=0.22, sigma=(3.2, 5.5)),
    "hard": Settings(noise=10.0, contrast=(0.45, 0.8), bleed=0.4, sigma=(2.6, 5.0)),
}


@dataclass(frozen=True, eq=False)
class World:
    """A volume: one dot per slice.

    ``centres`` float [16, 2] canvas px (x, y); ``radii`` float [16, 2] px along the dot's
    axes; ``angles`` float [16] rad; ``opacity`` float [16]; ``offsets`` int [16, 2] say
    where each slice's noise is cut from the noise tile.
    """

    curve: str
    settings: Settings
    centres: NDArray[np.float64]
    radii: NDArray[np.float64]
    angles: NDArray[np.float64]
    opacity: NDArray[np.float64]
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class State:
    """Slice in view, projection on or off, and the marks ``(z, x, y)`` in order of placing."""

    z: int = 0
    mip: bool = False
    marks: tuple[tuple[int, int, int], ...] = ()
    done: bool = False


def is_right(world: World, mark: tuple[int, int, int]) -> bool:
    """Whether a mark lies within `TOLERANCE` px of its slice's dot."""
    z, x, y = mark
    return math.hypot(world.centres[z, 0] - x, world.centres[z, 1] - y) <= TOLERANCE


def right_slices(world: World, state: State) -> frozenset[int]:
    """Slices that hold a right mark."""
    return frozenset(mark[0] for mark in state.marks if is_right(world, mark))


def has_mistake(world: World, state: State) -> bool:
    """Whether a mark is off its dot, or a slice holds two marks."""
    slices = [mark[0] for mark in state.marks]
    return len(set(slices)) < len(slices) or not all(is_right(world, m) for m in state.marks)


class ColoredDotTracking:
    """Colored dot tracking.

    Description: a 16-slice volume holds one soft dot per slice along one of 24 curves; hue
    runs with z; a dot shows faintly in the neighbouring slices; noise lies on top.
    Instruction: click the centre of the dot in every slice, then press Done.
    Actions: +z, -z, MIP (maximum-intensity projection, toggles), Undo, Done, clicks on the
    canvas. In the projection the stack does not move and takes no marks.
    Observation: the slice (or the projection); a ring where a mark lies in this slice, a
    small dot for marks of other slices; in the projection all rings joined in z order.
    Success: Done, and F1 of marks within 5 px in the right slice at least 0.9.
    Settings: `Settings` (easy, default, hard).
    Latents: position is the slice; a mistake (spatial) is a mark off its dot or a second
    mark in a slice; progress is the share of slices rightly marked.
    """

    name = "colored_dot_tracking"
    title = "Colored dot tracking"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        Button("+z", "+z", "navigate", "Z navigation", "forward"),
        Button("-z", "-z", "navigate", "Z navigation", "back"),
        Button("MIP", "MIP", "view", "View mode", "view"),
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw a volume: a curve turned, scaled, shifted, and one dot per slice along it."""
        settings = self.settings[difficulty]
        curve = sorted(CURVES)[rng.integers(len(CURVES))]
        return World(
            curve=curve,
            settings=settings,
            centres=_place_curve(curve, rng),
            radii=rng.uniform(*settings.sigma, size=(SLICES, 2)),
            angles=rng.uniform(0, np.pi, size=SLICES),
            opacity=rng.uniform(*settings.contrast, size=SLICES),
            offsets=rng.integers(0, _TILE - CANVAS_SIZE, size=(SLICES, 2)),
        )

    def images(self, world: World) -> NDArray[np.uint8]:
        """The 16 slices and, last, their projection: uint8 [17, 256, 256, 3]."""
        tile = _noise_tile(world.settings.noise)
        images = np.empty((SLICES + 1, CANVAS_SIZE, CANVAS_SIZE, 3), dtype=np.uint8)
        for z, (x, y) in enumerate(world.offsets):
            images[z] = tile[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]
        for z in range(SLICES):
            self._draw_dot(world, z, images)
        images[SLICES] = images[:SLICES].max(axis=0)
        return images

    def _draw_dot(self, world: World, z: int, images: NDArray[np.uint8]) -> None:
        patch, profile = _dot_profile(world, z)
        color = 255 * np.array(colorsys.hsv_to_rgb(0.78 * z / (SLICES - 1), 0.85, 1.0))
        for near, share in ((z, 1.0), (z - 1, world.settings.bleed), (z + 1, world.settings.bleed)):
            if 0 <= near < SLICES:
                alpha = (world.opacity[z] * share * profile)[..., None]
                under = images[near][patch]
                images[near][patch] = np.rint(under * (1 - alpha) + color * alpha)

    def open(self, world: World) -> State:
        """First slice, nothing marked."""
        return State()

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """+z, -z, MIP, Undo, Done."""
        return (
            ButtonState(enabled=not state.mip and state.z < SLICES - 1),
            ButtonState(enabled=not state.mip and state.z > 0),
            ButtonState(active=state.mip),
            ButtonState(enabled=bool(state.marks)),
            ButtonState(),
        )

    def press(self, world: World, state: State, button: str) -> State:
        """Move, toggle the projection, take the last mark back, or finish."""
        if state.done:
            return state
        if button in ("+z", "-z"):
            z = state.z + (1 if button == "+z" else -1)
            return replace(state, z=z) if 0 <= z < SLICES and not state.mip else state
        if button == "MIP":
            return replace(state, mip=not state.mip)
        if button == "Undo":
            return replace(state, marks=state.marks[:-1]) if state.marks else state
        return replace(state, done=True)

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """Mark the point in the slice in view."""
        if state.mip or state.done:
            return state
        return replace(state, marks=(*state.marks, (state.z, x, y)))

    def draw(self, world: World, state: State) -> View:
        """The slice with its rings and the other slices' dots, or the joined projection."""
        status = (("Z", f"{state.z:02d}/{SLICES - 1}"), ("Points", str(len(state.marks))))
        if not state.mip:
            marks = tuple(_mark(x, y, own=z == state.z) for z, x, y in state.marks)
            return View(state.z, marks, status=status)
        path = sorted(state.marks)
        return View(
            SLICES,
            tuple(_mark(x, y, own=True) for _, x, y in path),
            tuple(Stroke(a[1], a[2], b[1], b[2], WHITE) for a, b in pairwise(path)),
            status,
        )

    def latents(self, world: World, state: State) -> Latents:
        """Position is the slice in view."""
        mistake = has_mistake(world, state)
        return Latents(
            position=state.z,
            position_count=SLICES,
            progress=len(right_slices(world, state)) / SLICES,
            mistake=mistake,
            mistake_kind="spatial" if mistake else "",
        )

    def phase(self, world: World, state: State, button: str) -> str:
        """Moving towards unmarked slices is annotating; looking at marked ones is verifying."""
        if button in ("Undo", "Done"):
            return "correct" if button == "Undo" else "finish"
        if not state.marks:
            return "annotate" if button == "canvas" and not state.mip else "explore"
        if button == "canvas" and not state.mip:
            return "annotate"
        if has_mistake(world, state):
            return "verify"
        marked = {mark[0] for mark in state.marks}
        ahead = range(state.z + 1, SLICES) if button == "+z" else range(state.z)
        moving = button in ("+z", "-z")
        return "annotate" if moving and not marked.issuperset(ahead) else "verify"

    def score(self, world: World, state: State) -> Outcome:
        """F1 of marks within 5 px of the dot of their slice; at most one match per slice."""
        right = len(right_slices(world, state))
        f1 = 2 * right / (len(state.marks) + SLICES)
        counts = {"marks": float(len(state.marks)), "right": float(right)}
        return Outcome(f1, state.done and f1 >= SUCCESS_F1, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _mark(x: int, y: int, own: bool) -> Mark:
    return Mark("ring", x, y, 7, WHITE) if own else Mark("dot", x, y, 2, WHITE)


def _place_curve(curve: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Dot centres [16, 2] in canvas px: the curve, turned, mirrored, scaled and shifted."""
    shape = along(curve, np.linspace(0, 1, SLICES))
    angle = rng.uniform(-np.pi / 9, np.pi / 9)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (shape * rng.choice([-1, 1], size=2)) @ turn
    points = points[::-1] if rng.random() < 0.5 else points
    low, high = points.min(axis=0), points.max(axis=0)
    room = CANVAS_SIZE - 2 * _MARGIN
    scale = rng.uniform(0.72, 0.98) * room / (high - low).max()
    points = (points - low) * scale
    shift = rng.uniform(0, 1, size=2) * (room - points.max(axis=0))
    wobble = rng.normal(0, 1.5, size=points.shape)
    return np.clip(points + shift + wobble, 0, room) + _MARGIN


def _dot_profile(world: World, z: int) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """Window of a dot on the canvas and its Gaussian profile (peak 1) in that window."""
    cx, cy = world.centres[z]
    reach = int(np.ceil(3 * world.radii[z].max()))
    x0, x1 = max(0, int(cx) - reach), min(CANVAS_SIZE, int(cx) + reach + 1)
    y0, y1 = max(0, int(cy) - reach), min(CANVAS_SIZE, int(cy) + reach + 1)
    dx, dy = np.arange(x0, x1)[None, :] - cx, np.arange(y0, y1)[:, None] - cy
    cos, sin = np.cos(world.angles[z]), np.sin(world.angles[z])
    along_axis, across = (cos * dx + sin * dy), (cos * dy - sin * dx)
    rx, ry = world.radii[z]
    profile = np.exp(-0.5 * ((along_axis / rx) ** 2 + (across / ry) ** 2))
    return (slice(y0, y1), slice(x0, x1)), profile


@lru_cache(maxsize=8)
def _noise_tile(noise: float) -> NDArray[np.uint8]:
    """Grey noise uint8 [512, 512, 3] that every slice is cut from at its own offset."""
    grain = generator("noise tile").normal(size=(_TILE, _TILE, 1))
    tile = np.clip(np.rint(BACKGROUND + noise * grain), 0, 255)
    return np.repeat(tile, 3, axis=2).astype(np.uint8)
