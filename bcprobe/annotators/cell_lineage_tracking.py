"""How an annotator follows cells: it plays the movie, then links frame by frame, cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bcprobe.annotators.clicks import Point, Press, Region, Target
from bcprobe.annotators.moves import Memory, Plan, correct, follow, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.cell_lineage_tracking import (
    CellLineageTracking,
    State,
    cell_of,
    judge,
    tree_of,
)
from bcprobe.tasks.cell_movies import World
from bcprobe.tasks.lineage_tree import Tree

TASK = CellLineageTracking()
#: Chance of a walk back through the frames after the work, times carefulness.
CHECK = 0.4
LOOKS: tuple[Plan, ...] = (("-t", "+t"), ("-t",), ("+t", "-t"))
TILE = 4


class CellLineagePolicy:
    """Policy for `bcprobe.tasks.cell_lineage_tracking.CellLineageTracking`.

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
        if judge(world, state.entries).kind:
            return correct(TASK, world, state, memory, persona, LOOKS)
        memory = replace(memory, alarmed=False)
        planned = follow(TASK, world, state, memory)
        if planned:
            return planned
        memory = replace(memory, plan=())
        if not state.entries and memory.stage in ("fresh", "back"):
            explored = self._explore(world, state, memory)
            if explored:
                return explored
        tree = tree_of(world, state)
        if tree.due is None:
            return self._finish(state, memory, persona)
        if state.t != tree.frame:
            return (press("+t" if tree.frame > state.t else "-t", replace(memory, stage="work")),)
        return self._link(world, tree, tree.due, replace(memory, stage="work"), persona)

    def _explore(self, world: World, state: State, memory: Memory) -> tuple[Option, ...]:
        """Play the movie to its end and back to the first links; nothing once that is done."""
        if memory.stage == "fresh" and state.t < world.frames - 1:
            return (press("+t", memory),)
        if state.t > 1:
            return (press("-t", replace(memory, stage="back")),)
        return ()

    def _link(
        self, world: World, tree: Tree, due: int, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Click what the cell has become; at a division announce it, then click both daughters.

        By mistake it takes another cell, or a daughter for the whole.
        """
        cell = cell_of(world, tree.nodes[due])
        assert cell is not None
        children = world.children(cell, tree.frame)
        if len(children) == 2 and due not in tree.divided:
            daughter = Point(*world.place(children[0], tree.frame), persona.jitter)
            return put(Press("Divide"), memory, persona, {"structural": daughter})
        linked = {cell_of(world, node) for node in tree.children(due)}
        left = [child for child in children if child not in linked]
        others = [(x, y) for other, x, y in world.present[tree.frame] if other not in children]
        wrong: dict[str, Target] = {}
        if others:
            corners = np.rint(np.array(others) - TILE / 2).astype(np.int64)
            wrong["identity"] = Region(corners, TILE)
        target = Point(*world.place(left[0], tree.frame), persona.jitter)
        return put(target, memory, persona, wrong)

    def _finish(self, state: State, memory: Memory, persona: Persona) -> tuple[Option, ...]:
        """All cells are linked: perhaps walk back through the frames, then Done."""
        checked = replace(memory, stage="checked")
        share = CHECK * persona.carefulness
        if memory.stage == "checked" or state.t < 2:
            return (press("Done", checked),)
        walk = replace(checked, plan=("-t",) * (state.t - 1))
        return (press("Done", checked, 1 - share), press("-t", walk, share))
