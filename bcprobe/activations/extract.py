"""One pass of a model over episodes: what it holds inside, and what it predicts. Needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.activations.dataset import (
    Activations,
    Source,
    Values,
    as_stored,
    label_rows,
    name_of,
)
from bcprobe.activations.labels import NONE_PLACED
from bcprobe.activations.sites import check_sites, check_tokens, patch_at, residual_sites
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import frames, generate
from bcprobe.episodes.sequences import PackedEpisodes, in_batches
from bcprobe.episodes.simulator import Simulator
from bcprobe.episodes.store import episodes_hash
from bcprobe.errors import InputError
from bcprobe.gui.layouts import button_rect
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.heads import Clicks
from bcprobe.model.precision import own_precision, products_in
from bcprobe.model.registry import checkpoint_hash
from bcprobe.model.transformer import ClickTransformer
from bcprobe.tasks import get_task
from bcprobe.types import PLACING, SCREEN_HEIGHT, SCREEN_WIDTH

#: Side in px of the patches whose mean colours are kept.
PATCH = 40
#: An episode and its frames, uint8 [step, 360, 480, 3].
Recording = tuple[Episode, NDArray[np.uint8]]
Look = tuple[Values, dict[str, NDArray[np.float32]]]


def collect(
    model: ClickTransformer,
    episodes: Iterable[Episode],
    sites: Sequence[str] | None = None,
    tokens: str | Sequence[str] = "cls",
) -> Activations:
    """Activations of a model on any episodes, in one pass, on its device and nothing on disk.

    ``sites`` default to the residual stream. Raises `InputError` for an unknown site or token, or
    if there is no episode.
    """
    chosen = check_sites(residual_sites(model.config) if sites is None else sites, model.config)
    episodes = list(episodes)
    if not any(map(len, episodes)):
        raise InputError("no step to look at; give one episode or more")
    return gather([model], chosen, check_tokens(tokens), replayed(episodes))[0]


def gather(
    models: Sequence[ClickTransformer],
    sites: Sequence[str],
    tokens: Sequence[str],
    recordings: Iterable[Recording],
) -> tuple[Activations, tuple[Episode, ...]]:
    """Activations of the first model at each step of the recordings, with the others as untrained.

    Second are the recordings' episodes. Raises `InputError` for a site that a model does not have.
    """
    for model in models:
        check_sites(sites, model.config)
    episodes: list[Episode] = []
    looks: list[list[Look]] = []
    colours: list[NDArray[np.float16]] = []
    for sequence in in_batches(recordings, lambda recording: len(recording[1])):
        episodes += [episode for episode, _ in sequence]
        pixels = np.concatenate([shown for _, shown in sequence])
        looks.append(
            [
                look(model, sites, tokens, sequence, pixels, answers=number == 0)
                for number, model in enumerate(models)
            ]
        )
        colours.append(patches(pixels))
    joined = [_joined([part[number][0] for part in looks]) for number in range(len(models))]
    columns = looks[0][0][1]
    made = Activations(
        values=joined[0],
        labels=label_rows(episodes),
        untrained=tuple(joined[1:]),
        pixels=np.concatenate(colours),
        hashes={"episodes": episodes_hash(episodes)},
        predictions=pd.DataFrame(
            {name: np.concatenate([part[0][1][name] for part in looks]) for name in columns}
        ),
        config=models[0].config,
    )
    return made, tuple(episodes)


def gather_worlds(
    source: Source, world_seeds: Sequence[int], device: str
) -> tuple[Activations, tuple[Episode, ...]]:
    """`gather` on a source's worlds of these seeds, with its checkpoint and untrained models."""
    models = _models(str(source.checkpoint), source.untrained, source.seed, device)
    options = {
        "layout": source.layout,
        "difficulty": source.difficulty,
        "manner": source.manner,
    }
    recordings = worked(world_seeds, source.task, **options)
    precision = own_precision("auto", models[0].metadata, models[0].device)
    with products_in(precision, models[0].device):
        made, episodes = gather(models, source.sites, source.tokens, recordings)
    made.hashes["checkpoint"] = checkpoint_hash(source.checkpoint)
    return made, episodes


def look(
    model: ClickTransformer,
    sites: Sequence[str],
    tokens: Sequence[str],
    sequence: Sequence[Recording],
    pixels: NDArray[np.uint8],
    *,
    answers: bool = True,
) -> Look:
    """What a model holds at each step of packed episodes, and, with ``answers``, what it predicts.

    ``pixels`` are the frames of all. Values float16 or float32 [step, d] by `name_of`; predictions
    float32 [step]: ``p_undo``, ``p_done``, ``entropy`` (nats), ``log_prob`` (of the click made).
    """
    packed = PackedEpisodes([episode for episode, _ in sequence])
    shown = torch.from_numpy(pixels).to(model.device).permute(0, 3, 1, 2)[None]
    previous, segments, clicks = (
        torch.from_numpy(part)[None].to(model.device)
        for part in (packed.previous, packed.segments(), packed.clicks)
    )
    places = {token: _places(model, token, sequence) for token in tokens}
    kept: dict[str, Tensor] = {}

    def keep(x: Tensor, hook: Any) -> None:
        for token, at in places.items():
            kept[name_of(hook.name, token)] = x[0, at].flatten(1)  # indexing copies: x may go

    with torch.inference_mode():
        hooks = [(site, keep) for site in sites]
        said = model.run_with_hooks(shown, previous, segments, fwd_hooks=hooks)
        found = _answers(said, sequence, clicks) if answers else {}
    values = {name: as_stored(x.float().cpu().numpy(), name) for name, x in kept.items()}
    return values, found


def _places(model: ClickTransformer, token: str, sequence: Sequence[Recording]) -> Tensor:
    """Position [step] of a token of each frame in the residual stream of packed episodes."""
    config, count = model.config, sum(len(shown) for _, shown in sequence)
    starts = torch.arange(count) * config.tokens_per_frame
    if token == "placed":
        at = [place for episode, _ in sequence for place in last_placed(episode)]
        # before any placement the first patch stands in; labels leave these steps out
        own = [0 if x == NONE_PLACED else patch_at(config, x, y) for x, y in at]
        return (starts + torch.tensor(own)).to(model.device)
    return (starts + (config.n_patches if token == "previous" else config.cls_index)).to(
        model.device
    )


def last_placed(episode: Episode) -> list[tuple[int, int]]:
    """Before each click, the last one that placed or classified: (x, y) px, or (-1, -1)."""
    found, last = [], (NONE_PLACED, NONE_PLACED)
    for step in episode.steps:
        found.append(last)
        if step.action in PLACING and step.valid:
            last = (step.click.x, step.click.y)
    return found


def _answers(
    said: Clicks, sequence: Sequence[Recording], clicks: Tensor
) -> dict[str, NDArray[np.float32]]:
    boxes = {"p_undo": "Undo", "p_done": "Done"}
    looks = {(episode.task, episode.layout) for episode, _ in sequence}
    found: dict[str, Tensor] = {}
    for column, name in boxes.items():
        by_look = {one: said.box_prob(_box(*one, name))[0] for one in looks}
        parts, first = [], 0
        for episode, shown in sequence:
            parts.append(by_look[episode.task, episode.layout][first : first + len(shown)])
            first += len(shown)
        found[column] = torch.cat(parts)
    found["entropy"] = said.entropy()[0]
    found["log_prob"] = said.click_log_prob(clicks)[0]
    return {name: values.float().cpu().numpy() for name, values in found.items()}


def _box(task: str, layout: str, name: str) -> tuple[int, int, int, int]:
    rect = button_rect(layout, get_task(task).buttons, name)
    return rect.x, rect.y, rect.width, rect.height


def patches(pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
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


def same_weights(model: ClickTransformer, folder: Path) -> bool:
    """Whether a model's weights are those of a checkpoint, to the bit."""
    try:
        other = load_checkpoint(folder)
    except InputError:
        return False
    theirs = other.state_dict()
    return model.config == other.config and all(
        name in theirs and torch.equal(tensor.cpu(), theirs[name])
        for name, tensor in model.state_dict().items()
    )


@lru_cache(maxsize=1)
def _models(checkpoint: str, untrained: int, seed: int, device: str) -> list[ClickTransformer]:
    model = load_checkpoint(checkpoint, device)
    return [model, *(model.untrained(seed + number) for number in range(untrained))]


def _joined(parts: Sequence[Values]) -> Values:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
