"""How an annotator explores complexes.

It brings the complex to the level, turns it to the right until its seam faces the camera
(or until it has gone all round without finding one), sometimes looks from above, and names
the class. It undoes what is wrong, at once or after a look around.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bcprobe.annotators.clicks import Press
from bcprobe.annotators.moves import Memory, correct, follow, press, put
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.exploration_classification_3d import (
    CLASSES,
    CLOSED,
    LEVEL,
    OBJECTS,
    ExplorationClassification,
    State,
    World,
    has_mistake,
)
from bcprobe.tasks.hexamer_drawing import AZIMUTHS

TASK = ExplorationClassification()
#: Chances, times carefulness: a look from above at the seam, a look round after naming.
LOOK, CHECK = 0.15, 0.1
#: The class that is mistaken for each: the other spiral, the other ring.
ALIKE = (1, 0, 3, 2)
LOOKS = [("Right", "Left"), ("Left", "Right"), ("Up", "Down"), ("Down", "Up")]


@dataclass(frozen=True)
class ExplorerMemory(Memory):
    """``known``: the object whose class it has found out, or -1; ``checked``: likewise."""

    known: int = -1
    checked: int = -1


class ExplorationPolicy:
    """Policy for `bcprobe.tasks.exploration_classification_3d.ExplorationClassification`."""

    habits = Habits()

    def begin(self) -> ExplorerMemory:
        """Nothing seen yet."""
        return ExplorerMemory()

    def options(
        self, world: World, state: State, memory: ExplorerMemory, persona: Persona
    ) -> tuple[Option, ...]:
        """Deal with a mistake first, then with a plan, then with the object in view."""
        if has_mistake(world, state):
            return correct(TASK, world, state, memory, persona, LOOKS)
        memory = replace(memory, alarmed=False)
        planned = follow(TASK, world, state, memory)
        if planned:
            return planned
        memory = replace(memory, plan=())
        if state.labelled:
            return self._go_on(state, memory, persona)
        if memory.known == state.index:
            return self._classify(world, state, memory, persona, 1.0)
        return self._explore(world, state, memory, persona)

    def _explore(
        self, world: World, state: State, memory: ExplorerMemory, persona: Persona
    ) -> tuple[Option, ...]:
        """Level the complex, then turn it to its seam, or all the way round."""
        if state.elevation != LEVEL:
            return (press("Up" if state.elevation < LEVEL else "Down", memory),)
        if state.azimuth != goal(world, state.index):
            return (press("Right", memory),)
        known = replace(memory, known=state.index)
        chance = LOOK * persona.carefulness
        look = press("Up", replace(known, plan=("Down",)), chance)
        return (*self._classify(world, state, known, persona, 1 - chance), look)

    def _classify(
        self, world: World, state: State, memory: ExplorerMemory, persona: Persona, weight: float
    ) -> tuple[Option, ...]:
        """Name the class, rightly or as the one that looks alike."""
        truth = world.classes[state.index]
        wrong = {"categorical": Press(CLASSES[ALIKE[truth]])}
        return put(Press(CLASSES[truth]), memory, persona, wrong, weight)

    def _go_on(self, state: State, memory: ExplorerMemory, persona: Persona) -> tuple[Option, ...]:
        """Perhaps check the class once more, then go to the next object or finish."""
        on = "Done" if state.index == OBJECTS - 1 else "Next"
        if memory.checked == state.index:
            return (press(on, memory),)
        memory = replace(memory, checked=state.index)
        chance = CHECK * persona.carefulness
        check = press("Right", replace(memory, plan=("Left",)), chance)
        return (press(on, memory, 1 - chance), check)


def goal(world: World, index: int) -> int:
    """Azimuth step at which an object's class is clear when it is turned to the right from 0."""
    return AZIMUTHS - 1 if world.classes[index] == CLOSED else world.seams[index]
