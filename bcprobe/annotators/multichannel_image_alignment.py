"""How an annotator aligns channels: bead by bead from top to bottom, a look at each pair, Align."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bcprobe.annotators.clicks import Point, Region
from bcprobe.annotators.moves import Memory, Plan, correct, follow, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.multichannel_image_alignment import (
    FEWEST,
    MultichannelImageAlignment,
    State,
    World,
    bead_at,
    has_mistake,
    paired_beads,
)

TASK = MultichannelImageAlignment()
#: It goes back and forth between the channels before and after the work.
FIRST_LOOK: Plan = ("Ch2", "Ch1", "Ch2", "Overlay", "Ch1")
LAST_LOOK: Plan = ("Ch1", "Ch2", "Overlay")
#: Chance, times carefulness, of a second look at the aligned channels.
LOOK_AGAIN = 0.3
#: Landmarks are clicked with more care than other things: share of the persona's jitter.
CARE = 0.55
TILE = 4
LOOKS: tuple[Plan, ...] = (("Overlay",), ("Ch1", "Ch2"), ("Overlay", "Ch2"))


class AlignmentPolicy:
    """Policy for `bcprobe.tasks.multichannel_image_alignment.MultichannelImageAlignment`.

    Memory's stages are ``fresh``, ``work``, ``looking`` (at the aligned channels) and
    ``looked``.
    """

    habits = Habits(mistaken=0.55, error_rates=(0.2, 0.45))

    def begin(self) -> Memory:
        """Nothing seen yet."""
        return Memory()

    def options(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Deal with a mistake first, then with a plan, then with the work left."""
        if has_mistake(world, state):
            looks = [look for look in LOOKS if look[0] != state.view]
            return correct(TASK, world, state, memory, persona, looks)
        memory = replace(memory, alarmed=False)
        planned = follow(TASK, world, state, memory)
        if planned:
            return planned
        memory = replace(memory, plan=())
        if state.aligned:
            return self._verify(state, memory, persona)
        if not state.picks and memory.stage == "fresh" and state.view == "Ch1":
            return (press(FIRST_LOOK[0], Memory("work", FIRST_LOOK[1:])),)
        return self._annotate(world, state, replace(memory, stage="work"), persona)

    def _annotate(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Mark the first bead without a pair in both channels; look at the pair; align."""
        if state.due:
            return self._second(world, state, memory, persona)
        left = [k for k in range(len(world.first)) if k not in paired_beads(world, state)]
        if state.view == "Ch2" and state.picks:
            return (press("Overlay", memory),)
        if not left and len(state.seconds) >= FEWEST:
            return (press("Align", memory),)
        if state.view != "Ch1":
            return (press("Ch1", memory),)
        x, y = (float(v) for v in world.first[left[0]])
        return (Option(1.0, Point(x, y, CARE * persona.jitter), memory),)

    def _second(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """The point due in channel 2, or by mistake another bright thing there."""
        if state.view != "Ch2":
            return (press("Ch2", memory),)
        bead = bead_at(world.first, state.firsts[-1])
        assert bead is not None
        x, y = (float(v) for v in world.second[bead])
        others = np.concatenate([np.delete(world.second, bead, axis=0), world.field.debris[1]])
        corners = np.rint(others - TILE / 2).astype(np.int64)
        wrong = {"spatial": Region(corners, TILE)}
        return put(Point(x, y, CARE * persona.jitter), memory, persona, wrong)

    def _verify(self, state: State, memory: Memory, persona: Persona) -> tuple[Option, ...]:
        """Look at the aligned channels, perhaps twice, and finish."""
        if state.view != "Overlay":
            return (press("Overlay", memory),)
        if memory.stage == "looked":
            return (press("Done", memory),)
        again = replace(memory, stage="looked", plan=LAST_LOOK[1:])
        if memory.stage != "looking":
            return (press(LAST_LOOK[0], replace(again, stage="looking")),)
        more = LOOK_AGAIN * persona.carefulness
        finish = press("Done", replace(memory, stage="looked"), 1 - more)
        return (finish, press(LAST_LOOK[0], again, more))
