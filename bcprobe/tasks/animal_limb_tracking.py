"""Place six keypoints on a walking animal in every frame of a short video."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import RGB, Label, Mark, View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.tasks.animals import shake
from bcprobe.tasks.walking_animal import FRAMES, Scenery, Walk, draw_frame, draw_walk, skeleton
from bcprobe.types import Latents, Outcome

TOLERANCE = 5.0
SUCCESS_PCK = 0.95
KEYPOINTS = ("Head", "Tail", "Front L", "Front R", "Hind L", "Hind R")
SHORT = ("H", "T", "FL", "FR", "HL", "HR")
#: The same limb of the other side.
OTHER_SIDE = {2: 3, 3: 2, 4: 5, 5: 4}
#: Okabe and Ito's colours, one per keypoint.
COLOURS: tuple[RGB, ...] = (
    (240, 228, 66), (255, 255, 255), (86, 180, 233), (230, 159, 0), (0, 200, 140), (230, 130, 190),
)  # fmt: skip
_WALLS = ((168, 176, 180), (188, 182, 166), (146, 158, 150))
_FLOORS = ((132, 122, 108), (112, 116, 112), (150, 138, 112))


@dataclass(frozen=True)
class Settings:
    """Difficulty: ``far`` is how much darker the far legs are (0-1), ``grain`` the noise in
    grey levels, ``tufts`` how many tufts of grass stand before the animal."""

    far: float
    grain: float
    tufts: int


SETTINGS = {
    "easy": Settings(far=0.5, grain=2.0, tufts=0),
    "default": Settings(far=0.4, grain=4.0, tufts=1),
    "hard": Settings(far=0.24, grain=9.0, tufts=3),
}


@dataclass(frozen=True, eq=False)
class World:
    """A walk, its scenery, and the keypoints float [6 frames, 6, 2] in canvas px (x, y).

    ``shaken``: frames that the camera shows shifted, (t, x, y) px; no drawn world has any.
    """

    settings: Settings
    walk: Walk
    scenery: Scenery
    keypoints: NDArray[np.float64]
    shaken: tuple[tuple[int, int, int], ...] = ()

    @cached_property
    def truth(self) -> list[list[list[float]]]:
        """The keypoints as plain numbers, ``truth[t][keypoint]`` = [x, y]."""
        found: list[list[list[float]]] = self.keypoints.tolist()
        return found


@dataclass(frozen=True)
class State:
    """Frame in view, tab chosen (index in `KEYPOINTS`) and marks ``(t, keypoint, x, y)``.

    A keypoint placed again in a frame moves there; its earlier mark lies below on the stack.
    """

    t: int = 0
    tab: int = 0
    marks: tuple[tuple[int, int, int, int], ...] = ()
    done: bool = False

    def placed(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Where each placed keypoint stands: (t, keypoint) -> (x, y)."""
        return {(t, keypoint): (x, y) for t, keypoint, x, y in self.marks}


def is_right(world: World, t: int, keypoint: int, x: int, y: int) -> bool:
    """Whether a mark lies within `TOLERANCE` px of its keypoint."""
    truth = world.truth[t][keypoint]
    return math.hypot(truth[0] - x, truth[1] - y) <= TOLERANCE


def right_marks(world: World, state: State) -> int:
    """How many keypoints stand right."""
    return _judge(world, state.marks)[0]


def mistake_kind(world: World, state: State) -> str:
    """``identity`` if the last wrong mark is on the limb of the other side, else ``spatial``.

    Empty if no mark is wrong.
    """
    return _judge(world, state.marks)[1]


@lru_cache(maxsize=16)
def _judge(world: World, marks: tuple[tuple[int, int, int, int], ...]) -> tuple[int, str]:
    """How many keypoints stand right, and the kind of the last wrong one."""
    right, kind = 0, ""
    for (t, keypoint), (x, y) in State(marks=marks).placed().items():
        if is_right(world, t, keypoint, x, y):
            right += 1
            continue
        other = OTHER_SIDE.get(keypoint)
        swapped = other is not None and is_right(world, t, other, x, y)
        kind = "identity" if swapped else "spatial"
    return right, kind


class AnimalLimbTracking:
    """Animal limb tracking.

    Description: six video frames of an animal that walks past from one side; the legs of the
    far side are darker; grass hides some paws.
    Instruction: in every frame choose each keypoint's tab and click its place; then Done.
    Actions: the six tabs (the chosen one stays chosen), +t, -t, Undo, Done, clicks on the frame.
    Left and right are the animal's own.
    Observation: the frame; its keypoints as rings with their initials, those of the frame
    before as small dots; ticks on the tabs done in this frame.
    Success: Done, and at least 95 % of the 36 keypoints within 5 px.
    Settings: `Settings` (easy, default, hard).
    Latents: position is the frame; a mistake is a keypoint off its joint (spatial) or on the
    limb of the other side (identity); progress is the share of keypoints right.
    """

    name = "animal_limb_tracking"
    title = "Animal limb tracking"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        *(Button(name, name, "select", "Keypoint", "select") for name in KEYPOINTS),
        Button("+t", "+t", "navigate", "Frame", "forward"),
        Button("-t", "-t", "navigate", "Frame", "back"),
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw a walk and where it goes."""
        settings = SETTINGS[difficulty]
        walk = draw_walk(rng)
        scenery = Scenery(
            wall=_WALLS[rng.integers(len(_WALLS))],
            floor=_FLOORS[rng.integers(len(_FLOORS))],
            far=settings.far,
            grain=settings.grain,
            tufts=tuple(rng.uniform(40, 216, settings.tufts).tolist()),
            offset=(int(rng.integers(256)), int(rng.integers(256))),
        )
        keypoints = np.stack([_keypoints(walk, t) for t in range(FRAMES)])
        return World(settings, walk, scenery, keypoints)

    def images(self, world: World) -> NDArray[np.uint8]:
        """The video: uint8 [6, 256, 256, 3]."""
        video = np.stack([draw_frame(world.walk, world.scenery, t) for t in range(FRAMES)])
        return shake(video, world.shaken)

    def open(self, world: World) -> State:
        """First frame, the head's tab chosen, nothing placed."""
        return State()

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """The tabs, +t, -t, Undo, Done."""
        here = {keypoint for t, keypoint, _, _ in state.marks if t == state.t}
        return (
            *(ButtonState(active=k == state.tab, ticked=k in here) for k in range(len(KEYPOINTS))),
            ButtonState(enabled=state.t < FRAMES - 1),
            ButtonState(enabled=state.t > 0),
            ButtonState(enabled=bool(state.marks)),
            ButtonState(),
        )

    def press(self, world: World, state: State, button: str) -> State:
        """Choose a tab, move, take the last mark back, or finish."""
        if state.done:
            return state
        if button in KEYPOINTS:
            return replace(state, tab=KEYPOINTS.index(button))
        if button in ("+t", "-t"):
            t = state.t + (1 if button == "+t" else -1)
            return replace(state, t=t) if 0 <= t < FRAMES else state
        if button == "Undo":
            return replace(state, marks=state.marks[:-1])
        return replace(state, done=True) if button == "Done" else state

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """Place the chosen keypoint in this frame."""
        if state.done:
            return state
        return replace(state, marks=(*state.marks, (state.t, state.tab, x, y)))

    def draw(self, world: World, state: State) -> View:
        """The frame, its keypoints, and those of the frame before."""
        placed = state.placed()
        here = [(k, *placed[state.t, k]) for k in range(6) if (state.t, k) in placed]
        ghosts = [(k, *placed[state.t - 1, k]) for k in range(6) if (state.t - 1, k) in placed]
        return View(
            state.t,
            tuple(Mark("dot", x, y, 1, _faint(COLOURS[k])) for k, x, y in ghosts)
            + tuple(Mark("ring", x, y, 4, COLOURS[k]) for k, x, y in here),
            (),
            (
                ("T", f"{state.t:02d}/{FRAMES - 1:02d}"),
                ("Keypoint", KEYPOINTS[state.tab].ljust(7)),
                ("Here", f"{len(here)}/{len(KEYPOINTS)}"),
            ),
            tuple(Label(SHORT[k], x + 12, y - 9, COLOURS[k]) for k, x, y in here),
        )

    def latents(self, world: World, state: State) -> Latents:
        """Position is the frame in view."""
        kind = mistake_kind(world, state)
        return Latents(
            position=state.t,
            position_count=FRAMES,
            progress=right_marks(world, state) / (FRAMES * len(KEYPOINTS)),
            mistake=bool(kind),
            mistake_kind=kind,
        )

    def phase(self, world: World, state: State, button: str) -> str:
        """Moving towards frames that lack keypoints is annotating, elsewhere verifying."""
        if button in ("Undo", "Done"):
            return "correct" if button == "Undo" else "finish"
        if button not in ("+t", "-t"):
            return "annotate"
        if not state.marks:
            return "explore"
        if mistake_kind(world, state):
            return "verify"
        counts = [0] * FRAMES
        for t, _ in state.placed():
            counts[t] += 1
        ahead = counts[state.t + 1 :] if button == "+t" else counts[: state.t]
        return "annotate" if any(count < len(KEYPOINTS) for count in ahead) else "verify"

    def score(self, world: World, state: State) -> Outcome:
        """Share of correct keypoints (PCK) within 5 px, over all frames."""
        right = right_marks(world, state)
        pck = right / (FRAMES * len(KEYPOINTS))
        counts = {"marks": float(len(state.placed())), "right": float(right)}
        return Outcome(pck, state.done and pck >= SUCCESS_PCK, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _faint(colour: RGB) -> RGB:
    red, green, blue = (2 * part // 3 for part in colour)
    return red, green, blue


def _keypoints(walk: Walk, t: int) -> NDArray[np.float64]:
    """Head, tail base and the four paws of a frame: float [6, 2]."""
    bones = skeleton(walk, t)
    hind_near, front_near, hind_far, front_far = bones.legs[:, 3]
    fronts, hinds = (front_far, front_near), (hind_far, hind_near)
    if walk.facing < 0:  # its left side is the near one
        fronts, hinds = fronts[::-1], hinds[::-1]
    return np.stack([bones.head[0], bones.tail[0], *fronts, *hinds])
