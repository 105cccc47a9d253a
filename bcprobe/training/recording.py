"""An episode as the trainer needs it: what was shown, what was clicked, what is to be learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import Press, Target
from bcprobe.annotators.policy import Choices
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import MAX_STEPS, generate
from bcprobe.episodes.simulator import Simulator
from bcprobe.gui.display import DisplayList
from bcprobe.gui.layouts import Arrangement, arrange, get_layout
from bcprobe.tasks import get_task
from bcprobe.types import ACTIONS

NO_CLICK = (-1, -1)


@dataclass(frozen=True)
class EpisodeKey:
    """Which episode: everything `bcprobe.episodes.record.generate` needs.

    ``disturbances`` are the kinds of clicks that come between the annotator's
    (`bcprobe.training.recoveries.DISTURBANCES`); none: it works undisturbed. ``manner`` is one
    of `bcprobe.annotators.persona.MANNERS`.
    """

    task: str
    layout: str
    difficulty: str
    world_seed: int
    annotator_seed: int
    max_steps: int = MAX_STEPS
    disturbances: tuple[str, ...] = ()
    manner: str = "usual"


@dataclass(frozen=True, eq=False)
class TargetDistributions:
    """What an annotator may do at each frame: probabilities and targets, on one arrangement.

    ``names`` are the buttons, ``actions`` the kind of each (index in `bcprobe.types.ACTIONS`).
    """

    options: tuple[Choices, ...]
    arrangement: Arrangement
    names: tuple[str, ...]
    actions: tuple[int, ...]

    def action(self, target: Target) -> int:
        """Kind of a click on a target: index in `bcprobe.types.ACTIONS`."""
        if isinstance(target, Press):
            return self.actions[self.names.index(target.button)]
        return ACTIONS.index("place")

    def weight(self, frame: int, weights: NDArray[np.float64]) -> float:
        """Expected weight of the click made, from weights of each action [action]."""
        return sum(chance * weights[self.action(target)] for chance, target in self.options[frame])

    def weighted(self, frame: int, weights: NDArray[np.float64]) -> list[tuple[float, Target]]:
        """Options, their probabilities in proportion to the ``weights`` [action] of their kind."""
        whole = self.weight(frame, weights)
        return [
            (p * weights[self.action(target)] / whole, target) for p, target in self.options[frame]
        ]


def distributions_of(options: Sequence[Choices], task: str, layout: str) -> TargetDistributions:
    """The distributions of an annotator of a task in a layout, frame by frame."""
    buttons = get_task(task).buttons
    names = tuple(button.name for button in buttons)
    actions = tuple(ACTIONS.index(button.action) for button in buttons)
    return TargetDistributions(tuple(options), arrange(get_layout(layout), buttons), names, actions)


@dataclass(frozen=True)
class Recording:
    """An episode as the trainer needs it: what was shown and what was clicked.

    ``images`` uint8 [image, 256, 256, 3]; one display list (none where the shard's are packed),
    click (int64 [frame, 2], px) and action (int8 [frame], index in `bcprobe.types.ACTIONS`) per
    frame. ``right`` bool [frame]: the click is a placement that stands unmistaken. ``targets`` is
    what an annotator would have done at each frame, where that is to be learned and not the click.
    """

    images: NDArray[np.uint8]
    displays: tuple[DisplayList, ...]
    clicks: NDArray[np.int64]
    actions: NDArray[np.int8]
    right: NDArray[np.bool_]
    targets: TargetDistributions | None = None

    def __len__(self) -> int:
        return len(self.clicks)

    @property
    def previous(self) -> NDArray[np.int64]:
        """The click that led to each frame: int64 [frame, 2]; (-1, -1) for the first."""
        return np.concatenate([[NO_CLICK], self.clicks[:-1]])


def record(
    key: EpisodeKey,
    images: NDArray[np.uint8] | None = None,
    also_watch: Callable[[Simulator], None] | None = None,
    *,
    soft: bool = False,
) -> Recording:
    """Generate an episode in one pass. ``images`` are the world's, if already drawn."""
    displays: list[DisplayList] = []
    options: list[Choices] = []
    drawn = [] if images is None else [images]

    def watch(simulator: Simulator) -> None:
        if not drawn:
            drawn.append(simulator.images)
        displays.append(simulator.display())
        if also_watch is not None:
            also_watch(simulator)

    episode = generate(
        key.task,
        key.world_seed,
        layout=key.layout,
        annotator_seed=key.annotator_seed,
        difficulty=key.difficulty,
        max_steps=key.max_steps,
        watch=watch,
        decided=options.append if soft else None,
        manner=key.manner,
    )
    distributions = distributions_of(options, key.task, key.layout) if soft else None
    return Recording(drawn[0], tuple(displays), *_columns(episode), distributions)


def _columns(
    episode: Episode,
) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.bool_]]:
    clicks = np.array([step.click for step in episode.steps], dtype=np.int64).reshape(-1, 2)
    actions = np.array([ACTIONS.index(step.action) for step in episode.steps], dtype=np.int8)
    mistake = np.array([step.latents.mistake for step in episode.steps], dtype=bool)
    after = np.append(mistake[1:], False)
    return clicks, actions, (actions == ACTIONS.index("place")) & ~mistake & ~after
