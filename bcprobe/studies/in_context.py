"""A model that has just watched an annotator do the task, and then works on its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bcprobe.episodes.record import generate
from bcprobe.model.transformer import ClickTransformer, RingCache
from bcprobe.rng import split_seed


class Prompted:
    """A model whose memory of each world begins with episodes of other worlds.

    Those are an annotator's, as many as its answers can depend on through all layers, the
    newest last; the attention window itself holds ``context - 1`` of their frames. Use it where
    `bcprobe.episodes.model_policy.ModelPolicy` asks for a model; all ``worlds`` at once.
    """

    def __init__(self, model: ClickTransformer, task: str, worlds: int, **shown: Any) -> None:
        self.model = model
        frames = max(1, model.config.reach - 1)
        demonstrated = [demonstration(task, number, frames, **shown) for number in range(worlds)]
        self.cache = model.start_cache()
        tokens = torch.stack([self._see(pixels) for pixels, _ in demonstrated])
        clicks = torch.stack([clicks for _, clicks in demonstrated]).to(model.device)
        with torch.inference_mode():
            for t in range(frames):
                model.step(tokens[:, t], clicks[:, t], self.cache)

    @torch.inference_mode()
    def _see(self, pixels: Tensor) -> Tensor:
        return self.model.encoder.see(pixels.to(self.model.device))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    def start_cache(self) -> RingCache:
        """Memory of the demonstrations."""
        return copy.deepcopy(self.cache)

    def step(self, frames: Tensor, previous: Tensor, cache: RingCache) -> Any:
        """Answer to one more frame of each world."""
        return self.model.step(frames, previous, cache)


def demonstration(task: str, number: int, frames: int, **shown: Any) -> tuple[Tensor, Tensor]:
    """The last ``frames`` frames of an annotator's episodes one after the other.

    uint8 [frame, 3, 360, 480] and the clicks int64 [frame, 2] that led to them. Worlds are of the
    train split; each ``number`` has its own.
    """
    pixels: list[Tensor] = []
    clicks: list[Tensor] = []
    world = number * frames  # an episode has a frame at least: no world is shown twice
    while sum(map(len, clicks)) < frames:
        shots, previous = generate(task, split_seed("train", world), **shown).as_tensors()
        pixels.append(shots[0])
        clicks.append(previous[0])
        world += 1
    return _last(pixels, frames), _last(clicks, frames)


def _last(parts: Sequence[Tensor], count: int) -> Tensor:
    return torch.cat(list(parts))[-count:]
