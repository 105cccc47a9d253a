"""Shards of episodes: the unit in which training data is made, a pure function of a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import Press, Target
from bcprobe.annotators.policy import Choices
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import MAX_STEPS, generate
from bcprobe.episodes.simulator import Simulator
from bcprobe.errors import InputError
from bcprobe.gui.display import DisplayList
from bcprobe.gui.layouts import Arrangement, arrange, get_layout
from bcprobe.gui.packing import Packed, pack, shifted
from bcprobe.rng import generator, split_seed
from bcprobe.tasks import get_task
from bcprobe.types import ACTIONS

#: World seeds a data seed has to itself, and the data seeds a split has room for.
WORLDS_PER_SEED = 1 << 26
DATA_SEEDS = 1 << 14
#: Annotator seeds of a world's further personas lie this far apart, beyond all world seeds.
PERSONA_STRIDE = 1 << 42
NO_CLICK = (-1, -1)


@dataclass(frozen=True)
class DataConfig:
    """Which episodes a run sees.

    A shard holds ``episodes`` episodes; each world is worked by ``personas`` annotators.
    Tasks take turns from world to world; an episode's layout is drawn from ``layouts``.
    ``worlds`` is the number of different worlds, gone through again and again (0: a new one each
    time). ``visited`` is a folder of stored episodes, by whomever they were worked, that come
    beside the new ones: ``share`` (0-1) of each shard (`bcprobe.training.recoveries`). With
    ``soft`` the target at each frame is the annotator's whole distribution, not the click drawn
    from it. The first ``easy`` shards hold worlds of difficulty easy: a curriculum.
    """

    tasks: tuple[str, ...] = ("colored_dot_tracking",)
    layouts: tuple[str, ...] = ("original",)
    difficulty: str = "default"
    seed: int = 0
    episodes: int = 24
    personas: int = 1
    max_steps: int = MAX_STEPS
    worlds: int = 0
    visited: str = ""
    share: float = 0.5
    soft: bool = False
    easy: int = 0

    def __post_init__(self) -> None:
        if min(self.worlds, self.easy) < 0 or not 0 <= self.share <= 1:
            raise InputError("data config: worlds and easy must be 0 or more, share within 0-1")
        if not 0 <= self.seed < DATA_SEEDS:
            raise InputError(f"data seed {self.seed} is not within 0-{DATA_SEEDS - 1}")
        if min(self.episodes, self.personas, len(self.tasks), len(self.layouts)) < 1:
            raise InputError("data config: tasks, layouts, episodes and personas: 1 or more each")
        if self.episodes % self.personas:
            raise InputError(
                f"data config: {self.episodes} episodes do not divide by {self.personas} personas"
            )

    @property
    def visits(self) -> int:
        """Episodes of a shard that come from ``visited``."""
        return round(self.share * self.episodes) if self.visited else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain form, for JSON."""
        return {**asdict(self), "tasks": list(self.tasks), "layouts": list(self.layouts)}


@dataclass(frozen=True)
class EpisodeKey:
    """Which episode: everything `bcprobe.episodes.record.generate` needs."""

    task: str
    layout: str
    difficulty: str
    world_seed: int
    annotator_seed: int
    max_steps: int = MAX_STEPS


def shard_keys(data: DataConfig, shard: int) -> list[EpisodeKey]:
    """Keys of a shard's episodes, from the train split."""
    rng = generator("layouts", data.seed, shard)
    layouts = rng.integers(len(data.layouts), size=data.episodes)
    worlds = data.episodes // data.personas
    keys = []
    for place in range(data.episodes):
        world = shard * worlds + place // data.personas
        if data.worlds:
            world %= data.worlds
        seed = split_seed("train", data.seed * WORLDS_PER_SEED + world)
        keys.append(
            EpisodeKey(
                task=data.tasks[world % len(data.tasks)],
                layout=data.layouts[layouts[place]],
                difficulty="easy" if shard < data.easy else data.difficulty,
                world_seed=seed,
                annotator_seed=seed + place % data.personas * PERSONA_STRIDE,
                max_steps=data.max_steps,
            )
        )
    return keys


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


def make_shard(data: DataConfig, shard: int) -> Iterator[Recording]:
    """New recordings of a shard, one by one; the images of a world are drawn once."""
    last: tuple[int, NDArray[np.uint8] | None] = (-1, None)
    for key in shard_keys(data, shard)[data.visits :]:
        drawn = last[1] if last[0] == key.world_seed else None
        made = record(key, drawn, soft=data.soft)
        last = key.world_seed, made.images
        yield made


def pack_displays(recordings: Sequence[Recording]) -> Packed:
    """Display lists of all frames, from the first to the last, as arrays.

    Images are numbered through the recordings' stacks; those that share one count it once.
    """
    stacks = {id(made.images): made.images for made in recordings}
    firsts = np.cumsum([0, *map(len, stacks.values())])
    shift = dict(zip(stacks, firsts.tolist(), strict=False))
    return pack(
        [
            shifted(display, shift[id(made.images)])
            for made in recordings
            for display in made.displays
        ]
    )


def cut_rows(lengths: list[int], row_length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Frames of each row: int64 [row, row_length], numbers on the sequence of all episodes.

    The sequence is a ring, opened at a random frame and cut into rows; the rows are shuffled.
    What is left over after the last whole row, less than a row, is dropped: as the ring is
    opened anywhere with equal chance, every frame is dropped with the same chance.
    """
    total = sum(lengths)
    sequence = np.roll(np.arange(total), -int(rng.integers(total)))
    rows = sequence[: total // row_length * row_length].reshape(-1, row_length)
    return rng.permutation(rows)


def make_batches(
    data: DataConfig, shard: int, lengths: list[int], rows: int, row_length: int
) -> NDArray[np.int64]:
    """Frames of each batch of a shard: int64 [batch, row, frame], numbers on the shard's sequence.

    ``lengths`` are those of the shard's episodes. Rows that fill no whole batch are dropped;
    they are the last of a random order. Raises `InputError` if there is not one batch.
    """
    cut = cut_rows(lengths, row_length, generator("rows", data.seed, shard))
    batches = len(cut) // rows
    if not batches:
        raise InputError(
            f"shard {shard} has {sum(lengths)} frames in {len(lengths)} episodes, too few for a "
            f"batch of {rows} rows of {row_length}; use more episodes in a shard"
        )
    return cut[: batches * rows].reshape(batches, rows, row_length)
