"""Clickers that need no model: the annotator, a random one, one that repeats itself, a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bcprobe.annotators import get_annotator
from bcprobe.annotators.manner import in_manner
from bcprobe.annotators.persona import Persona, draw_persona
from bcprobe.annotators.policy import Annotator, Choices
from bcprobe.episodes.simulator import Simulator
from bcprobe.rng import generator
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Click


def draw_annotator(task: str, seed: int) -> tuple[Persona, np.random.Generator]:
    """Persona of the annotator of a seed, and the generator that its clicks come from."""
    rng = generator("annotator", task, seed)
    return draw_persona(get_annotator(task).habits, rng), rng


def annotator_before(simulator: Simulator, seed: int) -> Annotator:
    """The annotator of a seed at its place before a world, to work or to watch."""
    return _seated(simulator, *draw_annotator(simulator.task.name, seed))


def _seated(simulator: Simulator, persona: Persona, rng: np.random.Generator) -> Annotator:
    task = simulator.task
    policy = in_manner(get_annotator(task.name), task, persona)
    return Annotator(policy, task, simulator.world, simulator.arrangement, persona, rng)


class AnnotatorClicker:
    """Virtual annotators, one persona and generator per world.

    ``decided`` is called at each click with what it was chosen among.
    """

    def __init__(
        self,
        personas: Sequence[Persona],
        rngs: Sequence[np.random.Generator],
        decided: Callable[[Choices], None] | None = None,
    ) -> None:
        self.personas, self.rngs, self.decided = personas, rngs, decided

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Sit down before each world."""
        self.simulators = simulators
        self.annotators = [
            _seated(simulator, persona, rng)
            for simulator, persona, rng in zip(simulators, self.personas, self.rngs, strict=True)
        ]

    def act(self, live: Sequence[int]) -> list[Click]:
        """What each annotator would do."""
        clicks = []
        for i in live:
            options, click = self.annotators[i].decide(self.simulators[i].state)
            if self.decided is not None:
                self.decided(options)
            clicks.append(click)
        return clicks


class RandomClicker:
    """Uniform clicks over the screen."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Nothing to note."""

    def act(self, live: Sequence[int]) -> list[Click]:
        """A pixel at random for each."""
        draw = self.rng.integers((0, 0), (SCREEN_WIDTH, SCREEN_HEIGHT), size=(len(live), 2))
        return [Click(int(x), int(y)) for x, y in draw]


class RepeatClicker:
    """Repeats the last click; the first one is in the middle of the screen."""

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Note where the worlds are."""
        self.simulators = simulators

    def act(self, live: Sequence[int]) -> list[Click]:
        """Each world's last click."""
        middle = Click(SCREEN_WIDTH // 2, SCREEN_HEIGHT // 2)
        histories = [self.simulators[i].history for i in live]
        return [history[-1].click if history else middle for history in histories]


class ScriptClicker:
    """Plays recorded clicks, one script per world."""

    def __init__(self, scripts: Sequence[Sequence[Click]]) -> None:
        self.scripts = scripts

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Note where the worlds are."""
        self.simulators = simulators

    def act(self, live: Sequence[int]) -> list[Click]:
        """The recorded click of each world's present step."""
        return [self.scripts[i][len(self.simulators[i].history)] for i in live]
