"""How an annotator places keypoints: it plays the video, then goes frame by frame, tab by tab."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import Point, Region, Target
from bcprobe.annotators.moves import Memory, Plan, correct, follow, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.animal_limb_tracking import (
    KEYPOINTS,
    OTHER_SIDE,
    TOLERANCE,
    AnimalLimbTracking,
    State,
    World,
    mistake_kind,
)
from bcprobe.tasks.walking_animal import FRAMES
from bcprobe.types import CANVAS_SIZE

TASK = AnimalLimbTracking()
LAST = FRAMES - 1
#: Chances: playing the video back before the work; checking the frames after it.
PLAY_BACK, CHECK = 0.96, 0.3
#: A mistaken mark lies between these distances (px) from the keypoint, in tiles of this side.
MISTAKE_RANGE, TILE = (12, 30), 4
#: Ways to check a mark before it is undone: the frame before and back, the frame after.
LOOKS: tuple[Plan, ...] = (("-t", "+t"), ("+t",))


class AnimalLimbPolicy:
    """Policy for `bcprobe.tasks.animal_limb_tracking.AnimalLimbTracking`.

    Memory's stages are ``fresh``, ``back`` (playing back), ``work`` and ``checked``.
    """

    habits = Habits(mistaken=0.42)

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
        left = work_left(state)
        if left:
            return self._annotate(world, state, replace(memory, stage="work"), persona, *left)
        if memory.stage == "checked":
            return (press("Done", memory),)
        checked = replace(memory, stage="checked")
        back: Plan = ("-t",) * (state.t - 1)
        if not state.t:
            return (press("Done", checked),)
        return (
            press("Done", checked, 1 - CHECK),
            press("-t", replace(checked, plan=back), CHECK),
        )

    def _explore(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Play the video to its end and back; now and then begin at the end."""
        if memory.stage == "fresh" and state.t < LAST:
            return (press("+t", memory),)
        if memory.stage == "fresh":
            work = replace(memory, stage="work", plan=("-t",) * (LAST - 1))
            back = press("-t", replace(memory, stage="back"), PLAY_BACK)
            return (back, press("-t", work, 1 - PLAY_BACK))
        if state.t > 0:
            return (press("-t", memory),)
        return self._annotate(world, state, replace(memory, stage="work"), persona, 0, 0)

    def _annotate(
        self, world: World, state: State, memory: Memory, persona: Persona, t: int, keypoint: int
    ) -> tuple[Option, ...]:
        """Go to the frame, choose the tab, place the keypoint."""
        if state.t != t:
            return (press("+t" if t > state.t else "-t", memory),)
        if state.tab != keypoint:
            return (press(KEYPOINTS[keypoint], memory),)
        x, y = (float(v) for v in world.keypoints[t, keypoint])
        aim, wrong = Point(x, y, persona.jitter), _mistakes(world, t, keypoint)
        if "identity" not in wrong:
            return put(aim, memory, persona, wrong)
        swap = {"identity": wrong["identity"]}  # head and tail have no other side: make up for it
        return (*put(aim, memory, persona, wrong, 0.5), *put(aim, memory, persona, swap, 0.5))


def work_left(state: State) -> tuple[int, int] | None:
    """The first frame that lacks a keypoint and the first keypoint it lacks."""
    placed = state.placed()
    for t in range(FRAMES):
        for keypoint in range(len(KEYPOINTS)):
            if (t, keypoint) not in placed:
                return t, keypoint
    return None


def _mistakes(world: World, t: int, keypoint: int) -> dict[str, Target]:
    """A place off the joint; for a limb also the same limb of the other side."""
    x, y = world.keypoints[t, keypoint]
    found: dict[str, Target] = {}
    corners = _tiles(world, t, keypoint)
    if len(corners):
        found["spatial"] = Region(corners, TILE)
    other = OTHER_SIDE.get(keypoint)
    if other is not None:
        ox, oy = world.keypoints[t, other]
        if math.hypot(ox - x, oy - y) >= 2 * TOLERANCE + 2:
            found["identity"] = Point(float(ox), float(oy), 0.8)
    return found


def _ring() -> NDArray[np.int64]:
    reach = MISTAKE_RANGE[1]
    axis = np.arange(-reach, reach, TILE)
    corners = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    distance = np.hypot(*(corners + TILE / 2).T)
    return corners[(distance >= MISTAKE_RANGE[0] + TILE) & (distance <= reach - TILE)]


_RING = _ring()


def _tiles(world: World, t: int, keypoint: int) -> NDArray[np.int64]:
    """Tiles around a keypoint, on the canvas and off the same limb of the other side."""
    corners = _RING + np.rint(world.keypoints[t, keypoint]).astype(np.int64)
    inside = ((corners >= 0) & (corners + TILE <= CANVAS_SIZE)).all(axis=1)
    other = OTHER_SIDE.get(keypoint)
    if other is not None:
        gap = np.hypot(*(corners + TILE / 2 - world.keypoints[t, other]).T)
        inside &= gap >= TOLERANCE + TILE
    return corners[inside]
