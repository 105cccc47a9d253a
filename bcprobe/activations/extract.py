"""Activations at [cls], gathered while a model looks at episodes. Needs torch.

As a program it works through its share of each of some jobs, so that the program that asked need
not load torch and all cores are used: ``python -m bcprobe.activations.extract JOBS OUT``.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.activations.dataset import DONE, Gathered, Halves
from bcprobe.activations.sites import check_sites
from bcprobe.episodes.record import frames, generate
from bcprobe.episodes.simulator import Simulator
from bcprobe.errors import InputError
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Episode

#: Frames shown to a model at a time (0.5 MB each); an episode is never cut.
TAPE = 128
PATCH = 40
Recording = tuple[Episode, NDArray[np.uint8]]


def gather(
    models: Sequence[ClickTransformer],
    sites: Sequence[str],
    recordings: Iterable[Recording],
    seen: Callable[[int], None] = lambda count: None,
) -> Gathered:
    """Activations of each model at each step of the recordings, in order.

    ``seen(n)`` is told of every ``n`` more episodes done. Raises `InputError` for a site that
    a model does not have.
    """
    for model in models:
        check_sites(sites, model.config)
    episodes: list[Episode] = []
    parts: list[tuple[list[dict[str, Halves]], Halves]] = []
    for tape in _tapes(recordings):
        episodes += [episode for episode, _ in tape]
        pixels = np.concatenate([shots for _, shots in tape])
        parts.append(([_look(model, sites, tape, pixels) for model in models], patches(pixels)))
        seen(len(tape))
    joined = tuple(
        {site: np.concatenate([part[0][i][site] for part in parts]) for site in sites}
        for i in range(len(models))
    )
    return Gathered(tuple(episodes), joined, np.concatenate([part[1] for part in parts]))


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
        kept[hook.name] = x[0, positions].flatten(1)  # indexing copies: x may go

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


def _tapes(recordings: Iterable[Recording]) -> Iterator[list[Recording]]:
    tape: list[Recording] = []
    for recording in recordings:
        if tape and sum(len(shots) for _, shots in tape) + len(recording[1]) > TAPE:
            yield tape
            tape = []
        tape.append(recording)
    if tape:
        yield tape


def _look(
    model: ClickTransformer,
    sites: Sequence[str],
    tape: Sequence[Recording],
    pixels: NDArray[np.uint8],
) -> dict[str, Halves]:
    clicks = [[step.click for step in episode.steps] for episode, _ in tape]
    previous = [click for own in clicks for click in [(-1, -1), *own][: len(own)]]
    segments = np.repeat(np.arange(len(tape)), [len(own) for own in clicks])
    shown = torch.from_numpy(pixels).to(model.device).permute(0, 3, 1, 2)[None]
    inputs = [torch.from_numpy(np.array(part)).to(model.device) for part in (previous, segments)]
    found = at_cls(model, sites, shown, inputs[0][None], inputs[1][None])
    return {site: values.half().cpu().numpy() for site, values in found.items()}


@lru_cache(maxsize=1)
def _models(checkpoint: str, untrained_seed: int) -> tuple[ClickTransformer, ClickTransformer]:
    model = load_checkpoint(checkpoint)
    return model, untrained_like(model, untrained_seed)


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _work(job: dict[str, Any]) -> Gathered:
    models = _models(job["checkpoint"], job["untrained_seed"])
    options = {"layout": job["layout"], "difficulty": job["difficulty"]}
    recordings = worked(job["world_seeds"], job["task"], **options)
    return gather(models, job["sites"], recordings, _say)


def main(jobs_path: str, out: str) -> None:
    """Work a list of jobs; the n-th goes to ``OUT.n``, unless it has no worlds.

    Prints the number of episodes done when there are more, and `DONE` after each job. Bad input is
    one line on standard error and exit code 2.
    """
    torch.set_num_threads(1)
    try:
        for number, job in enumerate(json.loads(Path(jobs_path).read_text())):
            if job["world_seeds"]:
                Path(f"{out}.{number}").write_bytes(pickle.dumps(_work(job), protocol=5))
            _say(DONE)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
