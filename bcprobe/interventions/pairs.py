"""Pairs of moments that differ in whether a mistake stands, and their screens.

A pair is light: a world, the clicks up to a placement, that placement right and wrong, and
the clicks after it, the same on both sides. Its screens are composed when a model looks at them,
as many as can reach an answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.policy import Annotator
from bcprobe.episodes.clickers import annotator_before
from bcprobe.episodes.counterfactual import Counterfactual, counterfactual, movable_steps
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import OWN_DATA, generate, open_world
from bcprobe.episodes.simulator import Simulator
from bcprobe.episodes.twins import placements, twin
from bcprobe.errors import InputError, at_least_one
from bcprobe.gui.layouts import Rect, button_rect
from bcprobe.rng import WORLDS, check_seed, generator, split_seed
from bcprobe.tasks import get_task
from bcprobe.tasks.counterfactual import movable
from bcprobe.types import Click

if TYPE_CHECKING:
    from torch import Tensor

#: The two sides of a pair, and their index.
SIDES = ("right", "wrong")
#: Test worlds of pairs start here, far from those that directions are fitted on.
FIRST_WORLD = 1 << 30
#: What an annotator who checks before undoing may click.
CHECKS = ("navigate", "view", "select")
#: What the sides of a pair have in common.
SAME = ("task", "world_seed", "layout")
#: Worlds and ways of checking that are tried for each pair.
TRIES, DRAWS = 8, 12


@dataclass(frozen=True)
class Pair:
    """A placement right and wrong, after the same clicks in the same world.

    ``before`` led up to it; ``placed`` is the placement (right, wrong), in px; ``checks`` are
    the clicks after it, the same for both, under which the mistake stands. The screen just
    after the placement has lag 0, the one after the first check lag 1. ``worlds`` are the two
    sides' worlds where they differ (counterfactual worlds: then ``placed`` may be one click),
    and None for the world of ``world_seed``.
    """

    task: str
    world_seed: int
    kind: str
    before: tuple[Click, ...]
    placed: tuple[Click, Click]
    checks: tuple[Click, ...] = ()
    layout: str = "original"
    difficulty: str = "default"
    worlds: tuple[Any, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for side, wanted in enumerate((False, True)):
            for simulator in self._after(side):
                stands = simulator.task.latents(simulator.world, simulator.state).mistake
                if stands != wanted:
                    says = "no mistake stands" if wanted else "a mistake stands"
                    raise InputError(
                        f"no pair: {says} on the {SIDES[side]} side of '{self.task}', world "
                        f"{self.world_seed}, after click {len(simulator.history) - 1}"
                    )

    def __repr__(self) -> str:
        return f"Pair({self.task}, world {self.world_seed}, click {self.step}, {self.kind})"

    @property
    def step(self) -> int:
        """Number of the placement among the episode's clicks, from 0."""
        return len(self.before)

    @property
    def lags(self) -> int:
        """Screens after the placement: one more than there are checks."""
        return len(self.checks) + 1

    @property
    def shared(self) -> bool:
        """Whether both sides saw the same screens up to the placement."""
        return self.worlds is None

    def opened(self, side: int) -> Simulator:
        """The world of a side (0 right, 1 wrong) at its opening."""
        if self.worlds is None:
            return open_world(self.task, self.world_seed, self.layout, self.difficulty)
        return Simulator(get_task(self.task), self.worlds[side], self.layout)

    def history(self, side: int, frames: int) -> Iterator[tuple[NDArray[np.uint8], Click]]:
        """The last ``frames`` screens up to the placement, each with the click that led to it.

        Screens are uint8 [360, 480, 3]; fewer if the episode is younger; the click before the
        first is (-1, -1).
        """
        simulator, last = self.opened(side), Click(-1, -1)
        for number, click in enumerate((*self.before, self.placed[side])):
            if number > self.step - frames:
                yield simulator.screen(), last
            simulator.click(click)
            last = click

    def after(self, side: int) -> Iterator[tuple[NDArray[np.uint8], Click]]:
        """The screens after the placement, one for each lag, and the click that led to each."""
        for simulator in self._after(side):
            yield simulator.screen(), simulator.history[-1].click

    def _after(self, side: int) -> Iterator[Simulator]:
        simulator = self.opened(side)
        for click in (*self.before, self.placed[side]):
            simulator.click(click)
        yield simulator
        for click in self.checks:
            simulator.click(click)
            yield simulator

    @property
    def right(self) -> Side:
        """What a model sees where the placement was right: ``model(pair.right)``."""
        return Side(self, 0)

    @property
    def wrong(self) -> Side:
        """What a model sees where the placement was wrong."""
        return Side(self, 1)

    def button(self, name: str) -> Rect:
        """Where a button of the task is. Raises `InputError` if the task has none of the name."""
        return button_rect(self.layout, get_task(self.task).buttons, name)


@dataclass(frozen=True)
class Side:
    """One side of a pair, from the opening of its world to its last screen."""

    pair: Pair
    side: int

    def __len__(self) -> int:
        return self.pair.step + 1 + self.pair.lags

    def as_tensors(self) -> tuple[Tensor, Tensor]:
        """Frames uint8 [1, frame, 3, 360, 480] and the clicks before them int64 [1, frame, 2], px.

        They are what a model takes; the click before the first is (-1, -1).
        """
        import torch

        seen = [*self.pair.history(self.side, self.pair.step + 1), *self.pair.after(self.side)]
        screens = torch.from_numpy(np.stack([screen for screen, _ in seen]))
        clicks = torch.tensor([tuple(click) for _, click in seen])
        return screens.permute(0, 3, 1, 2)[None], clicks[None]


def twins(
    task: str,
    n: int = 24,
    *,
    lags: int = 1,
    layout: str = "original",
    difficulty: str = "default",
    shift: float | None = None,
    seed: int = 0,
) -> list[Pair]:
    """``n`` pairs of one placement right and wrong, each in a test world of its own.

    With ``shift`` both sides make the same right click, and on the wrong side the truth about it
    lies ``shift`` px further (`counterfactual`): nothing but the image says which side is wrong.

    The placement and the kind of mistake are drawn at random. With ``lags`` above 1 the mistake
    stands while the annotator checks what it did, as it does before it undoes one mistake in
    five: ``lags - 1`` clicks, the same on both sides; with ``shift`` they are those that the
    episode goes on with. Raises `InputError` if a task gives no such pair, or for numbers out of
    range.
    """
    n, lags = at_least_one("n", n), at_least_one("lags", lags)
    seed = check_seed(seed, most=(WORLDS - FIRST_WORLD) // (TRIES * n) - 1)
    _check_moved(task, shift)
    found: list[Pair] = []
    for number in range(TRIES * n):
        world_seed = split_seed("test", FIRST_WORLD + seed * TRIES * n + number)
        episode = generate(task, world_seed, layout=layout, difficulty=difficulty)
        made = _pair_in(episode, lags, seed, shift)
        if made is not None:
            found.append(made)
        if len(found) == n:
            return found
    if not found and shift is not None:
        raise InputError(
            f"no placement of '{task}' becomes a mistake that stands for {lags} frames when its "
            f"truth moves {shift:g} px; move it further, or ask for fewer lags"
        )
    if not found:
        after = f" after which an annotator checks for {lags - 1} clicks" if lags > 1 else ""
        raise InputError(f"no placement of '{task}'{after}; ask for fewer lags")
    return found


def _check_moved(task: str, shift: float | None) -> None:
    get_task(task)
    if shift is None:
        return
    if not (isinstance(shift, Real) and 0 < shift < math.inf):
        raise InputError(f"shift is {shift!r}; it must be above 0 px")
    if task not in movable():
        known = ", ".join(movable())
        raise InputError(f"no truth of '{task}' can be moved; it can be of: {known}")


def _pair_in(episode: Episode, lags: int, seed: int, shift: float | None) -> Pair | None:
    """A pair at a placement of the episode, the first of three that makes one."""
    rng = generator("twins", episode.task, episode.world_seed, seed)
    steps = placements(episode) if shift is None else movable_steps(episode)
    for step in map(int, rng.permutation(steps)[:3]):
        if shift is None:
            made = _pair_at(episode, step, lags, seed, rng)
        else:
            made = _moved_at(episode, step, lags, seed, shift)
        if made is not None:
            return made
    return None


def pair(right: Episode | Counterfactual, wrong: Episode | Counterfactual) -> Pair:
    """The pair that two sides make, which `patch` takes: ``right``, and ``wrong`` with a mistake.

    Two episodes of one world that are alike but for one click: screens after it count for as long
    as both go on with the same clicks and the mistake stands. Or an episode and its
    `counterfactual`: the same clicks up to the placement, the truth about it another; the frames
    before it differ too, wherever that truth is drawn. Raises `InputError` if they differ in
    world or layout, in nothing, or if no mistake stands on the wrong side (a truth that was moved
    too little).
    """
    episodes = [one.episode if isinstance(one, Counterfactual) else one for one in (right, wrong)]
    if any(len({getattr(one, name) for one in episodes}) > 1 for name in SAME):
        raise InputError("no pair: the episodes are of different worlds, layouts or tasks")
    moved = [one for one in (right, wrong) if isinstance(one, Counterfactual)]
    if moved:
        return _of_worlds(right, wrong, episodes, moved[-1])
    first, second = episodes
    if first.difficulty != second.difficulty:
        raise InputError("no pair: the episodes are of worlds of different difficulty")
    return _of_clicks(first, second)


def _of_worlds(
    right: Episode | Counterfactual,
    wrong: Episode | Counterfactual,
    episodes: Sequence[Episode],
    moved: Counterfactual,
) -> Pair:
    clicks = [[one.click for one in episode.steps[: moved.step + 1]] for episode in episodes]
    if clicks[0] != clicks[1]:
        raise InputError(
            f"no pair: up to step {moved.step}, whose truth was changed, the clicks are not the "
            "same; take the counterfactual of this episode"
        )
    placed = clicks[0][moved.step]
    return Pair(
        moved.episode.task,
        moved.episode.world_seed,
        "moved" if moved.shift else "exchanged",
        tuple(clicks[0][: moved.step]),
        (placed, placed),
        layout=moved.episode.layout,
        worlds=(_world_of(right), _world_of(wrong)),
    )


def _world_of(side: Episode | Counterfactual) -> Any:
    if isinstance(side, Counterfactual):
        return side.world
    if side.difficulty == OWN_DATA:
        raise InputError(
            "no pair: the world of an episode in data of one's own is not kept with it; take "
            "counterfactual(episode, 0, world=WORLD) as its side"
        )
    return open_world(side.task, side.world_seed, side.layout, side.difficulty).world


def _of_clicks(right: Episode, wrong: Episode) -> Pair:
    clicks = [[step.click for step in episode.steps] for episode in (right, wrong)]
    differ = [t for t, (a, b) in enumerate(zip(*clicks, strict=False)) if a != b]
    if not differ:
        raise InputError("no pair: the two episodes make the same clicks")
    step = differ[0]
    steps = zip(right.steps[step + 1 :], wrong.steps[step + 1 :], strict=False)
    checks = []
    for a, b in list(steps)[:-1]:
        if a.click != b.click or a.latents.mistake or not b.latents.mistake:
            break
        checks.append(a.click)
    kinds = [one.latents.mistake_kind for one in wrong.steps[step + 1 : step + 2]]
    made = Pair(
        right.task,
        right.world_seed,
        kinds[0] if kinds else "",
        tuple(clicks[0][:step]),
        (clicks[0][step], clicks[1][step]),
        layout=right.layout,
        difficulty=right.difficulty,
    )
    return replace(made, checks=_standing(made, checks))


def _standing(pair: Pair, checks: Sequence[Click]) -> tuple[Click, ...]:
    """The first of some checks, up to the one after which a mistake no longer stands as asked."""
    kept: list[Click] = []
    for click in checks:
        try:
            replace(pair, checks=(*kept, click))
        except InputError:
            break
        kept.append(click)
    return tuple(kept)


def _pair_at(
    episode: Episode, step: int, lags: int, seed: int, rng: np.random.Generator
) -> Pair | None:
    made = twin(episode, step, seed)
    kind = sorted(made.wrong)[rng.integers(len(made.wrong))]
    clicks = [one.click for one in made.wrong[kind].steps]
    try:
        pair = Pair(
            episode.task,
            episode.world_seed,
            kind,
            tuple(clicks[:step]),
            (made.right.steps[step].click, clicks[step]),
            layout=episode.layout,
            difficulty=episode.difficulty,
        )
        return pair if lags == 1 else _checked(pair, episode.annotator_seed, lags - 1, rng)
    except InputError:
        return None


def _moved_at(episode: Episode, step: int, lags: int, seed: int, shift: float) -> Pair | None:
    try:
        made = pair(episode, counterfactual(episode, shift, step, seed))
    except InputError:
        return None
    checks = [one.click for one in episode.steps[step + 1 : step + lags]]
    made = replace(made, checks=_standing(made, checks))
    return made if made.lags == lags else None


def _checked(pair: Pair, annotator_seed: int, count: int, rng: np.random.Generator) -> Pair | None:
    """The pair with so many checks that its annotator might make; None if it would make fewer."""
    for _ in range(DRAWS):
        checks = _look_around(pair, annotator_seed, count, rng)
        if len(checks) == count:
            try:
                return replace(pair, checks=tuple(checks))
            except InputError:
                continue
    return None


def _look_around(
    pair: Pair, annotator_seed: int, count: int, rng: np.random.Generator
) -> list[Click]:
    """Up to so many clicks of an annotator who surely checks before it undoes the mistake."""
    simulator = pair.opened(1)
    annotator = annotator_before(simulator, annotator_seed)
    for click in (*pair.before, pair.placed[1]):
        annotator.act(simulator.state)
        simulator.click(click)
    annotator.persona = replace(annotator.persona, delay=1.0, error_rate=0.0)
    annotator.rng = rng
    return [click for click, _ in zip(_checks(simulator, annotator), range(count), strict=False)]


def _checks(simulator: Simulator, annotator: Annotator) -> Iterator[Click]:
    while True:
        click = annotator.act(simulator.state)
        if simulator.hit(click).action not in CHECKS:
            return
        simulator.click(click)
        yield click
