"""How an annotator follows a neuron.

It leafs through the stack and back, marks section by section, now and then looks back, leafs
through the last sections once more, and presses Done. It undoes what is wrong, at once or
after a look around.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, minimum_filter

from bcprobe.annotators.clicks import Point, Region
from bcprobe.annotators.moves import Memory, correct, follow, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.neuron_tracking import NeuronTracking, State, World, has_mistake
from bcprobe.types import CANVAS_SIZE

TASK = NeuronTracking()
#: Chance of a look back after a right mark (times carefulness).
LOOK_BACK = 0.08
#: Sections leafed through at the end, back and forth.
VERIFIED = 4
#: A mistaken mark lies in a neighbouring cell, at least and about so far from the target, px.
CLEAR, REACH = 4.0, 34.0


@dataclass(frozen=True)
class NeuronMemory(Memory):
    """Stages are ``fresh``, ``down``, ``work`` and ``verified``.

    ``just_marked``: it placed a mark with its last click.
    """

    just_marked: bool = False


class NeuronPolicy:
    """Policy for `bcprobe.tasks.neuron_tracking.NeuronTracking`."""

    habits = Habits()

    def begin(self) -> NeuronMemory:
        """Nothing seen yet."""
        return NeuronMemory()

    def options(
        self, world: World, state: State, memory: NeuronMemory, persona: Persona
    ) -> tuple[Option, ...]:
        """Deal with a mistake first, then with a plan, then with the work left."""
        calm = replace(memory, just_marked=False)
        if has_mistake(world, state):
            return correct(TASK, world, state, calm, persona, _LOOKS)
        memory, calm = replace(memory, alarmed=False), replace(calm, alarmed=False)
        planned = follow(TASK, world, state, calm)
        if planned:
            return planned
        memory = replace(memory, plan=())
        left = sorted(set(range(world.slices)) - {mark[0] for mark in state.marks})
        if not left:
            return self._verify(replace(memory, just_marked=False))
        if not state.marks and memory.stage in ("fresh", "down"):
            return self._explore(world, state, memory, persona)
        return self._annotate(world, state, replace(memory, stage="work"), persona, left[0])

    def _explore(
        self, world: World, state: State, memory: NeuronMemory, persona: Persona
    ) -> tuple[Option, ...]:
        """Leaf to the last section and back to the first."""
        if memory.stage == "fresh" and state.z < world.slices - 1:
            return (press("+z", memory),)
        if state.z > 0:
            return (press("-z", replace(memory, stage="down")),)
        return self._mark(world, state, replace(memory, stage="work"), persona)

    def _annotate(
        self, world: World, state: State, memory: NeuronMemory, persona: Persona, goal: int
    ) -> tuple[Option, ...]:
        """Go to the next section that lacks a mark and mark it, looking back now and then."""
        if goal == state.z:
            return self._mark(world, state, memory, persona)
        step = "+z" if goal > state.z else "-z"
        calm = replace(memory, just_marked=False)
        if not memory.just_marked or len(state.marks) < 3 or step == "-z":
            return (press(step, calm),)
        chance = LOOK_BACK * persona.carefulness
        back = press("-z", replace(calm, plan=("-z", "+z", "+z")), chance)
        return (press(step, calm, 1 - chance), back)

    def _verify(self, memory: NeuronMemory) -> tuple[Option, ...]:
        """All sections are rightly marked: leaf through some once more, then Done."""
        if memory.stage == "verified":
            return (press("Done", memory),)
        plan = ("-z",) * (VERIFIED - 1) + ("+z",) * VERIFIED
        return (press("-z", replace(memory, stage="verified", plan=plan)),)

    def _mark(
        self, world: World, state: State, memory: NeuronMemory, persona: Persona
    ) -> tuple[Option, ...]:
        """Mark the section in view, rightly or in a neighbouring cell."""
        x, y = (float(v) for v in world.centres[state.z])
        after = replace(memory, just_marked=True)
        corners = mistake_tiles(world, state.z) if persona.error_rate else np.empty((0, 2), int)
        wrong = {"spatial": Region(corners, _tile(world))} if len(corners) else {}
        return put(Point(x, y, persona.jitter), after, persona, wrong)


#: Ways to check a mistake: one section on, or back; there and back again.
_LOOKS = (("+z",), ("-z",), ("-z", "+z"))


def _tile(world: World) -> int:
    return max(1, CANVAS_SIZE // world.cells.shape[1])


def mistake_tiles(world: World, z: int) -> NDArray[np.int64]:
    """Corners int [n, 2] of canvas tiles in cells next to the target, clear of all membranes.

    A tile is a node of `World.cells`. Without neighbouring cells, tiles beside the target.
    """
    cell = _tile(world)
    x, y = (int(v) // cell for v in world.centres[z])
    reach = int(1.6 * REACH / cell)
    top, left = max(0, y - reach), max(0, x - reach)
    window = world.cells[z, top : y + reach + 1, left : x + reach + 1]
    away = cell * distance_transform_edt(window != world.target)
    beside = (away >= CLEAR) & (away <= REACH)
    margin = 2 * max(1, round(2 / cell)) + 1
    low, high = minimum_filter(window, margin), -minimum_filter(-window.astype(int), margin)
    inside = beside & (low == high) & (window > 0)
    rows, columns = np.nonzero(inside if inside.any() else beside)
    return np.stack([(columns + left) * cell, (rows + top) * cell], axis=1)
