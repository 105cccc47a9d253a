"""How an annotator finds a plume.

It sweeps the bands up, comes back to the one in which the plume is clearest, turns to the
ratio and outlines the plume clockwise from its top at equal steps, closes, looks at the
plain band, names the gas. It undoes what is wrong, at once or after a look around.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import Point, Press, Region
from bcprobe.annotators.moves import Memory, correct, follow, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.plume_drawing import BANDS
from bcprobe.tasks.spectral_plume_finding import (
    CLEAREST,
    GASES,
    VERTICES,
    SpectralPlumeFinding,
    State,
    World,
    followed,
    mistake_kind,
    on_rim,
)
from bcprobe.types import CANVAS_SIZE

TASK = SpectralPlumeFinding()
#: A mistaken vertex lies between these distances (px) from its place, in tiles of this side,
#: and at least ``OFF`` px from the rim.
MISTAKE_RANGE, OFF, TILE, EDGE = (20, 46), 19.0, 4, 6
#: A gas is confused so many times as easily as a vertex is put wrong.
CONFUSION = 2.0
#: Chance, times carefulness, of looking at the neighbouring band once all is done.
CHECK = 0.12
LOOKS = [("Ratio", "Ratio"), ("-band", "+band"), ("+band", "-band")]


class PlumePolicy:
    """Policy for `bcprobe.tasks.spectral_plume_finding.SpectralPlumeFinding`."""

    habits = Habits()

    def begin(self) -> Memory:
        """Nothing seen yet. Stages are ``fresh``, ``work``, ``looked`` and ``checked``."""
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
        if state.closed:
            return self._name(world, state, memory, persona)
        if not state.vertices and memory.stage == "fresh" and state.band < BANDS - 1:
            return (press("Ratio" if state.ratio else "+band", memory),)
        return self._outline(world, state, replace(memory, stage="work"), persona)

    def _outline(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Go to the ratio of the clearest band and put the next vertex, or close."""
        clearest = CLEAREST[world.gas]
        if state.band != clearest:
            return (press("+band" if state.band < clearest else "-band", memory),)
        if not state.ratio:
            return (press("Ratio", memory),)
        target = next_vertex(world, state)
        if target is None:
            return (press("Close", memory),)
        x, y = (float(v) for v in target)
        wrong = {"spatial": Region(mistake_tiles(world, x, y), TILE)} if persona.error_rate else {}
        return put(Point(x, y, persona.jitter), memory, persona, wrong)

    def _name(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Look at the plain band, name the gas, perhaps look at the next band, finish."""
        if not state.gas:
            if state.ratio and memory.stage != "looked":
                return (press("Ratio", replace(memory, stage="looked")),)
            other = GASES[(GASES.index(world.gas) + 1) % len(GASES)]
            rate = min(0.5, CONFUSION * persona.error_rate)
            wrong = {"categorical": Press(f"Gas {other}")}
            return put(Press(f"Gas {world.gas}"), memory, replace(persona, error_rate=rate), wrong)
        if memory.stage == "checked":
            return (press("Done", memory),)
        chance, memory = CHECK * persona.carefulness, replace(memory, stage="checked")
        on, back = ("-band", "+band") if state.band else ("+band", "-band")
        look = press(on, replace(memory, plan=(back,)), chance)
        return (press("Done", memory, 1 - chance), look)


def next_vertex(world: World, state: State) -> NDArray[np.float64] | None:
    """Canvas point [2] of the next vertex, one side on along the rim; None once round."""
    if not state.vertices:
        return world.rim[0]
    _, covered = followed(world, state.vertices)
    sides = round(covered / world.side) + 1
    if sides >= world.count and len(state.vertices) >= VERTICES[0]:
        return None
    arc = on_rim(world, state.vertices[0])[0] + min(sides, world.count - 0.5) * world.side
    return world.rim[round(arc / world.length * len(world.rim)) % len(world.rim)]


@lru_cache(maxsize=256)
def mistake_tiles(world: World, x: float, y: float) -> NDArray[np.int64]:
    """Corners int [n, 2] of the canvas tiles where a mistaken vertex may land."""
    axis = np.arange(-MISTAKE_RANGE[1], MISTAKE_RANGE[1], TILE)
    corners = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    reach = np.hypot(*(corners + TILE / 2).T)
    corners = corners[(reach >= MISTAKE_RANGE[0]) & (reach <= MISTAKE_RANGE[1])]
    corners = corners + np.rint([x, y]).astype(np.int64)
    middles = corners[:, None] + TILE / 2
    off = np.hypot(*np.moveaxis(middles - world.rim[None, ::2], -1, 0)).min(axis=1)
    inside = ((corners >= EDGE) & (corners + TILE <= CANVAS_SIZE - EDGE)).all(axis=1)
    return corners[inside & (off >= OFF)]
