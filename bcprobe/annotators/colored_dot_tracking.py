"""How an annotator traces colored dots.

It peeks at the projection, sweeps the stack up (and often down again), marks slice by
slice from the end it stands at, now and then looks back, verifies, and presses Done. It
undoes what is wrong, at once or after a look around.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import Point, Region
from bcprobe.annotators.moves import Memory, correct, follow, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.colored_dot_tracking import (
    SLICES,
    ColoredDotTracking,
    State,
    World,
    has_mistake,
)
from bcprobe.types import CANVAS_SIZE

TASK = ColoredDotTracking()
TOP = SLICES - 1
#: Habits, as chances: first peek at the projection, sweep back down, a look back or a peek
#: after a right mark (times carefulness), and a walk through the stack after the last check.
PEEK, SWEEP_BACK, LOOK_BACK, PEEK_BETWEEN, WALK = 0.95, 0.95, 0.07, 0.04, 0.4
#: A mistaken mark lies between these distances (px) from its dot, in tiles of this side.
MISTAKE_RANGE, TILE = (12, 40), 4


@dataclass(frozen=True)
class DotMemory(Memory):
    """Stages are ``fresh``, ``up``, ``down``, ``work``, ``verified`` and ``walked``.

    ``direction``: +1 marks upwards, -1 downwards. ``just_marked``: it placed a mark with its
    last click.
    """

    direction: int = 1
    just_marked: bool = False


class ColoredDotPolicy:
    """Policy for `bcprobe.tasks.colored_dot_tracking.ColoredDotTracking`."""

    #: So that the shares of mistakes and Undos lie inside the range of the paper's people.
    habits = Habits(mistaken=0.32, error_rates=(0.07, 0.20))

    def begin(self) -> DotMemory:
        """Nothing seen yet."""
        return DotMemory()

    def options(
        self, world: World, state: State, memory: DotMemory, persona: Persona
    ) -> tuple[Option, ...]:
        """Deal with a mistake first, then with a plan, then with the work left."""
        calm = replace(memory, just_marked=False)
        if has_mistake(world, state):
            return correct(TASK, world, state, calm, persona, _looks(state, memory))
        memory, calm = replace(memory, alarmed=False), replace(calm, alarmed=False)
        planned = follow(TASK, world, state, calm)
        if planned:
            return planned
        if state.mip:
            return (press("MIP", replace(calm, plan=())),)
        memory = replace(memory, plan=())
        left = sorted(set(range(SLICES)) - {mark[0] for mark in state.marks})
        if not left:
            return self._verify(state, memory, persona)
        if not state.marks and memory.stage in ("fresh", "up", "down"):
            return self._explore(world, state, memory, persona)
        return self._annotate(world, state, replace(memory, stage="work"), persona, left)

    def _explore(
        self, world: World, state: State, memory: DotMemory, persona: Persona
    ) -> tuple[Option, ...]:
        up = replace(memory, stage="up")
        if memory.stage == "fresh" and state.z < TOP:
            peek = press("MIP", replace(up, plan=("MIP",)), PEEK)
            return (peek, press("+z", up, 1 - PEEK))
        if memory.stage != "down" and state.z < TOP:
            return (press("+z", up),)
        if memory.stage != "down":
            down = press("-z", replace(memory, stage="down"), SWEEP_BACK)
            start = replace(memory, stage="work", direction=-1)
            return (down, *self._mark(world, state, start, persona, 1 - SWEEP_BACK))
        if state.z > 0:
            return (press("-z", memory),)
        return self._mark(world, state, replace(memory, stage="work", direction=1), persona, 1.0)

    def _annotate(
        self, world: World, state: State, memory: DotMemory, persona: Persona, left: list[int]
    ) -> tuple[Option, ...]:
        """Go to the next slice that lacks a mark and mark it, looking back now and then."""
        goal = left[0] if memory.direction > 0 else left[-1]
        if goal == state.z:
            return self._mark(world, state, memory, persona, 1.0)
        step = "+z" if goal > state.z else "-z"
        if not memory.just_marked:
            return (press(step, memory),)
        calm = replace(memory, just_marked=False)
        habits = [
            (LOOK_BACK, _look_back(memory.direction)),
            (PEEK_BETWEEN, ("MIP", "MIP")),
        ]
        extra = tuple(
            press(plan[0], replace(calm, plan=plan[1:]), chance * persona.carefulness)
            for chance, plan in habits
            if len(state.marks) > 2
        )
        rest = 1 - sum(option.probability for option in extra)
        return (press(step, calm, rest), *extra)

    def _verify(self, state: State, memory: DotMemory, persona: Persona) -> tuple[Option, ...]:
        """All slices are rightly marked: look at the projection, perhaps walk the stack, Done."""
        calm = replace(memory, just_marked=False)
        if memory.stage == "walked":
            return (press("Done", calm),)
        if memory.stage != "verified":
            return (press("MIP", replace(calm, stage="verified", plan=("MIP",))),)
        walked = replace(calm, stage="walked")
        step, count = ("-z", state.z) if state.z > TOP / 2 else ("+z", TOP - state.z)
        walk = press(step, replace(walked, plan=(step,) * (count - 1)), WALK)
        return (press("Done", calm, 1 - WALK), walk)

    def _mark(
        self, world: World, state: State, memory: DotMemory, persona: Persona, weight: float
    ) -> tuple[Option, ...]:
        """Mark the slice in view, rightly or by mistake."""
        x, y = (float(v) for v in world.centres[state.z])
        after = replace(memory, just_marked=True)
        wrong = {"spatial": Region(mistake_tiles(x, y), TILE)}
        return put(Point(x, y, persona.jitter), after, persona, wrong, weight)


def _looks(state: State, memory: DotMemory) -> list[tuple[str, ...]]:
    """Ways to check a mistake: one slice on; the projection; back and the projection."""
    on, back = ("+z", "-z") if memory.direction > 0 else ("-z", "+z")
    return [(on,), ("MIP", "MIP"), (back, "MIP", "MIP")] if not state.mip else []


def _look_back(direction: int) -> tuple[str, ...]:
    back, on = ("-z", "+z") if direction > 0 else ("+z", "-z")
    return (back, back, on, on)


def _ring() -> NDArray[np.int64]:
    """Tiles whose every pixel lies between the mistake distances from the origin."""
    reach = MISTAKE_RANGE[1]
    corners = np.stack(
        np.meshgrid(np.arange(-reach, reach, TILE), np.arange(-reach, reach, TILE)), axis=-1
    ).reshape(-1, 2)
    offsets = np.stack(np.meshgrid(np.arange(TILE), np.arange(TILE)), axis=-1).reshape(1, -1, 2)
    distance = np.hypot(*np.moveaxis(corners[:, None] + offsets, -1, 0))
    low, high = MISTAKE_RANGE
    return corners[(distance >= low + 1).all(axis=1) & (distance <= high - 1).all(axis=1)]


_RING = _ring()
_EDGE = 6


def mistake_tiles(x: float, y: float) -> NDArray[np.int64]:
    """Corners int [n, 2] of the canvas tiles where a mistaken mark may land."""
    corners = _RING + np.rint([x, y]).astype(np.int64)
    inside = ((corners >= _EDGE) & (corners + TILE <= CANVAS_SIZE - _EDGE)).all(axis=1)
    return corners[inside]
