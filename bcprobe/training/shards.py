"""Shards of episodes: the unit in which training data is made, a pure function of a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.persona import MANNERS
from bcprobe.episodes.record import MAX_STEPS
from bcprobe.errors import InputError, check_name
from bcprobe.gui.packing import Packed, pack, shifted
from bcprobe.rng import generator, split_seed
from bcprobe.training.recording import EpisodeKey, Recording, record
from bcprobe.training.recoveries import DISTURBANCES, record_disturbed, visited_recordings

#: World seeds a data seed has to itself, and the data seeds a split has room for.
WORLDS_PER_SEED = 1 << 26
DATA_SEEDS = 1 << 14
#: Annotator seeds of a world's further personas lie this far apart, beyond all world seeds.
PERSONA_STRIDE = 1 << 42


@dataclass(frozen=True)
class DataConfig:
    """Which episodes a run sees.

    A shard holds ``episodes`` episodes; each world is worked by ``personas`` annotators.
    Tasks take turns from world to world; an episode's layout is drawn from ``layouts``.
    ``worlds`` is the number of different worlds, gone through again and again (0: a new one each
    time). ``visited`` is a folder of stored episodes, by whomever they were worked, that come
    beside the new ones: ``share`` (0-1) of each shard (`bcprobe.training.recoveries`). With
    ``soft`` the target at each frame is the annotator's whole distribution, not the click drawn
    from it. The first ``easy`` shards hold worlds of difficulty easy: a curriculum. ``manner`` is
    how the annotators deal with mistakes, one of `bcprobe.annotators.persona.MANNERS`; recoveries
    know the usual one only.
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
    disturbed: float = 0.0
    disturbances: tuple[str, ...] = DISTURBANCES
    manner: str = "usual"

    def __post_init__(self) -> None:
        check_name("manner", self.manner, MANNERS)
        if self.manner != "usual" and (self.visited or self.disturbed):
            raise InputError(
                f"data config: annotators of manner '{self.manner}' work undisturbed; leave out "
                "visited and disturbed, or take manner 'usual'"
            )
        if min(self.worlds, self.easy) < 0:
            raise InputError("data config: worlds and easy must be 0 or more")
        if not (0 <= self.share <= 1 and 0 <= self.disturbed <= 1):
            raise InputError("data config: share and disturbed must be within 0-1")
        for kind in self.disturbances:
            check_name("disturbance", kind, DISTURBANCES)
        if self.disturbed and not self.disturbances:
            raise InputError("data config: episodes to be disturbed need a kind of disturbance")
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
        plain = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}


def shard_keys(data: DataConfig, shard: int) -> list[EpisodeKey]:
    """Keys of a shard's episodes, from the train split."""
    rng = generator("layouts", data.seed, shard)
    layouts = rng.integers(len(data.layouts), size=data.episodes)
    worlds = data.episodes // data.personas
    disturbed = generator("disturbed", data.seed, shard).random(data.episodes) < data.disturbed
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
                disturbances=data.disturbances if disturbed[place] else (),
                manner=data.manner,
            )
        )
    return keys


def make_shard(data: DataConfig, shard: int) -> Iterator[Recording]:
    """Recordings of a shard, one by one: visited episodes, then new ones.

    The images of a world are drawn once.
    """
    if data.visits:
        first = shard * data.visits
        yield from visited_recordings(data.visited, range(first, first + data.visits))
    last: tuple[int, NDArray[np.uint8] | None] = (-1, None)
    for key in shard_keys(data, shard)[data.visits :]:
        drawn = last[1] if last[0] == key.world_seed else None
        if key.disturbances:
            made = record_disturbed(key, drawn)
        else:
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
