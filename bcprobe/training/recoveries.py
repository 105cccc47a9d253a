"""Recoveries: episodes in which something other than the annotator acted for a while.

Either clicks that no annotator makes come between its own (`DISTURBANCES`), or the episode was
worked by somebody else and stored: by a model, by earlier checkpoints of the one that learns, by a
model and the annotator in turns. The target at every frame is the annotator's exact distribution
in that state, which is what DAgger (Ross et al. 2011) asks of an expert.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import button_patch
from bcprobe.annotators.policy import Annotator, Choices
from bcprobe.episodes.clickers import annotator_before
from bcprobe.episodes.episode import Episode, Step
from bcprobe.episodes.record import open_world, replay
from bcprobe.episodes.simulator import Simulator, rollout
from bcprobe.episodes.store import read_episodes
from bcprobe.errors import InputError
from bcprobe.gui.display import DisplayList
from bcprobe.rng import generator
from bcprobe.training.recording import EpisodeKey, Recording, distributions_of
from bcprobe.types import PLACING, Click

#: Kinds of disturbed clicks. ``button``: one to three enabled buttons at random, never Done.
#: ``place``: what is placed next lands off, or is classified wrongly. ``repeat``: the last click
#: once or twice more. ``skip``: the step that is due is left out and the one after it is made.
#: ``loop``: one to three placements, off or not, each undone at once, and sometimes one left.
DISTURBANCES = ("button", "place", "repeat", "skip", "loop")
#: Chance that a disturbance begins at a click; drawn once an episode from this range.
RATES = (0.02, 0.12)
#: Distance at which a disturbed placement lands, px; drawn evenly on a logarithmic scale.
OFF = (4.0, 64.0)


def record_disturbed(key: EpisodeKey, images: NDArray[np.uint8] | None = None) -> Recording:
    """Generate an episode with disturbances. ``images`` are the world's, if already drawn."""
    simulator = open_world(key.task, key.world_seed, key.layout, key.difficulty)
    clicker = DisturbedAnnotator(key.annotator_seed, key.disturbances)
    displays: list[DisplayList] = []
    (steps,) = rollout(
        clicker, [simulator], key.max_steps, lambda _, shown: displays.append(shown.display())
    )
    drawn = simulator.images if images is None else images
    return _labelled(drawn, displays, steps, clicker.choices, key.task, key.layout)


class DisturbedAnnotator:
    """A clicker for one world: the annotator of a seed, and now and then a disturbance.

    The annotator watches the clicks that are not its own. ``choices`` holds what it would choose
    among at each frame, ``disturbed`` whether the click made there was not its own.
    """

    def __init__(self, seed: int, kinds: Sequence[str] = DISTURBANCES) -> None:
        self.seed, self.kinds = seed, tuple(kinds)
        self.choices: list[Choices] = []
        self.disturbed: list[bool] = []
        self._due: list[str] = []  # what comes next, last first

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Sit down before the world."""
        (self.simulator,) = simulators
        self.annotator = annotator_before(self.simulator, self.seed)
        self.rng = generator("disturbance", self.simulator.task.name, self.seed)
        self.rate = float(self.rng.uniform(*RATES))
        buttons = self.simulator.task.buttons
        self.actions = {button.name: button.action for button in buttons}

    def act(self, live: Sequence[int]) -> list[Click]:
        """The annotator's click, or another one if a disturbance is due."""
        annotator, state = self.annotator, self.simulator.state
        memory = annotator.memory
        choices, own = annotator.decide(state)
        acted = annotator.memory
        self.choices.append(choices)
        if not self._due and self.rng.random() < self.rate:
            self._due = self._begin(self.kinds[int(self.rng.integers(len(self.kinds)))])
        click = self._other(own) if self._due else own
        self.disturbed.append(click != own)
        annotator.memory = acted if click == own else memory
        if click != own:
            annotator.watch(state, click)
        return [click]

    def _begin(self, kind: str) -> list[str]:
        """The clicks of a disturbance, last first."""
        count = 1 + int(self.rng.integers(3))
        if kind == "loop":
            placed = ["place" if self.rng.random() < 0.75 else "own" for _ in range(count)]
            left = ["place"] if self.rng.random() < 0.25 else []
            return [*left, *(one for place in placed for one in ("undo", place))]
        return [kind] * {"button": count, "repeat": min(count, 2)}.get(kind, 1)

    def _other(self, own: Click) -> Click:
        """The click that is due; the annotator's own while there is no occasion for it."""
        places = self.simulator.hit(own).action in PLACING
        if self._due[-1] in ("place", "own") and not places:
            return own
        kind = self._due.pop()
        if kind == "button":
            return self._press(lambda name, action: action != "done") or own
        if kind == "undo":
            return self._press(lambda name, action: action == "undo") or own
        if kind == "repeat" and self.simulator.history:
            return self.simulator.history[-1].click
        if kind == "skip":
            return self._next(own)
        return self._misplaced(own) if kind == "place" else own

    def _press(self, wanted: Callable[[str, str], bool]) -> Click | None:
        """A click on one of the enabled buttons that are wanted, by name and action."""
        shown = self.simulator.task.states(self.simulator.world, self.simulator.state)
        rects = [
            rect
            for rect, state, (name, action) in zip(
                self.simulator.arrangement.buttons, shown, self.actions.items(), strict=True
            )
            if state.enabled and wanted(name, action)
        ]
        if not rects:
            return None
        return button_patch(rects[int(self.rng.integers(len(rects)))]).sample(self.rng)

    def _next(self, own: Click) -> Click:
        """What the annotator would do once its own click is made; not Done."""
        after = self.simulator.after(own)
        click = self.annotator.decide(after)[1]
        return own if self.simulator.hit(click).action == "done" else click

    def _misplaced(self, own: Click) -> Click:
        """The annotator's placement some way off, or another class than its own."""
        hit = self.simulator.hit(own)
        if hit.widget != "canvas":
            found = self._press(lambda name, action: action == hit.action and name != hit.widget)
            return found or own
        canvas = self.simulator.arrangement.canvas
        distance = math.exp(self.rng.uniform(*np.log(OFF)))
        for angle in self.rng.uniform(0, 2 * math.pi, size=8):
            x = round(own.x + distance * math.cos(angle))
            y = round(own.y + distance * math.sin(angle))
            if canvas.contains(x, y):
                return Click(x, y)
        return own


def visited_recordings(folder: str, places: Iterable[int]) -> Iterator[Recording]:
    """Recordings of the stored episodes in a folder, which take turns: one for each place."""
    episodes = _stored(folder)
    for place in places:
        yield relabelled(episodes[place % len(episodes)])


@lru_cache(maxsize=1)
def _stored(folder: str) -> list[Episode]:
    episodes = [episode for episode in read_episodes(folder) if len(episode)]
    if not episodes:
        raise InputError(f"'{folder}' holds no episode with a click")
    return episodes


def relabelled(episode: Episode) -> Recording:
    """What was shown and clicked in an episode, with the annotator's distribution at every frame.

    The annotator (of the episode's seed) has watched all clicks before. A frame's action is
    that of its likeliest target.
    """
    annotator: Annotator | None = None
    displays, options = [], []
    images = np.empty((0, 0, 0, 3), dtype=np.uint8)
    for simulator, step in replay(episode):
        annotator = annotator or annotator_before(simulator, episode.annotator_seed)
        images = simulator.images
        displays.append(simulator.display())
        options.append(annotator.aims(simulator.state))
        annotator.watch(simulator.state, step.click)
    if annotator is None:
        raise InputError("an episode without a click has nothing to learn from")
    return _labelled(images, displays, episode.steps, options, episode.task, episode.layout)


def _labelled(
    images: NDArray[np.uint8],
    displays: Sequence[DisplayList],
    steps: Sequence[Step],
    options: Sequence[Choices],
    task: str,
    layout: str,
) -> Recording:
    """A recording whose targets are the annotator's ``options``, frame by frame."""
    targets = distributions_of(options, task, layout)
    likeliest = [max(frame, key=lambda option: option[0])[1] for frame in options]
    return Recording(
        images=images,
        displays=tuple(displays),
        clicks=np.array([step.click for step in steps], dtype=np.int64),
        actions=np.array([targets.action(target) for target in likeliest], dtype=np.int8),
        right=np.zeros(len(steps), dtype=bool),
        targets=targets,
    )
