"""A model as a clicker: it looks at screens and clicks, many worlds at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bcprobe.episodes.simulator import Simulator
from bcprobe.rng import generator
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Click


class StepModel(Protocol):
    """What is asked of a model: a look at one more screen of each world, then a click."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def start_cache(self) -> Any:
        """Empty memory; has ``select(rows)``, which keeps some worlds of the batch."""
        ...

    def step(self, frames: Tensor, previous: Tensor, cache: Any) -> Any:
        """Answer to frames uint8 [world, 3, 360, 480] and the clicks int64 [world, 2] that led
        to them: something with ``sample(temperature, generator)`` int64 [world, 1, 2]."""
        ...


class ModelPolicy:
    """A model at work on many worlds at once; what it has seen stays in its cache.

    ``temperature`` 0 takes the most probable pixel. ``seed`` makes the draws: equal seeds
    and worlds give equal clicks. ``one_frame`` hides everything but the present screen and
    the last click. Drive it with `rollout`.
    """

    def __init__(
        self,
        model: StepModel,
        temperature: float = 0.0,
        seed: int = 0,
        *,
        one_frame: bool = False,
    ) -> None:
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature {temperature} is not 0 or more")
        self.model, self.temperature, self.one_frame = model, temperature, one_frame
        self.seed = int(generator("model policy", seed).integers(2**62))

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Take the worlds; nothing has been seen of them yet."""
        self.simulators = simulators
        self.live = list(range(len(simulators)))
        self.cache = self.model.start_cache()
        self.draws = torch.Generator(self.model.device).manual_seed(self.seed)
        self.memory = np.empty((len(simulators), SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)

    @torch.inference_mode()
    def act(self, live: Sequence[int]) -> list[Click]:
        """One click for each world named, after one look at its screen."""
        self._keep(live)
        for frame, index in zip(self.memory, live, strict=False):
            self.simulators[index].screen(frame)
        frames = torch.from_numpy(self.memory[: len(live)]).to(self.model.device)
        last = [self._last_click(index) for index in live]
        previous = torch.tensor(last, dtype=torch.int64, device=self.model.device)
        clicks = self.model.step(frames.permute(0, 3, 1, 2), previous, self.cache)
        drawn = clicks.sample(self.temperature, self.draws)[:, 0].tolist()
        return [Click(int(x), int(y)) for x, y in drawn]

    def _keep(self, live: Sequence[int]) -> None:
        """Forget the worlds that ended since the last click."""
        if self.one_frame:
            self.cache = self.model.start_cache()
        elif len(live) < len(self.live):
            place = {index: number for number, index in enumerate(self.live)}
            rows = torch.tensor([place[index] for index in live], device=self.model.device)
            self.cache.select(rows)
        self.live = list(live)

    def _last_click(self, index: int) -> tuple[int, int]:
        history = self.simulators[index].history
        return history[-1].click if history else (-1, -1)
