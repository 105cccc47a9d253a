"""Settings of an annotator under which "a mistake stands" and "Undo comes" are different things.

The usual annotator sees every mistake and undoes it, so that the two differ only while it looks
around first. Here some mistakes are never noticed, some right marks are undone on second thoughts,
and some are corrected by placing again; and mistakes may be graded, from just outside the tolerance
on, instead of lying far off. The truth of an episode stays what the world says: `mistake` is about
the world, `undo_next` about the click.

An annotator that does not notice works on as if the truth were where its mark is; one that has
second thoughts, as if it were elsewhere (its *belief*, a world that nobody draws).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import Point, Press, Region
from bcprobe.annotators.persona import USUAL, Habits, Persona
from bcprobe.annotators.policy import Memory, Option, Policy
from bcprobe.tasks import (
    animal_behavioral_tracking,
    animal_limb_tracking,
    cell_lineage_tracking,
    colored_dot_tracking,
    multichannel_image_alignment,
    road_network_construction,
    spectral_plume_finding,
)
from bcprobe.tasks.base import State, Task, World
from bcprobe.types import CANVAS_SIZE

#: Distance (px) from which a mark of a task is wrong.
TOLERANCES = {
    "colored_dot_tracking": colored_dot_tracking.TOLERANCE,
    "cell_lineage_tracking": cell_lineage_tracking.TOLERANCE,
    "multichannel_image_alignment": multichannel_image_alignment.TOLERANCE,
    "animal_limb_tracking": animal_limb_tracking.TOLERANCE,
    "animal_behavioral_tracking": animal_behavioral_tracking.TOLERANCE,
    "spectral_plume_finding": spectral_plume_finding.TOLERANCE,
    "road_network_construction": road_network_construction.TOLERANCE,
}
#: Outer distances (px) of the rings in which graded mistakes lie, each as likely.
GRADES, TILE = (10.0, 18.0, 40.0), 2
#: How far a right mark seems off on second thoughts, px.
DOUBT = 20.0


@dataclass(frozen=True)
class MannerMemory:
    """The policy's own memory, and what is believed.

    ``belief``: the world as the annotator takes it, None for the true one; ``settled``: the one it
    goes back to when a doubt is over; ``last``: the state before its last click.
    """

    own: Memory
    belief: World | None = None
    settled: World | None = None
    last: State | None = None


class MannerPolicy:
    """A policy under a persona's manner (`bcprobe.annotators.persona.Manner`)."""

    def __init__(self, policy: Policy, task: Task) -> None:
        self.policy, self.task = policy, task
        self.habits: Habits = policy.habits

    def begin(self) -> MannerMemory:
        """Nothing believed but the truth."""
        return MannerMemory(self.policy.begin())

    def options(
        self, world: World, state: State, memory: MannerMemory, persona: Persona
    ) -> tuple[Option, ...]:
        """What the policy would do in each world that may be believed."""
        found: list[Option] = []
        for share, belief, settled in self._beliefs(world, state, memory, persona):
            taken = world if belief is None else belief
            options = self.policy.options(taken, state, memory.own, persona)
            for option in self._changed(taken, state, options, persona):
                after = MannerMemory(option.memory, belief, settled, state)
                found.append(replace(option, probability=share * option.probability, memory=after))
        return tuple(found)

    def _beliefs(
        self, world: World, state: State, memory: MannerMemory, persona: Persona
    ) -> Iterator[tuple[float, World | None, World | None]]:
        """Chance, belief, and the belief without doubt."""
        belief, settled, manner = memory.belief, memory.settled, persona.manner
        before = 0 if memory.last is None else _count(memory.last)
        if memory.last is not None and _count(state) < before:
            yield 1.0, settled, settled
            return
        if memory.last is None or _count(state) == before:
            yield 1.0, belief, settled
            return
        taken = world if belief is None else belief
        wrong = self.task.latents(taken, state).mistake
        share = manner.unnoticed if wrong else manner.second_thoughts
        other = _BELIEFS[self.task.name](taken, state, wrong) if self._believes else None
        if share and other is not None:
            yield share, other, other if wrong else belief
            yield 1 - share, belief, belief
        else:
            yield 1.0, belief, belief

    @property
    def _believes(self) -> bool:
        return self.task.name in _BELIEFS

    def _changed(
        self, world: World, state: State, options: tuple[Option, ...], persona: Persona
    ) -> Iterator[Option]:
        """The options with graded mistakes, and with placing again beside Undo."""
        aims = [one.target for one in options if not one.mistake and isinstance(one.target, Point)]
        place = _AGAIN.get(self.task.name, lambda *_: None)(world, state)
        for option in options:
            target, manner = option.target, persona.manner
            if manner.graded and option.mistake == "spatial" and aims:
                yield from self._graded(option, aims[0])
            elif manner.place_again and place and target == Press("Undo"):
                share = manner.place_again * option.probability
                yield replace(option, probability=option.probability - share)
                yield replace(option, probability=share, target=Point(*place, persona.jitter))
            else:
                yield option

    def _graded(self, option: Option, right: Point) -> Iterator[Option]:
        low = TOLERANCES.get(self.task.name)
        if low is None:
            yield option
            return
        edges = (low + 1, *GRADES)
        rings = [ring_tiles(right.x, right.y, *pair) for pair in zip(edges, GRADES, strict=False)]
        known = [ring for ring in rings if len(ring)]
        for ring in known:
            share = option.probability / len(known)
            yield replace(option, probability=share, target=Region(ring, TILE))
        if not known:
            yield option


def ring_tiles(x: float, y: float, low: float, high: float) -> NDArray[np.int64]:
    """Corners int [n, 2] of tiles whose every pixel is ``low`` to ``high`` px from a point."""
    corners = _ring(low, high) + np.rint([x, y]).astype(np.int64)
    inside = ((corners >= 2) & (corners + TILE <= CANVAS_SIZE - 2)).all(axis=1)
    found: NDArray[np.int64] = corners[inside]
    return found


@lru_cache(maxsize=32)
def _ring(low: float, high: float) -> NDArray[np.int64]:
    reach = math.ceil(high)
    axis = np.arange(-reach, reach + 1, TILE)
    corners = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    far = np.hypot(*(np.abs(corners + TILE / 2) + TILE / 2).T)
    near = np.hypot(*np.maximum(np.abs(corners + TILE / 2) - TILE / 2, 0).T)
    return corners[(near >= low) & (far <= high)]


def _count(state: State) -> int:
    """How many marks or classes a state holds."""
    return len(getattr(state, "marks", getattr(state, "labels", ())))


def _believe_centre(world: Any, state: Any, wrong: bool) -> World:
    """A world with one place a slice: it lies at the mark, or away from it."""
    z, x, y = state.marks[-1]
    centres = world.centres.copy()
    centres[z] = (x, y) if wrong else centres[z] + DOUBT
    return replace(world, centres=centres)


def _believe_point(world: Any, state: Any, wrong: bool) -> World:
    """A world with named points a frame: the one marked last lies there, or away from it."""
    name = "keypoints" if hasattr(world, "keypoints") else "ends"
    *where, x, y = state.marks[-1]
    points = getattr(world, name).copy()
    points[tuple(where)] = (x, y) if wrong else points[tuple(where)] + DOUBT
    changed: dict[str, Any] = {name: points}
    return replace(world, **changed)


def _believe_class(world: Any, state: Any, wrong: bool) -> World:
    """A world in which the object named last is of that class, or of the next."""
    index, named = len(state.labels) - 1, state.labels[-1][0]
    own = named if wrong else (named + 1) % 4
    return replace(world, classes=(*world.classes[:index], own, *world.classes[index + 1 :]))


def _again(world: Any, state: Any) -> tuple[float, float] | None:
    """Where the mark placed last belongs, if its frame and name are still chosen."""
    if not state.marks:
        return None
    *where, _, _ = state.marks[-1]
    chosen = (state.t, state.tab) if hasattr(state, "tab") else (state.t, state.mouse, state.end)
    if tuple(where) != chosen:
        return None
    points = world.keypoints if hasattr(world, "keypoints") else world.ends
    x, y = points[tuple(where)]
    return float(x), float(y)


_BELIEFS: dict[str, Callable[[Any, Any, bool], World]] = {
    "colored_dot_tracking": _believe_centre,
    "animal_limb_tracking": _believe_point,
    "animal_behavioral_tracking": _believe_point,
    "3d_exploration_classification": _believe_class,
}
#: Tasks in which a mark placed again replaces the one before.
_AGAIN: dict[str, Callable[[Any, Any], tuple[float, float] | None]] = {
    "animal_limb_tracking": _again,
    "animal_behavioral_tracking": _again,
}


def in_manner(policy: Policy, task: Task, persona: Persona) -> Policy:
    """The policy as a persona follows it: itself, or with the persona's manner around it."""
    return policy if persona.manner == USUAL else MannerPolicy(policy, task)
