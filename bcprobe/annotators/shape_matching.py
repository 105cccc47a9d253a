"""How an annotator matches shapes: from top to bottom, an outline and then its match."""

from __future__ import annotations

import numpy as np

from bcprobe.annotators.clicks import Point, Region
from bcprobe.annotators.moves import Memory, correct, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.shape_matching import (
    CANDIDATES,
    OUTLINES,
    ShapeMatching,
    State,
    World,
    has_mistake,
    place_of,
)

TASK = ShapeMatching()
#: Side of the tile around a wrong candidate's middle in which a mistaken click lands, px.
TILE = 4


class ShapeMatchingPolicy:
    """Policy for `bcprobe.tasks.shape_matching.ShapeMatching`."""

    habits = Habits()

    def begin(self) -> Memory:
        """Nothing seen yet."""
        return Memory()

    def options(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Undo a wrong line; else match the picked outline, pick the next, or finish.

        The tool has nothing to look around with, so a mistake is undone at once.
        """
        if has_mistake(world, state):
            return correct(TASK, world, state, memory, persona, looks=())
        memory = Memory()
        if state.picked is not None:
            return self._match(world, state, state.picked, memory, persona)
        left = [i for i in range(OUTLINES) if i not in state.picks[0::2]]
        if not left:
            return (press("Done", memory),)
        return (Option(1.0, Point(*place_of(False, left[0]), persona.jitter), memory),)

    def _match(
        self, world: World, state: State, outline: int, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        match = world.match[outline]
        others = [j for j in range(CANDIDATES) if j != match and j not in state.picks[1::2]]
        corners = np.array([place_of(True, j) for j in others], dtype=np.int64) - TILE // 2
        wrong = {"identity": Region(corners, TILE)}
        return put(Point(*place_of(True, match), persona.jitter), memory, persona, wrong)
