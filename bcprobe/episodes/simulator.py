"""The one loop in which anything that answers a screen with a click works on worlds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bcprobe.episodes.episode import Step
from bcprobe.gui.compositor import compose
from bcprobe.gui.display import DisplayList, display_list
from bcprobe.gui.layouts import arrange, get_layout
from bcprobe.tasks.base import State, Task, World
from bcprobe.types import Click


@dataclass(frozen=True)
class Hit:
    """What a click hits: a button's name, ``canvas``, or nothing (empty); and its action."""

    widget: str
    action: str


NOTHING = Hit("", "idle")


class Drawn:
    """Images of one world, drawn once for all simulators of it; equal only to itself.

    A simulator never refers to itself, so that its images go as soon as it does: the collector
    of cycles counts objects and not bytes, and would let gigabytes of images gather.
    """

    def __init__(self, task: Task, world: World) -> None:
        self.task, self.world = task, world

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """The world's canvas images uint8 [image, 256, 256, 3], drawn on first use."""
        return self.task.images(self.world)


class Simulator:
    """A world shown in a layout, worked by clicks.

    ``state`` is the task's own frozen state; ``history`` holds the steps taken; ``drawn`` the
    world's images, shared by all simulators that are `again` of one.
    """

    def __init__(
        self,
        task: Task,
        world: World,
        layout: str = "original",
        state: State | None = None,
        drawn: Drawn | None = None,
    ) -> None:
        self.task, self.world = task, world
        self.layout = get_layout(layout)
        self.arrangement = arrange(self.layout, task.buttons)
        self.state = task.open(world) if state is None else state
        self.history: list[Step] = []
        self.drawn = Drawn(task, world) if drawn is None else drawn

    def again(self, state: State | None = None) -> Simulator:
        """The same world at its opening or in another state; what was drawn of it is shared."""
        return Simulator(self.task, self.world, self.layout.name, state, self.drawn)

    @property
    def done(self) -> bool:
        """Whether Done was pressed."""
        return self.task.done(self.state)

    @property
    def images(self) -> NDArray[np.uint8]:
        """The world's canvas images uint8 [image, 256, 256, 3], drawn on first use."""
        return self.drawn.images

    def display(self) -> DisplayList:
        """What the screen shows now, as a display list."""
        states = self.task.states(self.world, self.state)
        view = self.task.draw(self.world, self.state)
        return display_list(self.layout, self.task.buttons, states, view)

    def screen(self, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """What the screen shows now: uint8 [360, 480, 3]."""
        return compose(self.display(), self.images, out)

    def hit(self, click: Click) -> Hit:
        """What a click would hit now; disabled buttons and empty panel answer nothing."""
        index = self.arrangement.hit(click.x, click.y)
        if index is not None:
            enabled = self.task.states(self.world, self.state)[index].enabled
            button = self.task.buttons[index]
            return Hit(button.name, button.action) if enabled else NOTHING
        if self.arrangement.canvas.contains(click.x, click.y):
            return Hit("canvas", "place")
        return NOTHING

    def after(self, click: Click) -> State:
        """State that a click would lead to; the same state if nothing answers."""
        return self._answer(click, self.hit(click))

    def click(self, click: Click) -> Step:
        """Make a click. Returns the step, with the latents of the state before it."""
        hit = self.hit(click)
        before, self.state = self.state, self._answer(click, hit)
        step = Step(
            click=click,
            widget=hit.widget,
            action=hit.action,
            valid=self.state != before,
            phase=self.task.phase(self.world, before, hit.widget),
            latents=self.task.latents(self.world, before),
        )
        self.history.append(step)
        return step

    def _answer(self, click: Click, hit: Hit) -> State:
        if self.done or not hit.widget:
            return self.state
        if hit.widget == "canvas":
            canvas = self.arrangement.canvas
            x, y = click.x - canvas.x, click.y - canvas.y
            return self.task.place(self.world, self.state, x, y)
        return self.task.press(self.world, self.state, hit.widget)


class Clicker(Protocol):
    """Anything that answers screens with clicks: annotator, model, random, person."""

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Take note of the worlds about to be worked."""
        ...

    def act(self, live: Sequence[int]) -> list[Click]:
        """One click for each simulator named in ``live`` (indices, those not finished)."""
        ...


Watcher = Callable[[int, Simulator], None]


def rollout(
    clicker: Clicker,
    simulators: Sequence[Simulator],
    max_steps: int = 300,
    watch: Watcher | None = None,
) -> list[tuple[Step, ...]]:
    """Steps of each simulator, worked until Done or ``max_steps`` clicks in all.

    ``watch(index, simulator)`` is called before each click.
    """
    clicker.start(simulators)
    live = [i for i, s in enumerate(simulators) if not s.done and len(s.history) < max_steps]
    while live:
        if watch is not None:
            for index in live:
                watch(index, simulators[index])
        for index, click in zip(live, clicker.act(live), strict=True):
            simulators[index].click(click)
        live = [
            i for i in live if not simulators[i].done and len(simulators[i].history) < max_steps
        ]
    return [tuple(simulator.history) for simulator in simulators]
