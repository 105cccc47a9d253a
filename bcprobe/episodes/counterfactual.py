"""The same clicks in a world where the truth is another: a mistake made without a mistaken click.

A placement is kept, and the truth it is about lies so many px away from where it was. The click
history is the same to the pixel, so nothing that reads clicks alone can tell; at 0 px nothing is
wrong. What a detector says against the distance is its psychometric function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from bcprobe.episodes.clickers import ScriptClicker
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import OWN_DATA, open_world, replay
from bcprobe.episodes.simulator import Simulator, rollout
from bcprobe.episodes.twins import placements
from bcprobe.errors import InputError
from bcprobe.rng import generator
from bcprobe.tasks import get_task
from bcprobe.tasks.base import World
from bcprobe.tasks.counterfactual import exchanged, moved
from bcprobe.types import Click


@dataclass(frozen=True, eq=False, repr=False)
class Counterfactual:
    """An episode's clicks in a ``world`` whose truth about the placement of ``step`` is another.

    ``episode`` ends with the click after that placement, so that its last frame shows it;
    ``mistake`` says whether the changed truth contradicts it. ``shift`` is in px (0 for `None`
    of an exchange). Frames: `Counterfactual.frames`.
    """

    episode: Episode
    world: World
    step: int
    shift: float
    mistake: bool

    def __repr__(self) -> str:
        what = f"truth moved {self.shift:g} px" if self.shift else "truth exchanged or unmoved"
        return (
            f"<Counterfactual of '{self.episode.task}', world {self.episode.world_seed}: {what} "
            f"about step {self.step}, {'a mistake' if self.mistake else 'no mistake'}>"
        )

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """The screen before each click: uint8 [360, 480, 3]."""
        for simulator, _ in replay(self.episode, self.world):
            yield simulator.screen()


def counterfactual(
    episode: Episode,
    shift: float | None = 12.0,
    step: int | None = None,
    seed: int = 0,
    *,
    world: World | None = None,
) -> Counterfactual:
    """The episode's clicks with the truth about one placement moved by ``shift`` px.

    ``shift`` None exchanges a class or an identity instead. ``step`` is that of the placement, by
    default one drawn with ``seed`` among those that can be moved (`movable_steps`); ``seed`` draws
    the direction too, the same for every ``shift``. ``world`` is the episode's, where it came from
    data of one's own. Raises `InputError` where nothing can be moved so far.
    """
    if shift is not None and not (isinstance(shift, Real) and shift >= 0):
        raise InputError(f"shift is {shift!r}; use 0 px or more, or None to exchange")
    known = movable_steps(episode, exchange=shift is None, world=world)
    if step is None:
        if not known:
            what = "exchanged" if shift is None else "moved"
            raise InputError(f"nothing of this episode of '{episode.task}' can be {what}")
        step = int(generator("moved step", episode.world_seed, seed).choice(known))
    elif step not in known:
        raise InputError(f"the truth about step {step} cannot be changed; steps: {known[:12]}")
    simulator = _after(episode, step, world)
    for shift_xy in directions(episode, step, shift or 0.0, seed):
        if shift is None:
            made = exchanged(episode.task, simulator.world, simulator.state)
        else:
            made = moved(episode.task, simulator.world, simulator.state, shift_xy)
        if made is not None:
            return _worked(episode, step, made, shift or 0.0)
    raise InputError(
        f"the truth about step {step} of '{episode.task}' cannot be moved {shift or 0:g} px on "
        "the canvas"
    )


def directions(
    episode: Episode, step: int, shift: float, seed: int = 0
) -> Iterator[tuple[float, float]]:
    """Shifts (x, y) px to try, of one length: a direction at random first, then all around."""
    first = generator("moved truth", episode.task, episode.world_seed, step, seed).uniform(0, 2)
    for turn in (0, 1, 0.5, 1.5, 0.25, 0.75, 1.25, 1.75):
        angle = math.pi * (first + turn)
        yield shift * math.cos(angle), shift * math.sin(angle)


def movable_steps(
    episode: Episode, *, exchange: bool = False, world: World | None = None
) -> list[int]:
    """Steps at which an annotator could err, did not, and whose truth can be changed."""
    able = set(placements(episode)) if episode.difficulty != OWN_DATA else None
    simulator = _opened(episode, world)
    found = []
    for index, one in enumerate(episode.steps[:-1]):
        simulator.click(one.click)
        right = not episode.steps[index + 1].latents.mistake
        if (able is not None and index not in able) or not right or not one.valid:
            continue
        if exchange:
            made = exchanged(episode.task, simulator.world, simulator.state)
        else:
            made = moved(episode.task, simulator.world, simulator.state, (0.0, 0.0))
        if made is not None:
            found.append(index)
    return found


def _opened(episode: Episode, world: World | None) -> Simulator:
    if world is not None:
        return Simulator(get_task(episode.task), world, episode.layout)
    return open_world(episode.task, episode.world_seed, episode.layout, episode.difficulty)


def _after(episode: Episode, step: int, world: World | None) -> Simulator:
    simulator = _opened(episode, world)
    for one in episode.steps[: step + 1]:
        simulator.click(one.click)
    return simulator


def _worked(episode: Episode, step: int, world: World, shift: float) -> Counterfactual:
    """The clicks up to the one after the placement, made in the changed world."""
    clicks: list[Click] = [one.click for one in episode.steps[: step + 2]]
    simulator = Simulator(get_task(episode.task), world, episode.layout)
    steps = rollout(ScriptClicker([clicks]), [simulator], max_steps=len(clicks))[0]
    made = replace(
        episode,
        steps=steps,
        outcome=simulator.task.score(world, simulator.state),
        origin="counterfactual",
        difficulty=OWN_DATA,
        frame_hash="",
    )
    return Counterfactual(made, world, step, shift, steps[-1].latents.mistake)
