"""What a task is: a small world with a known truth, as pure functions of frozen values."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.types import Latents, Outcome

#: Worlds and states are frozen dataclasses of the task's own.
World = Any
State = Any


class Task(Protocol):
    """A world, the rules of its annotation tool, and its truth.

    ``buttons`` holds every button in reading order; `states` gives their states in the
    same order. ``settings`` maps a difficulty (``easy``, ``default``, ``hard``) to keyword
    arguments of `sample`.
    """

    name: str
    title: str
    buttons: tuple[Button, ...]
    settings: Any

    def __hash__(self) -> int:
        """That of the object: two tasks are never taken for one another."""
        ...

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw a world."""
        ...

    def images(self, world: World) -> NDArray[np.uint8]:
        """Every canvas image of the world: ``[image, 256, 256, 3]`` RGB."""
        ...

    def open(self, world: World) -> State:
        """State in which an episode begins."""
        ...

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """State of each button, in the order of ``buttons``."""
        ...

    def press(self, world: World, state: State, button: str) -> State:
        """State after pressing a button; the same state if it is disabled."""
        ...

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """State after a click on canvas point (x, y); the same state if nothing answers."""
        ...

    def draw(self, world: World, state: State) -> View:
        """What the screen shows of a state."""
        ...

    def latents(self, world: World, state: State) -> Latents:
        """What is true of a state."""
        ...

    def phase(self, world: World, state: State, button: str) -> str:
        """Intent (one of `bcprobe.types.PHASES`) behind a click on ``button`` or ``canvas``."""
        ...

    def score(self, world: World, state: State) -> Outcome:
        """How good the annotation is; ``done`` says that Done was pressed."""
        ...

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        ...
