"""Match four outlines with their turned copies among five candidates. Held out of training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.shapes import blend, label_sprite
from bcprobe.gui.view import RGB, Mark, Stroke, View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.rng import generator
from bcprobe.types import CANVAS_SIZE, Latents, Outcome

OUTLINES, CANDIDATES = 4, 5
#: A click within so many px of the middle of an item picks it.
REACH = 24
RADIUS = 19.0
LEFT, RIGHT = 58, 198
_LEFT_Y = tuple(34 + 62 * i for i in range(OUTLINES))
_RIGHT_Y = tuple(30 + 49 * j for j in range(CANDIDATES))
_PAPER: RGB = (38, 40, 48)
_INK: RGB = (232, 234, 240)
_POINTS, _HARMONICS = 72, (2, 3, 4, 5)
#: Pairs are joined by lines of these colours, in the order of the outlines.
_COLOURS = ((86, 180, 233), (230, 159, 0), (0, 190, 140), (214, 120, 170))
_ACTIVE = (240, 228, 66)


@dataclass(frozen=True)
class Settings:
    """Difficulty: ``turn`` is the most a copy is turned (rad), ``apart`` the least distance
    between two shapes' spectra (shares of the radius), ``noise`` the grain in grey levels."""

    turn: float
    apart: float
    noise: float


SETTINGS = {
    "easy": Settings(turn=0.35, apart=0.22, noise=2.0),
    "default": Settings(turn=1.05, apart=0.16, noise=4.0),
    "hard": Settings(turn=math.pi, apart=0.10, noise=9.0),
}


@dataclass(frozen=True, eq=False)
class World:
    """Shapes and where their copies stand.

    ``shapes`` float [5, 72, 2] px are closed outlines around the origin, the last one a
    candidate without a partner; ``turns`` float [5] rad turn each one's copy; ``match[i]`` is
    the candidate that copies outline i; ``grain`` seeds the noise.
    """

    settings: Settings
    shapes: NDArray[np.float64]
    turns: NDArray[np.float64]
    match: tuple[int, ...]
    order: tuple[int, ...]
    grain: int


@dataclass(frozen=True)
class State:
    """Picks in order: an outline, its candidate, an outline, ...; an odd one is half a pair."""

    picks: tuple[int, ...] = ()
    done: bool = False

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Outline and candidate of every line drawn."""
        return tuple(zip(self.picks[0::2], self.picks[1::2], strict=False))

    @property
    def picked(self) -> int | None:
        """The outline whose match is due, if one is picked."""
        return self.picks[-1] if len(self.picks) % 2 else None


def place_of(candidate: bool, index: int) -> tuple[int, int]:
    """Middle (x, y) of an outline or a candidate on the canvas, px."""
    return (RIGHT, _RIGHT_Y[index]) if candidate else (LEFT, _LEFT_Y[index])


def has_mistake(world: World, state: State) -> bool:
    """Whether a line joins two different shapes."""
    return any(world.match[outline] != candidate for outline, candidate in state.pairs)


class ShapeMatching:
    """Shape matching.

    Description: four outlines on the left; on the right their copies, turned and in another
    order, and one more shape that fits none.
    Instruction: click an outline, then its match on the right; when all four are joined,
    press Done.
    Actions: clicks on shapes, Undo (takes the last click back), Done.
    Observation: the picked outline is ringed; a line joins each pair.
    Success: Done, and all four pairs right.
    Settings: `Settings` (easy, default, hard).
    Latents: position is the pair being made; a mistake (identity) is a line between two
    different shapes; progress is the share of pairs rightly made.
    """

    name = "shape_matching"
    title = "Shape matching"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw five shapes that differ, the turn of each copy, and the candidates' order."""
        settings = SETTINGS[difficulty]
        order = tuple(int(k) for k in rng.permutation(CANDIDATES))
        return World(
            settings=settings,
            shapes=_shapes(settings.apart, rng),
            turns=rng.uniform(0.3, 1.0, CANDIDATES)
            * rng.choice([-1, 1], CANDIDATES)
            * settings.turn,
            match=tuple(order.index(i) for i in range(OUTLINES)),
            order=order,
            grain=int(rng.integers(1 << 30)),
        )

    def images(self, world: World) -> NDArray[np.uint8]:
        """The sheet of shapes, numbered and lettered: uint8 [1, 256, 256, 3]."""
        ink = np.zeros((CANVAS_SIZE, CANVAS_SIZE))
        for i in range(OUTLINES):
            _draw(ink, world.shapes[i], place_of(False, i))
        for j, shape in enumerate(world.order):
            turned = world.shapes[shape] @ _turn(world.turns[shape]).T
            _draw(ink, turned, place_of(True, j))
        grain = generator("sheet", world.grain).normal(size=(CANVAS_SIZE, CANVAS_SIZE))
        paper, full = np.array(_PAPER, dtype=float), np.array(_INK, dtype=float)
        sheet = paper + ink[..., None] * (full - paper)
        sheet = sheet + world.settings.noise * grain[..., None]
        image = np.rint(np.clip(sheet, 0, 255)).astype(np.uint8)
        for i, y in enumerate(_LEFT_Y):
            _write(image, str(i + 1), 16, y)
        for j, y in enumerate(_RIGHT_Y):
            _write(image, "ABCDE"[j], 241, y)
        return image[None]

    def open(self, world: World) -> State:
        """Nothing picked."""
        return State()

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """Undo, Done."""
        return ButtonState(enabled=bool(state.picks)), ButtonState()

    def press(self, world: World, state: State, button: str) -> State:
        """Take the last click back, or finish."""
        if state.done:
            return state
        if button == "Undo":
            return replace(state, picks=state.picks[:-1])
        return replace(state, done=True) if button == "Done" else state

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """Pick the free outline, or once one is picked the free candidate, at a point."""
        if state.done:
            return state
        due = state.picked is not None
        taken = state.picks[1::2] if due else state.picks[0::2]
        for index in range(CANDIDATES if due else OUTLINES):
            middle = place_of(due, index)
            if index not in taken and math.dist(middle, (x, y)) <= REACH:
                return replace(state, picks=(*state.picks, index))
        return state

    def draw(self, world: World, state: State) -> View:
        """The sheet, a line for each pair, a ring around the picked outline."""
        lines = tuple(
            Stroke(LEFT + 24, _LEFT_Y[i], RIGHT - 24, _RIGHT_Y[j], _COLOURS[i])
            for i, j in state.pairs
        )
        marks = tuple(Mark("dot", LEFT + 24, _LEFT_Y[i], 3, _COLOURS[i]) for i, _ in state.pairs)
        marks += tuple(Mark("dot", RIGHT - 24, _RIGHT_Y[j], 3, _COLOURS[i]) for i, j in state.pairs)
        if state.picked is not None:
            marks += (Mark("ring", LEFT, _LEFT_Y[state.picked], 27, _ACTIVE),)
        return View(
            0,
            marks,
            lines,
            (("Pairs", f"{len(state.pairs)}/{OUTLINES}"), ("Pick", _due(state))),
        )

    def latents(self, world: World, state: State) -> Latents:
        """Position is the pair being made."""
        mistake = has_mistake(world, state)
        return Latents(
            position=min(len(state.pairs), OUTLINES - 1),
            position_count=OUTLINES,
            progress=_right(world, state) / OUTLINES,
            mistake=mistake,
            mistake_kind="identity" if mistake else "",
        )

    def phase(self, world: World, state: State, button: str) -> str:
        """Undo corrects, Done finishes, everything else makes pairs."""
        return {"Undo": "correct", "Done": "finish"}.get(button, "annotate")

    def score(self, world: World, state: State) -> Outcome:
        """Share of the four pairs that are right; success needs them all."""
        right = _right(world, state)
        counts = {"pairs": float(len(state.pairs)), "right": float(right)}
        return Outcome(right / OUTLINES, state.done and right == OUTLINES, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _right(world: World, state: State) -> int:
    return sum(world.match[outline] == candidate for outline, candidate in state.pairs)


def _due(state: State) -> str:
    if len(state.pairs) == OUTLINES:
        return "-"
    return "match" if state.picked is not None else "shape"


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _shapes(apart: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Outlines [5, 72, 2] whose spectra differ by ``apart`` or more, as far as 60 tries allow."""
    kept: list[NDArray[np.float64]] = []
    spectra: list[NDArray[np.float64]] = []
    tries = 0
    while len(kept) < CANDIDATES:
        sizes = rng.uniform(0.0, 0.34, len(_HARMONICS)) * (1.0, 0.9, 0.7, 0.5)
        phases = rng.uniform(0, 2 * np.pi, len(_HARMONICS))
        tries += 1
        if tries < 60 and any(np.linalg.norm(sizes - other) < apart for other in spectra):
            continue
        spectra.append(sizes)
        kept.append(_outline(sizes, phases))
    return np.stack(kept)


def _outline(sizes: NDArray[np.float64], phases: NDArray[np.float64]) -> NDArray[np.float64]:
    angles = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    waves = np.cos(np.array(_HARMONICS)[:, None] * angles + phases[:, None])
    radius = 1 + (sizes[:, None] * waves).sum(0)
    points = radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points * RADIUS / np.hypot(*points.T).max()


def _draw(ink: NDArray[np.float64], shape: NDArray[np.float64], middle: tuple[int, int]) -> None:
    """Draw an outline 2 px wide around a point, as coverage 0-1.

    Only the pixels around each of its segments are looked at; all others are too far away.
    """
    reach = int(RADIUS) + 3
    along = np.roll(shape, -1, axis=0) - shape
    half = math.ceil(np.hypot(*along.T).max() / 2 + 2)
    first = np.rint(shape + along / 2).astype(np.int64) - half  # (segment, 2)
    near = np.clip(first[:, :, None] + np.arange(2 * half + 1), -reach, reach)
    columns, rows = near[:, 0, None, :], near[:, 1, :, None]  # (segment, y, x)
    (x, y), (dx, dy) = (part[:, :, None, None] for part in (shape.T, along.T))
    x, y = columns - x, rows - y
    share = np.clip((x * dx + y * dy) / (dx**2 + dy**2), 0, 1)
    squared = np.full((2 * reach + 1, 2 * reach + 1), np.inf)
    found = (x - share * dx) ** 2 + (y - share * dy) ** 2
    np.minimum.at(squared, (rows + reach, columns + reach), found)
    left, top = middle[0] - reach, middle[1] - reach
    window = ink[top : top + len(squared), left : left + len(squared)]
    np.maximum(window, np.clip(1.5 - np.sqrt(squared), 0, 1), out=window)


def _write(image: NDArray[np.uint8], text: str, x: int, y: int) -> None:
    """Write a text centred on a canvas point."""
    tint, alpha = label_sprite(text, _INK)
    height, width = alpha.shape
    left, top = x - width // 2, y - height // 2
    blend(image[top : top + height, left : left + width], tint, alpha)
