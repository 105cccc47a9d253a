"""How an annotator marks mice: it plays the video, then mouse by mouse, front and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import Point, Region, Target
from bcprobe.annotators.moves import Memory, Plan, correct, follow, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.animal_behavioral_tracking import (
    ENDS,
    MICE,
    TOLERANCE,
    AnimalBehavioralTracking,
    State,
    World,
    mistake_kind,
)
from bcprobe.tasks.arena_mice import FRAMES
from bcprobe.types import CANVAS_SIZE

TASK = AnimalBehavioralTracking()
LAST = FRAMES - 1
#: Chances: playing the video back click by click; checking the frames after the work.
PLAY_BACK, CHECK = 0.96, 0.3
#: A mistaken marker lies between these distances (px) from the end, in tiles of this side.
MISTAKE_RANGE, TILE = (15, 34), 4
#: Ways to check a marker before it is undone: the frame before and back, the frame after.
LOOKS: tuple[Plan, ...] = (("-t", "+t"), ("+t",))


class AnimalBehaviorPolicy:
    """Policy for `bcprobe.tasks.animal_behavioral_tracking.AnimalBehavioralTracking`.

    Memory's stages are ``fresh``, ``back`` (playing back), ``work`` and ``checked``.
    """

    habits = Habits()

    def begin(self) -> Memory:
        """Nothing seen yet."""
        return Memory()

    def options(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Deal with a mistake first, then with a plan, then with the work left."""
        if mistake_kind(world, state):
            return correct(TASK, world, state, memory, persona, LOOKS)
        memory = replace(memory, alarmed=False)
        planned = follow(TASK, world, state, memory)
        if planned:
            return planned
        memory = replace(memory, plan=())
        if not state.marks and memory.stage in ("fresh", "back"):
            return self._explore(world, state, memory, persona)
        left = work_left(world, state)
        if left:
            return self._annotate(world, state, replace(memory, stage="work"), persona, left)
        if memory.stage == "checked" or not state.t:
            return (press("Done", memory),)
        checked = replace(memory, stage="checked")
        back: Plan = ("-t",) * (state.t - 1)
        return (
            press("Done", checked, 1 - CHECK),
            press("-t", replace(checked, plan=back), CHECK),
        )

    def _explore(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Play the video to its end and back."""
        if memory.stage == "fresh" and state.t < LAST:
            return (press("+t", memory),)
        if memory.stage == "fresh":
            work = replace(memory, stage="work", plan=("-t",) * (LAST - 1))
            back = press("-t", replace(memory, stage="back"), PLAY_BACK)
            return (back, press("-t", work, 1 - PLAY_BACK))
        if state.t > 0:
            return (press("-t", memory),)
        return self._annotate(world, state, replace(memory, stage="work"), persona, (0, 0, 0))

    def _annotate(
        self,
        world: World,
        state: State,
        memory: Memory,
        persona: Persona,
        due: tuple[int, int, int],
    ) -> tuple[Option, ...]:
        """Go to the frame, choose the mouse, choose the end, mark it."""
        t, mouse, end = due
        if state.t != t:
            return (press("+t" if t > state.t else "-t", memory),)
        if state.mouse != mouse:
            return (press(MICE[mouse], memory),)
        if state.end != end:
            return (press(ENDS[end], memory),)
        x, y = (float(v) for v in world.ends[t, mouse, end])
        return put(Point(x, y, persona.jitter), memory, persona, _mistakes(world, due))


def work_left(world: World, state: State) -> tuple[int, int, int] | None:
    """The first marker that is missing: frame, mouse, end."""
    placed = state.placed()
    for t in range(FRAMES):
        for mouse in range(world.mice.count):
            for end in range(len(ENDS)):
                if (t, mouse, end) not in placed:
                    return t, mouse, end
    return None


def _mistakes(world: World, due: tuple[int, int, int]) -> dict[str, Target]:
    """A place off every end, and the ends of all mice but the one that is due."""
    t, mouse, end = due
    truth = world.ends[t, mouse, end]
    others = np.delete(world.ends[t].reshape(-1, 2), 2 * mouse + end, axis=0)
    found: dict[str, Target] = {}
    corners = _tiles(truth, others)
    if len(corners):
        found["spatial"] = Region(corners, TILE)
    found["identity"] = Region(np.rint(others - TILE / 2).astype(np.int64), TILE)
    return found


def _ring() -> NDArray[np.int64]:
    reach = MISTAKE_RANGE[1]
    axis = np.arange(-reach, reach, TILE)
    corners = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    distance = np.hypot(*(corners + TILE / 2).T)
    return corners[(distance >= MISTAKE_RANGE[0] + TILE) & (distance <= reach - TILE)]


_RING = _ring()


def _tiles(truth: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.int64]:
    """Tiles around an end, on the canvas and off all other ends."""
    corners = _RING + np.rint(truth).astype(np.int64)
    inside = ((corners >= 0) & (corners + TILE <= CANVAS_SIZE)).all(axis=1)
    gaps = np.hypot(*np.moveaxis(corners[:, None] + TILE / 2 - others, -1, 0))
    return corners[inside & (gaps.min(axis=1) >= TOLERANCE + TILE)]
