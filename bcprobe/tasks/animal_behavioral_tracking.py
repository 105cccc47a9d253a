"""Mark nose and tail base of every mouse in an arena, frame by frame, and keep them apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import RGB, Label, Mark, Stroke, View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.tasks.animals import shake
from bcprobe.tasks.arena_mice import COATS, FLOORS, FRAMES, Arena, Mice, draw_frame, draw_mice
from bcprobe.types import Latents, Outcome

TOLERANCE = 6.0
SUCCESS_SHARE = 0.95
MICE = ("Mouse 1", "Mouse 2", "Mouse 3")
ENDS = ("Front", "Back")
#: Okabe and Ito's colours, one per mouse.
COLOURS: tuple[RGB, ...] = ((86, 180, 233), (230, 159, 0), (0, 190, 120))


class Marker(NamedTuple):
    """A marker: frame, mouse, end (0 front, 1 back), canvas point in px."""

    t: int
    mouse: int
    end: int
    x: int
    y: int


@dataclass(frozen=True)
class Settings:
    """Difficulty: ``contrast`` of the coat (0-1), ``grain`` in grey levels, ``pace`` the range
    of px a frame, ``three`` the chance of a third mouse."""

    contrast: float
    grain: float
    pace: tuple[float, float]
    three: float


SETTINGS = {
    "easy": Settings(contrast=1.0, grain=2.0, pace=(10.0, 16.0), three=0.0),
    "default": Settings(contrast=0.9, grain=4.0, pace=(15.0, 24.0), three=0.5),
    "hard": Settings(contrast=0.55, grain=9.0, pace=(20.0, 27.0), three=1.0),
}


@dataclass(frozen=True, eq=False)
class World:
    """The mice, the arena, and ``ends`` float [5 frames, mouse, 2, 2]: nose and tail base, px.

    ``shaken``: frames that the camera shows shifted, (t, x, y) px; no drawn world has any.
    """

    settings: Settings
    mice: Mice
    arena: Arena
    ends: NDArray[np.float64]
    shaken: tuple[tuple[int, int, int], ...] = ()

    @cached_property
    def truth(self) -> list[list[list[list[float]]]]:
        """The ends as plain numbers, ``truth[t][mouse][end]`` = [x, y]."""
        found: list[list[list[list[float]]]] = self.ends.tolist()
        return found


@dataclass(frozen=True)
class State:
    """Frame in view, mouse and end chosen, and the markers in order of placing.

    A marker placed again in a frame moves there; the earlier one lies below on the stack.
    """

    t: int = 0
    mouse: int = 0
    end: int = 0
    marks: tuple[Marker, ...] = ()
    done: bool = False

    def placed(self) -> dict[tuple[int, int, int], tuple[int, int]]:
        """Where each marker stands: (t, mouse, end) -> (x, y)."""
        return {mark[:3]: mark[3:] for mark in self.marks}


def is_right(world: World, t: int, mouse: int, end: int, x: int, y: int) -> bool:
    """Whether a point lies within `TOLERANCE` px of an end of a mouse."""
    truth = world.truth[t][mouse][end]
    return math.hypot(truth[0] - x, truth[1] - y) <= TOLERANCE


def right_marks(world: World, state: State) -> int:
    """How many markers stand right."""
    return _judge(world, state.marks)[0]


def mistake_kind(world: World, state: State) -> str:
    """``identity`` if the last wrong marker is on another end or mouse, else ``spatial``.

    Empty if no marker is wrong.
    """
    return _judge(world, state.marks)[1]


@lru_cache(maxsize=16)
def _judge(world: World, marks: tuple[Marker, ...]) -> tuple[int, str]:
    """How many markers stand right, and the kind of the last wrong one."""
    right, kind = 0, ""
    for (t, mouse, end), (x, y) in State(marks=marks).placed().items():
        if is_right(world, t, mouse, end, x, y):
            right += 1
            continue
        ends = (point for animal in world.truth[t] for point in animal)
        swapped = any(math.dist(point, (x, y)) <= TOLERANCE for point in ends)
        kind = "identity" if swapped else "spatial"
    return right, kind


class AnimalBehavioralTracking:
    """Animal behavioral tracking.

    Description: five video frames of two or three mice that look alike and cross each other's
    paths in an arena, seen from above; the first frame numbers them.
    Instruction: in every frame mark front (nose) and back (tail base) of every mouse; Done.
    Actions: mouse 1-3, Front, Back (what is chosen stays chosen), +t, -t, Undo, Done, clicks.
    Observation: the frame; its markers in the mouse's colour, ring for front and square for
    back, joined by a line; those of the frame before as dots with the mouse's number.
    Success: Done, and at least 95 % of the markers within 6 px and rightly named.
    Settings: `Settings` (easy, default, hard).
    Latents: position is the frame; a mistake is a marker off its end (spatial) or on another
    end or mouse (identity); progress is the share of markers right.
    """

    name = "animal_behavioral_tracking"
    title = "Animal behavioral tracking"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        *(Button(name, name, "select", "Animal", "select") for name in MICE),
        *(Button(name, name, "select", "Marker", "view") for name in ENDS),
        Button("+t", "+t", "navigate", "Frame", "forward"),
        Button("-t", "-t", "navigate", "Frame", "back"),
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw mice whose paths cross, and an arena."""
        settings = SETTINGS[difficulty]
        mice = draw_mice(3 if rng.random() < settings.three else 2, settings.pace, rng)
        kind = int(rng.integers(len(COATS)))
        arena = Arena(
            coat=kind,
            floor=int((kind + rng.integers(2) * 2) % len(FLOORS)) if kind != 2 else 2,
            contrast=settings.contrast,
            grain=settings.grain,
            droppings=tuple(tuple(p) for p in rng.uniform(25, 230, (6, 2)).tolist()),
            offset=(int(rng.integers(256)), int(rng.integers(256))),
        )
        return World(settings, mice, arena, np.stack([mice.noses, mice.tails], axis=2))

    def images(self, world: World) -> NDArray[np.uint8]:
        """The video: uint8 [5, 256, 256, 3]."""
        video = np.stack([draw_frame(world.mice, world.arena, t) for t in range(FRAMES)])
        return shake(video, world.shaken)

    def open(self, world: World) -> State:
        """First frame, front of mouse 1 chosen, nothing marked."""
        return State()

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """Mice, ends, +t, -t, Undo, Done; a mouse is ticked once both its ends are marked."""
        here = {mark[1:3] for mark in state.marks if mark.t == state.t}
        return (
            *(
                ButtonState(
                    enabled=k < world.mice.count,
                    active=k == state.mouse,
                    ticked={(k, 0), (k, 1)} <= here,
                )
                for k in range(len(MICE))
            ),
            *(
                ButtonState(active=k == state.end, ticked=(state.mouse, k) in here)
                for k in range(len(ENDS))
            ),
            ButtonState(enabled=state.t < FRAMES - 1),
            ButtonState(enabled=state.t > 0),
            ButtonState(enabled=bool(state.marks)),
            ButtonState(),
        )

    def press(self, world: World, state: State, button: str) -> State:
        """Choose a mouse or an end, move, take the last marker back, or finish."""
        if state.done:
            return state
        if button in MICE:
            mouse = MICE.index(button)
            return replace(state, mouse=mouse) if mouse < world.mice.count else state
        if button in ENDS:
            return replace(state, end=ENDS.index(button))
        if button in ("+t", "-t"):
            t = state.t + (1 if button == "+t" else -1)
            return replace(state, t=t) if 0 <= t < FRAMES else state
        if button == "Undo":
            return replace(state, marks=state.marks[:-1])
        return replace(state, done=True) if button == "Done" else state

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """Mark the chosen end of the chosen mouse in this frame."""
        if state.done:
            return state
        return replace(state, marks=(*state.marks, Marker(state.t, state.mouse, state.end, x, y)))

    def draw(self, world: World, state: State) -> View:
        """The frame, its markers, and those of the frame before."""
        placed = state.placed()
        here = [(k, e, *p) for (t, k, e), p in placed.items() if t == state.t]
        ghosts = [(k, e, *p) for (t, k, e), p in placed.items() if t == state.t - 1]
        marks = [Mark("dot", x, y, 1 if e else 2, COLOURS[k]) for k, e, x, y in ghosts]
        for k, e, x, y in here:
            marks.append(Mark("square" if e else "ring", x, y, 3 if e else 4, COLOURS[k]))
        both = {k: (*placed[state.t, k, 0], *placed[state.t, k, 1]) for k, e, _, _ in here
                if not e and (state.t, k, 1) in placed}  # fmt: skip
        names = [Label(str(k + 1), x, y - 9, COLOURS[k]) for k, e, x, y in ghosts if not e]
        if state.t == 0:
            names = [_number(world, k) for k in range(world.mice.count)]
        return View(
            state.t,
            tuple(marks),
            tuple(Stroke(*ends, COLOURS[k], 1) for k, ends in both.items()),
            (
                ("T", f"{state.t:02d}/{FRAMES - 1:02d}"),
                ("Marker", f"{state.mouse + 1} {ENDS[state.end].ljust(5)}"),
                ("Here", f"{len(here)}/{2 * world.mice.count}"),
            ),
            tuple(names),
        )

    def latents(self, world: World, state: State) -> Latents:
        """Position is the frame in view."""
        kind = mistake_kind(world, state)
        return Latents(
            position=state.t,
            position_count=FRAMES,
            progress=right_marks(world, state) / world.ends[..., 0].size,
            mistake=bool(kind),
            mistake_kind=kind,
        )

    def phase(self, world: World, state: State, button: str) -> str:
        """Moving towards frames that lack markers is annotating, elsewhere verifying."""
        if button in ("Undo", "Done"):
            return "correct" if button == "Undo" else "finish"
        if button not in ("+t", "-t"):
            return "annotate"
        if not state.marks:
            return "explore"
        if mistake_kind(world, state):
            return "verify"
        counts = [0] * FRAMES
        for t, _, _ in state.placed():
            counts[t] += 1
        ahead = counts[state.t + 1 :] if button == "+t" else counts[: state.t]
        return "annotate" if any(count < 2 * world.mice.count for count in ahead) else "verify"

    def score(self, world: World, state: State) -> Outcome:
        """Share of the markers that stand within 6 px of the end they name."""
        right, wanted = right_marks(world, state), world.ends[..., 0].size
        share = right / wanted
        counts = {"marks": float(len(state.placed())), "right": float(right)}
        return Outcome(share, state.done and share >= SUCCESS_SHARE, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _number(world: World, mouse: int) -> Label:
    """A mouse's number in the first frame, beside the middle of its back."""
    nose, tail = world.ends[0, mouse]
    x, y = (nose + tail) / 2
    ahead = (nose - tail) / math.dist(nose, tail)
    return Label(
        str(mouse + 1), round(float(x - 20 * ahead[1])), round(float(y + 20 * ahead[0])),
        COLOURS[mouse],
    )  # fmt: skip
