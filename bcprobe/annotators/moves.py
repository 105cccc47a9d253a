"""What annotators of all tasks have in common: pressing, following a plan, erring, correcting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bcprobe.annotators.clicks import Press, Target
from bcprobe.annotators.persona import Persona
from bcprobe.annotators.policy import Option
from bcprobe.tasks.base import State, Task, World

#: Buttons to press, one after the other.
Plan = tuple[str, ...]


@dataclass(frozen=True)
class Memory:
    """What an annotator remembers between clicks; a policy that needs more extends it.

    ``stage``: how far the episode has come, in the policy's own words. ``plan``: buttons it
    has set its mind on pressing next. ``alarmed``: it has begun to deal with a mistake.
    """

    stage: str = "fresh"
    plan: Plan = ()
    alarmed: bool = False


def press(button: str, memory: Any, probability: float = 1.0) -> Option:
    """Press a button and remember ``memory``."""
    return Option(probability, Press(button), memory)


def answers(task: Task, world: World, state: State, button: str) -> bool:
    """Whether a button is enabled."""
    names = [known.name for known in task.buttons]
    return task.states(world, state)[names.index(button)].enabled


def follow(task: Task, world: World, state: State, memory: Any) -> tuple[Option, ...]:
    """The next press of the plan; nothing if there is none, or its button does not answer."""
    if not memory.plan or not answers(task, world, state, memory.plan[0]):
        return ()
    return (press(memory.plan[0], replace(memory, plan=memory.plan[1:])),)


def correct(
    task: Task, world: World, state: State, memory: Any, persona: Persona, looks: Sequence[Plan]
) -> tuple[Option, ...]:
    """Undo, or at the persona's ``delay`` first look around: one to three presses.

    ``looks`` are the ways to look around; those whose first button answers are equally likely.
    """
    if memory.alarmed:
        return follow(task, world, state, memory) or (press("Undo", replace(memory, plan=())),)
    alarmed = replace(memory, alarmed=True)
    looks = [look for look in looks if answers(task, world, state, look[0])]
    share = persona.delay / len(looks) if looks else 0.0
    return (
        press("Undo", replace(alarmed, plan=()), 1 - share * len(looks)),
        *(press(look[0], replace(alarmed, plan=look[1:]), share) for look in looks),
    )


def put(
    target: Target,
    after: Any,
    persona: Persona,
    mistakes: Mapping[str, Target],
    weight: float = 1.0,
) -> tuple[Option, ...]:
    """Put an annotation where it belongs or, at the persona's error rate, make a mistake.

    ``mistakes`` (kind -> what is aimed at then) are equally likely; the probabilities sum to
    ``weight``. ``after`` is remembered either way.
    """
    wrong = weight * persona.error_rate if mistakes else 0.0
    right = Option(weight - wrong, target, after)
    if wrong == 0:
        return (right,)
    share = wrong / len(mistakes)
    return (right, *(Option(share, aim, after, kind) for kind, aim in mistakes.items()))
