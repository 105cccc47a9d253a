"""Find a gas plume in a hyperspectral scene, outline it, and name the gas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import Label, Mark, Stroke, View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.rng import generator
from bcprobe.tasks.plume_drawing import BANDS, draw_bands, filled, plume_rim
from bcprobe.types import CANVAS_SIZE, Latents, Outcome

GASES = ("A", "B", "C")
#: How deep each gas absorbs in the bands from 0 (share of its depth); the first is the reference.
ABSORPTION = {
    "A": (0, 0.55, 1.0, 0.55, 0, 0, 0, 0, 0, 0, 0, 0),
    "B": (0, 0, 0, 0, 0, 0.8, 1.0, 0, 0, 0, 0, 0),
    "C": (0, 0, 0, 0, 0, 0, 0, 0, 0.5, 1.0, 0.7, 0.4),
}
#: Band in which each gas is clearest.
CLEAREST = {gas: max(range(BANDS), key=depths.__getitem__) for gas, depths in ABSORPTION.items()}
LEGEND = "A 02-04   B 06-07   C 09-12"
#: A vertex within so many px of the rim is right.
TOLERANCE = 8.0
SUCCESS_IOU, FULL_IOU = 0.7, 0.85
#: Length of a side of the outline in px, and how many vertices it has.
SIDE, VERTICES, MOST = 39.0, (6, 10), 16
#: A right vertex lies so many sides (of equal arc) on from the last one, at least and at most.
ADVANCE = (0.3, 1.7)
LINE, INK = (255, 214, 64), (235, 240, 245)


@dataclass(frozen=True)
class Settings:
    """Difficulty of a scene.

    ``depth``: range of the share of light that the plume absorbs where it absorbs most;
    ``contrast``: how much fields differ (1: as they are); ``noise``: of the sensor, 0-1;
    ``puffs``: how unevenly the gas lies inside the plume (standard deviation, share).
    """

    depth: tuple[float, float]
    contrast: float
    noise: float
    puffs: float


SETTINGS = {
    "easy": Settings(depth=(0.55, 0.65), contrast=0.6, noise=0.008, puffs=0.04),
    "default": Settings(depth=(0.42, 0.56), contrast=1.0, noise=0.018, puffs=0.08),
    "hard": Settings(depth=(0.28, 0.38), contrast=1.2, noise=0.035, puffs=0.12),
}


@dataclass(frozen=True, eq=False)
class World:
    """A scene: its gas, how deep it absorbs, the plume's rim and the seed of the ground.

    ``rim`` float [k, 2] canvas px at equal steps, clockwise from the topmost point; the
    outline that an annotator draws has ``count`` vertices.
    """

    settings: Settings
    gas: str
    depth: float
    rim: NDArray[np.float64]
    length: float
    count: int
    seed: int

    @property
    def side(self) -> float:
        """Arc between two vertices, px."""
        return self.length / self.count


@dataclass(frozen=True)
class State:
    """Band in view, ratio on or off; vertices of the outline, closed or not; the gas named."""

    band: int = 0
    ratio: bool = False
    vertices: tuple[tuple[int, int], ...] = ()
    closed: bool = False
    gas: str = ""
    done: bool = False


@lru_cache(maxsize=512)
def on_rim(world: World, vertex: tuple[int, int]) -> tuple[float, float]:
    """Arc position (px from the top, clockwise) of the nearest rim point, and its distance."""
    away = np.hypot(world.rim[:, 0] - vertex[0], world.rim[:, 1] - vertex[1])
    nearest = int(away.argmin())
    return nearest * world.length / len(away), float(away[nearest])


@lru_cache(maxsize=512)
def followed(world: World, vertices: tuple[tuple[int, int], ...]) -> tuple[int, float]:
    """Vertices that are right up to the first that is not, and the arc (px) they go along."""
    covered, low, high = 0.0, ADVANCE[0] * world.side, ADVANCE[1] * world.side
    for number, vertex in enumerate(vertices):
        arc, distance = on_rim(world, vertex)
        step = (arc - on_rim(world, vertices[number - 1])[0]) % world.length if number else 0.0
        astray = number and not (low <= step <= high and covered + step < world.length - low)
        if distance > TOLERANCE or astray:
            return number, covered
        covered += step
    return len(vertices), covered


def around(world: World, vertices: tuple[tuple[int, int], ...]) -> bool:
    """Whether right vertices have gone round, so that the outline may be closed."""
    count, covered = followed(world, vertices)
    return (
        count == len(vertices) >= VERTICES[0] and world.length - covered <= ADVANCE[1] * world.side
    )


def mistake_kind(world: World, state: State) -> str:
    """``spatial``: a vertex off the rim or out of turn; ``categorical``: the wrong gas."""
    if followed(world, state.vertices)[0] < len(state.vertices):
        return "spatial"
    if state.closed and not around(world, state.vertices):
        return "spatial"
    return "categorical" if state.gas not in ("", world.gas) else ""


class SpectralPlumeFinding:
    """Spectral plume finding.

    Description: 12 bands of one scene of fields, roads and bare soil, with bright smoke in
    all bands and a gas plume that absorbs in two to four neighbouring bands.
    Instruction: find the bands in which the plume is dark, outline it clockwise in the
    clearest one with 6-10 points, press Close, name the gas by its bands, press Done.
    Actions: +band, -band, Ratio (band over reference band 1, toggles), Close, Gas A, Gas B,
    Gas C, Undo, Done, clicks on the canvas.
    Observation: the band or its ratio; the outline so far; each gas's bands.
    Success: Done, intersection over union at least 0.7, and the gas right.
    Settings: `Settings` (easy, default, hard).
    Latents: position is the band; a mistake is a vertex off the rim or out of turn (spatial)
    or the wrong gas (categorical); progress is the share of vertices, closing and gas.
    """

    name = "spectral_plume_finding"
    title = "Spectral plume finding"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        Button("+band", "+band", "navigate", "Band", "forward"),
        Button("-band", "-band", "navigate", "Band", "back"),
        Button("Ratio", "Ratio", "view", "View", "view"),
        Button("Close", "Close", "commit", "Outline", "forward"),
        *(Button(f"Gas {gas}", f"Gas {gas}", "classify", "Gas", "select") for gas in GASES),
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw a plume, its gas, and the seed of the ground below."""
        settings = SETTINGS[difficulty]
        rim = plume_rim(rng)
        length = float(np.hypot(*(rim - np.roll(rim, 1, axis=0)).T).sum())
        return World(
            settings=settings,
            gas=GASES[rng.integers(len(GASES))],
            depth=float(rng.uniform(*settings.depth)),
            rim=rim,
            length=length,
            count=int(np.clip(np.rint(length / SIDE), *VERTICES)),
            seed=int(rng.integers(1 << 30)),
        )

    def images(self, world: World) -> NDArray[np.uint8]:
        """The 12 bands and then their ratios to the first: uint8 [24, 256, 256, 3]."""
        depths, settings = world.depth * np.array(ABSORPTION[world.gas]), world.settings
        looks = (settings.contrast, settings.noise, settings.puffs)
        return draw_bands(world.rim, depths, *looks, generator("scene", world.seed))

    def open(self, world: World) -> State:
        """First band, nothing drawn."""
        return State()

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """+band, -band, Ratio, Close, Gas A, Gas B, Gas C, Undo, Done."""
        nameable = state.closed and not state.gas
        return (
            ButtonState(enabled=state.band < BANDS - 1),
            ButtonState(enabled=state.band > 0),
            ButtonState(active=state.ratio),
            ButtonState(enabled=_closable(state), ticked=state.closed),
            *(ButtonState(nameable or gas == state.gas, gas == state.gas) for gas in GASES),
            ButtonState(enabled=bool(state.vertices)),
            ButtonState(),
        )

    def press(self, world: World, state: State, button: str) -> State:
        """Change band or view, close the outline, name the gas, take back, or finish."""
        if state.done:
            return state
        if button in ("+band", "-band"):
            band = state.band + (1 if button == "+band" else -1)
            return replace(state, band=band) if 0 <= band < BANDS else state
        if button == "Ratio":
            return replace(state, ratio=not state.ratio)
        if button == "Close":
            return replace(state, closed=True) if _closable(state) else state
        if button.startswith("Gas"):
            nameable = state.closed and not state.gas
            return replace(state, gas=button[-1]) if nameable else state
        return _undo(state) if button == "Undo" else replace(state, done=True)

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """Add a vertex to the open outline."""
        if state.done or state.closed or len(state.vertices) == MOST:
            return state
        return replace(state, vertices=(*state.vertices, (x, y)))

    def draw(self, world: World, state: State) -> View:
        """The band or its ratio, with the outline and each gas's bands on it."""
        corners = state.vertices + (state.vertices[:1] if state.closed else ())
        first = tuple(Mark("ring", x, y, 5, LINE) for x, y in state.vertices[:1])
        rest = tuple(Mark("dot", x, y, 2, LINE) for x, y in state.vertices[1:])
        return View(
            state.band + (BANDS if state.ratio else 0),
            first + rest,
            tuple(Stroke(*a, *b, LINE) for a, b in pairwise(corners)),
            (
                ("Band", f"{state.band + 1:02d}/{BANDS}"),
                ("View", "ratio" if state.ratio else "plain"),
                ("Points", f"{len(state.vertices):02d}"),
                ("Gas", state.gas or "-"),
            ),
            (Label(LEGEND, CANVAS_SIZE // 2, CANVAS_SIZE - 11, INK),),
        )

    def latents(self, world: World, state: State) -> Latents:
        """Position is the band in view."""
        kind = mistake_kind(world, state)
        right = min(followed(world, state.vertices)[0], world.count)
        closed = state.closed and around(world, state.vertices)
        if closed:
            right = world.count
        parts = right + closed + (closed and state.gas == world.gas)
        return Latents(state.band, BANDS, parts / (world.count + 2), bool(kind), kind)

    def phase(self, world: World, state: State, button: str) -> str:
        """Looking round is exploring before the first vertex, and verifying after it."""
        if button in ("Undo", "Done"):
            return "correct" if button == "Undo" else "finish"
        if button in ("+band", "-band", "Ratio", ""):
            return "verify" if state.vertices else "explore"
        return "annotate"

    def score(self, world: World, state: State) -> Outcome:
        """Mean of the outline (1 from an IoU of 0.85 on) and of the gas."""
        iou = _iou(world, state.vertices) if state.closed else 0.0
        named = float(state.gas == world.gas)
        counts = {"iou": iou, "gas": named, "vertices": float(len(state.vertices))}
        score = (min(1.0, iou / FULL_IOU) + named) / 2
        return Outcome(score, state.done and iou >= SUCCESS_IOU and named > 0, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _closable(state: State) -> bool:
    return not state.closed and len(state.vertices) >= VERTICES[0]


def _undo(state: State) -> State:
    """Without the gas, else opened again, else without the last vertex."""
    if state.gas:
        return replace(state, gas="")
    if state.closed:
        return replace(state, closed=False)
    return replace(state, vertices=state.vertices[:-1])


@lru_cache(maxsize=64)
def _iou(world: World, vertices: tuple[tuple[int, int], ...]) -> float:
    truth, drawn = filled(world.rim), filled(np.array(vertices, dtype=float))
    return float((truth & drawn).sum() / max(1, (truth | drawn).sum()))
