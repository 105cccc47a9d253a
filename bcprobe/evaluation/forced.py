"""Forced mistakes: a clicker takes over after a mistake it did not make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from bcprobe.bootstrap import mean_score, wilson
from bcprobe.episodes.clickers import AnnotatorClicker, draw_annotator
from bcprobe.episodes.episode import Step
from bcprobe.episodes.record import MAX_STEPS, open_world
from bcprobe.episodes.simulator import Clicker, Simulator, rollout
from bcprobe.evaluation.metrics import mistakes, row
from bcprobe.rng import generator
from bcprobe.types import ALL, PLACING, Click

#: Recovery is reported within so many clicks.
WITHIN = (1, 2, 3, 5, 10)
HORIZON = 20
#: Shares that `pooled_rows` puts together.
POOLED = ("undo_next", "undo_next_if_right", "undone")
TRIES = 5


@dataclass(frozen=True)
class Forced:
    """An annotator's clicks up to a placement, that went wrong or (its twin) went right.

    The last click of ``wrong`` brings a mistake into a clean state; that of ``right`` does not.
    ``opened`` is the world at its opening.
    """

    task: str
    world_seed: int
    wrong: tuple[Click, ...]
    right: tuple[Click, ...]
    opened: Simulator = field(compare=False, repr=False)


def force(
    task: str,
    world_seeds: Sequence[int],
    seed: int = 0,
    *,
    layout: str = "original",
    difficulty: str = "default",
    opened: Sequence[Simulator] | None = None,
) -> list[Forced]:
    """One forced mistake per world, at a random placement of a careful annotator's episode.

    The mistake is one that this annotator makes there once it is careless: from the placement
    before on, so that a wrong choice may come first. Worlds in which it made none at any of
    a few placements tried are left out. ``opened`` are the worlds where they are open already.
    """
    rng = generator("forced mistakes", task, seed)
    if opened is None:
        opened = [open_world(task, world_seed, layout, difficulty) for world_seed in world_seeds]
    never = [MAX_STEPS] * len(opened)
    careful = _work(world_seeds, opened, never, never)
    orders = [rng.permutation(_windows(steps)).tolist() for steps in careful]
    found: dict[int, Forced] = {}
    for attempt in range(TRIES):
        left = [i for i, order in enumerate(orders) if i not in found and attempt < len(order)]
        windows = [orders[i][attempt] for i in left]
        slips, limits = [start for start, _ in windows], [end + 2 for _, end in windows]
        worlds = [opened[i] for i in left]
        worked = _work([world_seeds[i] for i in left], worlds, slips, limits)
        for i, (start, end), steps in zip(left, windows, worked, strict=True):
            made = [mistake.step for mistake in mistakes(steps) if mistake.step >= start]
            if made:
                wrong, right = _clicks(steps, made[0]), _clicks(careful[i], end)
                found[i] = Forced(task, world_seeds[i], wrong, right, opened[i])
    return [found[i] for i in sorted(found)]


def _clicks(steps: Sequence[Step], last: int) -> tuple[Click, ...]:
    return tuple(step.click for step in steps[: last + 1])


def _windows(steps: Sequence[Step]) -> list[tuple[int, int]]:
    """Of each valid placement in a clean state: the click after the one before, and its own."""
    ends = [
        t
        for t, step in enumerate(steps)
        if step.action in PLACING and step.valid and not step.latents.mistake
    ]
    return [(before + 1, end) for before, end in pairwise([-1, *ends])]


def forced_rows(
    clicker: Clicker, forced: Sequence[Forced], seen: int | None = None, **names: Any
) -> Iterator[dict[str, Any]]:
    """Score rows of a clicker that is led into the mistakes and then let go.

    ``undo_next`` (its first click is Undo) and, at its twin with the placement right,
    ``undo_next_if_right``; ``undone`` (Undo within 20 clicks) and ``undo_delay`` (clicks
    before it); ``recovered`` within k clicks (``kind`` is k): no mistake stands any more.
    ``seen`` is the number of last screens that it looks at while it is led (default: all).
    """
    runs = [(one.opened, one.wrong, HORIZON) for one in forced]
    runs += [(one.opened, one.right, 1) for one in forced]
    led = [_After(*run) for run in _led(clicker, runs, seen)]
    after, twins = led[: len(forced)], led[len(forced) :]
    count = len(forced)
    delays = [float(run.undo) for run in after if run.undo is not None]
    scores = {
        "undo_next": wilson(sum(run.undo == 0 for run in after), count),
        "undo_next_if_right": wilson(sum(run.undo == 0 for run in twins), count),
        "undone": wilson(len(delays), count),
        "undo_delay": mean_score(delays, range(len(delays))),
    }
    for metric, score in scores.items():
        yield row(score, metric=metric, **names)
    for k in WITHIN:
        score = wilson(sum(run.recovered_within(k) for run in after), count)
        yield row(score, metric="recovered", kind=str(k), **names)


def pooled_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Shares of `forced_rows` over the forced mistakes of several tasks together, as `ALL`."""
    parts: dict[tuple[str, float | None, str], list[Mapping[str, Any]]] = {}
    for one in rows:
        if one["metric"] in POOLED and one["n"]:
            warm = None if math.isnan(one["temperature"]) else one["temperature"]
            parts.setdefault((one["policy"], warm, one["metric"]), []).append(one)
    for (policy, warm, metric), own in parts.items():
        hits = sum(round(one["estimate"] * one["n"]) for one in own)
        score = wilson(hits, sum(one["n"] for one in own))
        names: dict[str, Any] = {"policy": policy, "metric": metric}
        if warm is not None:
            names["temperature"] = warm
        yield row(score, task=ALL, section="forced_mistakes", **names)


class AnnotatorAgain:
    """The annotators who were led into the mistakes, to deal with them themselves.

    One for every forced mistake and one for its twin, in that order.
    """

    def __init__(self, task: str, world_seeds: Sequence[int]) -> None:
        self.task, self.world_seeds = task, [*world_seeds, *world_seeds]

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Sit down again, careful as before."""
        never = [MAX_STEPS] * len(self.world_seeds)
        self.clicker = _Careless(self.task, self.world_seeds, never)
        self.clicker.start(simulators)

    def act(self, live: Sequence[int]) -> list[Click]:
        """What each annotator would do."""
        return self.clicker.act(live)


class _After:
    """What a clicker did once it was let go.

    ``undo`` is the number of its clicks before its first Undo, or None.
    """

    def __init__(self, steps: Sequence[Step], stands_last: bool) -> None:
        self.wrong = [*(step.latents.mistake for step in steps), stands_last]
        undos = [t for t, step in enumerate(steps) if step.undo_next]
        self.undo = undos[0] if undos else None

    def recovered_within(self, clicks: int) -> bool:
        """Whether the state was clean after at most so many clicks."""
        return not all(self.wrong[1 : clicks + 1])


class _Careless(AnnotatorClicker):
    """Annotators that never err before click ``slips[i]`` of world i, and from there do."""

    def __init__(self, task: str, world_seeds: Sequence[int], slips: Sequence[int]) -> None:
        drawn = [draw_annotator(task, seed) for seed in world_seeds]
        careful = [replace(persona, error_rate=0.0) for persona, _ in drawn]
        super().__init__(careful, [rng for _, rng in drawn])
        self.slips = slips

    def act(self, live: Sequence[int]) -> list[Click]:
        """What each annotator would do, the slip included."""
        for index in live:
            slip = len(self.simulators[index].history) >= self.slips[index]
            persona = replace(self.personas[index], error_rate=1.0 if slip else 0.0)
            self.annotators[index].persona = persona
        return super().act(live)


class _Led:
    """A clicker led through recorded clicks: it sees every screen, but is overruled."""

    def __init__(self, clicker: Clicker, scripts: Sequence[Sequence[Click]]) -> None:
        self.clicker, self.scripts = clicker, scripts

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Take the worlds."""
        self.simulators = simulators
        self.clicker.start(simulators)

    def act(self, live: Sequence[int]) -> list[Click]:
        """Recorded clicks while there are any, then the clicker's own."""
        own = self.clicker.act(live)
        counts = [len(self.simulators[index].history) for index in live]
        return [
            self.scripts[index][count] if count < len(self.scripts[index]) else click
            for index, count, click in zip(live, counts, own, strict=True)
        ]


class _Limited(Simulator):
    """A simulator that also ends after a number of clicks."""

    limit = MAX_STEPS

    @property
    def done(self) -> bool:
        """Whether Done was pressed or the limit reached."""
        return len(self.history) >= self.limit or super().done


def _limited(opened: Simulator, limit: int) -> _Limited:
    limited = _Limited(opened.task, opened.world, opened.layout.name, drawn=opened.drawn)
    limited.limit = limit
    return limited


def _work(
    world_seeds: Sequence[int],
    opened: Sequence[Simulator],
    slips: Sequence[int],
    limits: Sequence[int],
) -> list[tuple[Step, ...]]:
    """Steps of annotators who are careless from click ``slips[i]`` on, ``limits[i]`` in all."""
    simulators = [_limited(world, limit) for world, limit in zip(opened, limits, strict=True)]
    careless = _Careless(opened[0].task.name if opened else "", world_seeds, slips)
    return rollout(careless, simulators, max(limits, default=0))


#: A world, the clicks to lead a clicker through, and how many of its own follow.
Run = tuple[Simulator, Sequence[Click], int]


def _led(
    clicker: Clicker, runs: Sequence[Run], seen: int | None
) -> list[tuple[Sequence[Step], bool]]:
    """The clicker's own steps after each script, and whether a mistake stands in the end."""
    simulators = [_limited(world, len(script) + horizon) for world, script, horizon in runs]
    for simulator, (_, script, _) in zip(simulators, runs, strict=True):
        for click in script[: max(0, len(script) - seen) if seen is not None else 0]:
            simulator.click(click)
    limit = max((simulator.limit for simulator in simulators), default=0)
    histories = rollout(_Led(clicker, [script for _, script, _ in runs]), simulators, limit)
    return [
        (steps[len(script) :], s.task.latents(s.world, s.state).mistake)
        for s, steps, (_, script, _) in zip(simulators, histories, runs, strict=True)
    ]
