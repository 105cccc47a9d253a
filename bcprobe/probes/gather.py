"""Activations at [cls], gathered while models look at episodes. Needs torch.

As a program it works one part of a job, so that the program that asked need not load torch
and every core is used: ``python -m bcprobe.probes.gather JOB`` (see `bcprobe.probes.jobs`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from bcprobe.episodes.record import frames, generate
from bcprobe.episodes.simulator import Simulator
from bcprobe.episodes.store import read_episodes, write_episodes
from bcprobe.errors import InputError
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.probes.sites import PIXELS, check_sites, tensor_name
from bcprobe.rng import split_seed
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Episode

#: Frames shown to a model at a time (0.5 MB each); an episode is never cut.
TAPE = 128
#: Steps in one file of activations, more or less.
SHARD_STEPS = 4096
PATCH = 40
Halves = NDArray[np.float16]
Recording = tuple[Episode, NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Look:
    """Some episodes and what models made of them: float16 [step, dim] arrays by name.

    Names are those of `tensor_name`, and ``pixels`` [step, 324]: the mean colour, 0-1, of
    the 12 x 9 patches of 40 px.
    """

    episodes: tuple[Episode, ...]
    arrays: dict[str, Halves]


def gather(
    models: Mapping[str, ClickTransformer], sites: Sequence[str], recordings: Iterable[Recording]
) -> Iterator[Look]:
    """Activations of each model at each step of the recordings, in order, in parts.

    Raises `InputError` for a site that a model does not have.
    """
    for model in models.values():
        check_sites(sites, model.config)
    return (_look(models, sites, tape) for tape in _tapes(recordings))


def at_cls(
    model: ClickTransformer,
    sites: Sequence[str],
    pixels: Tensor,
    previous: Tensor,
    segments: Tensor | None = None,
) -> dict[str, Tensor]:
    """Activations at [cls] of each frame: [frame, d] of each site (heads side by side).

    One row of frames uint8 [1, frame, 3, 360, 480]; arguments as the model takes them. Only
    the [cls] vectors of the chosen sites are kept, and nothing else is recorded.
    """
    kept: dict[str, Tensor] = {}
    positions = model.cls_positions(pixels.shape[1])

    def keep(x: Tensor, hook: Any) -> None:
        kept[hook.name] = x[0, positions].flatten(1)  # indexing copies, so x may go

    with torch.inference_mode():
        hooks = [(site, keep) for site in sites]
        model.run_with_hooks(pixels, previous, segments, fwd_hooks=hooks)
    return kept


def patches(pixels: NDArray[np.uint8]) -> Halves:
    """Mean colours, 0-1, of patches of 40 px: float16 [frame, 324] of [frame, 360, 480, 3]."""
    rows, columns = SCREEN_HEIGHT // PATCH, SCREEN_WIDTH // PATCH
    lines = pixels.reshape(len(pixels), rows, PATCH, SCREEN_WIDTH * 3)
    sums = lines.sum(2, dtype=np.uint16)  # 40 * 255 fits
    sums = sums.reshape(len(pixels), rows, columns, PATCH, 3).sum(3, dtype=np.uint32)
    return (sums / (255 * PATCH * PATCH)).astype(np.float16).reshape(len(pixels), -1)


def replayed(episodes: Iterable[Episode]) -> Iterator[Recording]:
    """Episodes with their frames, composed again."""
    for episode in episodes:
        yield episode, np.stack(list(frames(episode)))


def worked(world_seeds: Iterable[int], task: str, **options: Any) -> Iterator[Recording]:
    """Episodes worked by the annotator, with the frames it looked at."""
    for seed in world_seeds:
        shots: list[NDArray[np.uint8]] = []

        def look(simulator: Simulator, shots: list[NDArray[np.uint8]] = shots) -> None:
            shots.append(simulator.screen())

        episode = generate(task, seed, watch=look, **options)
        yield episode, np.stack(shots)


def untrained_like(model: ClickTransformer, seed: int) -> ClickTransformer:
    """A model of the same shape, as it was before training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ClickTransformer(model.config).eval().to(model.device)


def write_looks(
    looks: Iterable[Look], folder: Path, part: int, seen: Callable[[int], None]
) -> None:
    """Write shards of activations, and the episodes, of one part into the folder.

    ``seen(n)`` is told of every ``n`` more episodes done.
    """
    episodes: list[Episode] = []
    waiting: list[Look] = []
    shards = 0
    for look in looks:
        waiting.append(look)
        episodes += look.episodes
        seen(len(look.episodes))
        if sum(len(one.arrays[PIXELS]) for one in waiting) >= SHARD_STEPS:
            shards, waiting = _write_shard(waiting, folder, part, shards), []
    if waiting:
        _write_shard(waiting, folder, part, shards)
    write_episodes(episodes, folder / f"part-{part:02d}")


def _write_shard(looks: Sequence[Look], folder: Path, part: int, number: int) -> int:
    names = looks[0].arrays
    joined = {name: np.concatenate([look.arrays[name] for look in looks]) for name in names}
    save_file(joined, folder / f"activations-{part:02d}-{number:04d}.safetensors")
    return number + 1


def _tapes(recordings: Iterable[Recording]) -> Iterator[list[Recording]]:
    tape: list[Recording] = []
    for recording in recordings:
        if not recording[0].steps:
            continue
        if tape and sum(len(shots) for _, shots in tape) + len(recording[1]) > TAPE:
            yield tape
            tape = []
        tape.append(recording)
    if tape:
        yield tape


def _look(
    models: Mapping[str, ClickTransformer], sites: Sequence[str], tape: Sequence[Recording]
) -> Look:
    pixels = np.concatenate([shots for _, shots in tape])
    clicks = [[step.click for step in episode.steps] for episode, _ in tape]
    previous = np.array([click for own in clicks for click in [(-1, -1), *own[:-1]]])
    segments = np.repeat(np.arange(len(tape)), [len(own) for own in clicks])
    arrays = {PIXELS: patches(pixels)}
    for name, model in models.items():
        shown, clicked, segment = (
            torch.from_numpy(part).to(model.device)[None] for part in (pixels, previous, segments)
        )
        found = at_cls(model, sites, shown.permute(0, 1, 4, 2, 3), clicked, segment)
        arrays |= {
            tensor_name(name, site): values.half().cpu().numpy() for site, values in found.items()
        }
    return Look(tuple(episode for episode, _ in tape), arrays)


def work(job: Mapping[str, Any], seen: Callable[[int], None]) -> None:
    """Do one part of a job (`bcprobe.probes.jobs.Job` in its plain form)."""
    model = load_checkpoint(job["checkpoint"], job["device"])
    models = {"trained": model, "untrained": untrained_like(model, job["untrained_seed"])}
    numbers = range(job["first"], job["last"])
    if job["worlds"] is None:
        recordings = replayed(read_episodes(job["episodes"])[numbers.start : numbers.stop])
    else:
        options = dict(job["worlds"])
        split, _ = options.pop("split"), options.pop("count")
        recordings = worked((split_seed(split, i) for i in numbers), **options)
    looks = gather(models, job["sites"], recordings)
    write_looks(looks, Path(job["folder"]), job["part"], seen)


def _main(job: str) -> None:
    torch.set_num_threads(1)

    def seen(count: int) -> None:
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()

    try:
        work(json.loads(job), seen)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error


if __name__ == "__main__":
    _main(sys.argv[1])
