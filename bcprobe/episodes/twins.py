"""Counterfactual twins: one episode with one placement right or wrong, and nothing else changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bcprobe.annotators.clicks import Press, Target, sample_click
from bcprobe.annotators.policy import Annotator, Option
from bcprobe.episodes.clickers import ScriptClicker, annotator_before
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import open_world
from bcprobe.episodes.simulator import Simulator, rollout
from bcprobe.errors import InputError
from bcprobe.rng import generator
from bcprobe.types import Click


@dataclass(frozen=True)
class Twins:
    """Episodes of equal length that differ in click ``step`` alone.

    ``wrong`` holds one for every kind of mistake (`bcprobe.types.MISTAKE_KINDS`) that the
    annotator could have made there.
    """

    step: int
    right: Episode
    wrong: dict[str, Episode]


def twin(episode: Episode, step: int, seed: int = 0) -> Twins:
    """The episode with click ``step`` right, and wrong in every way the annotator knows.

    All other clicks, and both seeds, stay as they are; the episode's own click at ``step`` is
    kept where it is the one asked for. ``seed`` draws where the others land. Raises
    `InputError` if the annotator could make no mistake there, or had already made one.
    """
    simulator, annotator = _stand_before(episode, step)
    if simulator.task.latents(simulator.world, simulator.state).mistake:
        raise InputError(f"a mistake stands before step {step}; choose a step of a clean state")
    own = episode.steps[step].click
    best, slips = _choice(simulator, annotator, own)
    if best is None:
        raise InputError(f"step {step} is no placement; `placements(episode)` lists them")
    rng = generator("twin", episode.task, episode.world_seed, episode.annotator_seed, step, seed)
    right = own if _kind_after(simulator, own) == "" else _aim(best, annotator, rng)
    wrong = {slip.mistake: _wrong_click(slip, own, simulator, annotator, rng) for slip in slips}
    return Twins(
        step,
        _with_click(episode, step, right),
        {kind: _with_click(episode, step, click) for kind, click in wrong.items()},
    )


def placements(episode: Episode) -> list[int]:
    """Steps at which `twin` works: the state is clean and the annotator might err."""
    found: list[int] = []
    simulator, annotator = _open(episode)

    def note(index: int) -> None:
        clean = not simulator.task.latents(simulator.world, simulator.state).mistake
        if clean and _choice(simulator, annotator, episode.steps[index].click)[0]:
            found.append(index)

    for index, step in enumerate(episode.steps):
        note(index)
        _follow(simulator, annotator, step.click)
    return found


def _open(episode: Episode) -> tuple[Simulator, Annotator]:
    """World and annotator of an episode at its opening."""
    names = (episode.task, episode.world_seed, episode.layout, episode.difficulty)
    simulator = open_world(*names)
    return simulator, annotator_before(simulator, episode.annotator_seed)


def _follow(simulator: Simulator, annotator: Annotator, click: Click) -> None:
    """Make a click; the annotator goes on from what it remembers."""
    annotator.act(simulator.state)
    simulator.click(click)


def _stand_before(episode: Episode, step: int) -> tuple[Simulator, Annotator]:
    if not 0 <= step < len(episode):
        raise InputError(f"step {step} is outside the episode's 0-{len(episode) - 1}")
    simulator, annotator = _open(episode)
    for one in episode.steps[:step]:
        _follow(simulator, annotator, one.click)
    return simulator, annotator


def _choice(
    simulator: Simulator, annotator: Annotator, own: Click
) -> tuple[Option | None, list[Option]]:
    """What is right to put down now, and every way to err; None if ``own`` is neither."""
    erring = replace(annotator.persona, error_rate=0.5)
    options = annotator.policy.options(simulator.world, simulator.state, annotator.memory, erring)
    slips = [option for option in options if option.mistake]
    right = [option for option in options if not option.mistake]
    paired = [o for o in right if any(o.memory == slip.memory for slip in slips)] or right
    best = max(paired, key=lambda option: option.probability)
    hit = simulator.hit(own).widget
    if not slips or hit not in {_widget(option.target) for option in (best, *slips)}:
        return None, []
    return best, slips


def _widget(target: Target) -> str:
    return target.button if isinstance(target, Press) else "canvas"


def _aim(option: Option, annotator: Annotator, rng: np.random.Generator) -> Click:
    return sample_click(option.target, annotator.arrangement, annotator.names, rng)


def _kind_after(simulator: Simulator, click: Click) -> str | None:
    """Kind of the mistake that a click brings, empty if it brings none, None if it does nothing."""
    after = simulator.after(click)
    if after == simulator.state:
        return None
    return simulator.task.latents(simulator.world, after).mistake_kind


def _wrong_click(
    slip: Option,
    own: Click,
    simulator: Simulator,
    annotator: Annotator,
    rng: np.random.Generator,
) -> Click:
    return own if _kind_after(simulator, own) == slip.mistake else _aim(slip, annotator, rng)


def _with_click(episode: Episode, step: int, click: Click) -> Episode:
    """The episode's clicks with one replaced, worked again."""
    clicks = [one.click for one in episode.steps]
    clicks[step] = click
    return _work_again(episode, clicks)


def _work_again(episode: Episode, clicks: Sequence[Click]) -> Episode:
    names = (episode.task, episode.world_seed, episode.layout, episode.difficulty)
    simulator = open_world(*names)
    steps = rollout(ScriptClicker([clicks]), [simulator], max_steps=len(clicks))[0]
    outcome = simulator.task.score(simulator.world, simulator.state)
    return replace(episode, steps=steps, outcome=outcome, origin="twin", frame_hash="")
