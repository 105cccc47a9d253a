"""How an annotator draws a road network.

It looks at the road mask, sets the nodes in reading order, looks again, joins the nodes of
each road, node by node, looks once more and presses Done. It undoes what is wrong, at once or
after a look at the mask.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import Point, Region
from bcprobe.annotators.moves import Memory, correct, follow, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.road_maps import Pair, World
from bcprobe.tasks.road_network_construction import (
    PICK,
    RoadNetworkConstruction,
    State,
    Verdict,
    drawn,
    judge,
)
from bcprobe.types import CANVAS_SIZE

TASK = RoadNetworkConstruction()
PEEK = ("Mask",)
#: It looks at the mask again after so many edges.
EDGES_BETWEEN_LOOKS = 3
#: A node set by mistake lies between these distances (px) from its place, in such tiles.
MISTAKE_RANGE, TILE = (18, 34), 4
#: It joins at most so many wrong nodes to an end, the nearest ones.
_NEAREST = 3


class RoadNetworkPolicy:
    """Policy for `bcprobe.tasks.road_network_construction.RoadNetworkConstruction`.

    Stages are ``fresh``, ``nodes``, ``edges <as many as there were at the last look>`` and
    ``verified``.
    """

    #: One end of every edge is never mistaken, so the other placements are more often.
    habits = Habits(mistaken=0.5, error_rates=(0.13, 0.34))

    def begin(self) -> Memory:
        """Nothing seen yet."""
        return Memory()

    def options(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Deal with a mistake first, then with a plan, then with the work left."""
        verdict = judge(world, state.steps)
        if verdict.kind:
            looks = [PEEK] if state.mask else [PEEK, ("Mask", "Mask")]
            return correct(TASK, world, state, memory, persona, looks)
        memory = replace(memory, alarmed=False)
        planned = follow(TASK, world, state, memory)
        if planned:
            return planned
        memory = replace(memory, plan=())
        if state.mask:
            return (press("Mask", memory),)
        if memory.stage == "fresh":
            return (press("Mask", replace(memory, stage="nodes", plan=PEEK)),)
        return self._work(world, state, memory, persona, verdict)

    def _work(
        self, world: World, state: State, memory: Memory, persona: Persona, verdict: Verdict
    ) -> tuple[Option, ...]:
        """Nodes, a look, edges, a look, Done."""
        _, _, waiting = drawn(state.steps)
        missing = [node for node in range(len(world.nodes)) if node not in verdict.matched]
        if waiting >= 0:
            return self._second_end(world, state, memory, persona, verdict)
        if missing:
            if state.mode != "Node":
                return (press("Node", memory),)
            return _node(world, state, missing[0], memory, persona)
        if memory.stage == "nodes":
            return (press("Mask", replace(memory, stage="edges 0", plan=PEEK)),)
        left = [road for road in world.roads if road not in verdict.roads]
        if left:
            if state.mode != "Edge":
                return (press("Edge", memory),)
            return self._first_end(state, memory, persona, verdict, left[0])
        if memory.stage != "verified":
            return (press("Mask", replace(memory, stage="verified", plan=PEEK)),)
        return (press("Done", memory),)

    def _first_end(
        self, state: State, memory: Memory, persona: Persona, verdict: Verdict, road: Pair
    ) -> tuple[Option, ...]:
        nodes, edges, _ = drawn(state.steps)
        looked = f"edges {len(edges)}"
        if edges and len(edges) % EDGES_BETWEEN_LOOKS == 0 and memory.stage != looked:
            return (press("Mask", replace(memory, stage=looked, plan=PEEK)),)
        x, y = nodes[verdict.matched.index(road[0])]
        return (Option(1.0, Point(x, y, persona.jitter), memory),)

    def _second_end(
        self, world: World, state: State, memory: Memory, persona: Persona, verdict: Verdict
    ) -> tuple[Option, ...]:
        """Close the first road still missing at the waiting node; without one, take it back."""
        nodes, _, waiting = drawn(state.steps)
        node = verdict.matched[waiting]
        left = [road for road in world.roads if node in road and road not in verdict.roads]
        goals = [sum(road) - node for road in left if sum(road) - node in verdict.matched]
        if not goals:
            return (press("Undo", memory),)
        if state.mode != "Edge":
            return (press("Edge", memory),)
        x, y = nodes[verdict.matched.index(goals[0])]
        corners = _wrong_ends(world, state, verdict)
        wrong = {"structural": Region(corners, TILE)} if len(corners) else {}
        return put(Point(x, y, persona.jitter), memory, persona, wrong)


def _node(
    world: World, state: State, node: int, memory: Memory, persona: Persona
) -> tuple[Option, ...]:
    """Set a node on its junction, or beside it."""
    x, y = (float(v) for v in world.nodes[node])
    corners = _clear_of(drawn(state.steps)[0], mistake_tiles(world, node))
    wrong = {"spatial": Region(corners, TILE)} if len(corners) else {}
    return put(Point(x, y, persona.jitter), memory, persona, wrong)


@lru_cache(maxsize=64)
def mistake_tiles(world: World, node: int) -> NDArray[np.int64]:
    """Corners int [n, 2] of the canvas tiles where a node is set by mistake, off all junctions."""
    axis = np.arange(4, CANVAS_SIZE - 4 - TILE, TILE)
    corners = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    middle = corners + (TILE - 1) / 2
    away = np.hypot(*(middle[:, None] - world.nodes[None]).transpose(2, 0, 1))
    low, high = MISTAKE_RANGE
    return corners[(away.min(axis=1) > low + TILE) & (away[:, node] < high)]


def _clear_of(nodes: tuple[Pair, ...], corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those tiles whose clicks would not fall on a node that stands there already."""
    if not nodes:
        return corners
    middle = corners + (TILE - 1) / 2
    away = np.hypot(*(middle[:, None] - np.array(nodes)[None]).transpose(2, 0, 1))
    return corners[away.min(axis=1) > PICK + TILE]


def _wrong_ends(world: World, state: State, verdict: Verdict) -> NDArray[np.int64]:
    """Corners int [n, 2] of tiles on the nearest nodes to which no road leads."""
    nodes, _, waiting = drawn(state.steps)
    here = verdict.matched[waiting]
    joined = {here, *(sum(road) - here for road in world.roads if here in road)}
    x, y = nodes[waiting]
    away = sorted(
        ((a - x) ** 2 + (b - y) ** 2, a, b)
        for (a, b), node in zip(nodes, verdict.matched, strict=True)
        if node not in joined
    )
    middles = np.array([(a, b) for _, a, b in away[:_NEAREST]], dtype=np.int64).reshape(-1, 2)
    return middles - TILE // 2
