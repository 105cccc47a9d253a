"""The virtual annotator: a policy that answers in every reachable state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bcprobe.annotators.clicks import Press, ScreenDistribution, Target, mixture, sample_click
from bcprobe.annotators.persona import Habits, Persona
from bcprobe.gui.layouts import Arrangement
from bcprobe.tasks.base import State, Task, World
from bcprobe.types import Click

#: What an annotator remembers; a frozen dataclass of each policy's own.
Memory = Any


#: What may be aimed at, with probabilities.
Choices = tuple[tuple[float, Target], ...]


@dataclass(frozen=True)
class Option:
    """Something the annotator may do next, and what it remembers if it does.

    ``mistake`` is the kind (one of `bcprobe.types.MISTAKE_KINDS`) if it would be one.
    """

    probability: float
    target: Target
    memory: Memory
    mistake: str = ""


class Policy(Protocol):
    """What is right in a task, as a pure function of state and memory.

    ``habits``: how often its annotators err.
    """

    habits: Habits

    def begin(self) -> Memory:
        """Memory at the opening of an episode."""
        ...

    def options(
        self, world: World, state: State, memory: Memory, persona: Persona
    ) -> tuple[Option, ...]:
        """Everything the annotator may do next; probabilities sum to 1."""
        ...


class Annotator:
    """A persona at work on one world in one layout."""

    def __init__(
        self,
        policy: Policy,
        task: Task,
        world: World,
        arrangement: Arrangement,
        persona: Persona,
        rng: np.random.Generator,
    ) -> None:
        self.policy, self.task, self.world = policy, task, world
        self.arrangement, self.persona, self.rng = arrangement, persona, rng
        self.names = [button.name for button in task.buttons]
        self.memory = policy.begin()

    def act(self, state: State) -> Click:
        """The next click, in screen px. The annotator remembers having made it."""
        return self.decide(state)[1]

    def decide(self, state: State) -> tuple[Choices, Click]:
        """What `act` chooses among, with probabilities, and the click it makes."""
        options = self.policy.options(self.world, state, self.memory, self.persona)
        chosen = options[_draw(options, self.rng.random())]
        self.memory = chosen.memory
        click = sample_click(chosen.target, self.arrangement, self.names, self.rng)
        return _choices(options), click

    def aims(self, state: State) -> Choices:
        """What `act` would choose among now, with probabilities; nothing is remembered."""
        return _choices(self.policy.options(self.world, state, self.memory, self.persona))

    def distribution(self, state: State) -> ScreenDistribution:
        """The distribution `act` would draw from now; nothing is remembered."""
        return mixture(self.aims(state), self.arrangement, self.names)

    def watch(self, state: State, click: Click) -> None:
        """Remember a click that somebody else is about to make, as if it were one's own.

        It counts as the likeliest option that aims at the same button, or at the canvas; where
        there is none, nothing new is remembered.
        """
        index = self.arrangement.hit(*click)
        hit = "" if index is None else self.names[index]
        if not hit and not self.arrangement.canvas.contains(*click):
            return
        options = self.policy.options(self.world, state, self.memory, self.persona)
        same = [one for one in options if _button(one.target) == hit]
        if same:
            self.memory = max(same, key=lambda option: option.probability).memory


def _choices(options: tuple[Option, ...]) -> Choices:
    return tuple((option.probability, option.target) for option in options)


def _button(target: Target) -> str:
    return target.button if isinstance(target, Press) else ""


def _draw(options: tuple[Option, ...], u: float) -> int:
    for index, option in enumerate(options):
        u -= option.probability
        if u < 0:
            return index
    return len(options) - 1
