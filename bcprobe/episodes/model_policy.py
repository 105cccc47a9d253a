"""A model as a clicker: it looks at screens and clicks, many worlds at once."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bcprobe.episodes.embedding_cache import EmbeddingCache
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

    Two things save work and change no click. ``embeddings`` keeps what the model's encoder made of
    a screen; the model is then shown that. ``reach`` is the number of last screens that an answer
    can depend on: at temperature 0 a world whose last ``reach`` states and clicks are those
    of an earlier time goes on as it did then, for ever, and is not looked at any more.
    """

    def __init__(
        self,
        model: StepModel,
        temperature: float = 0.0,
        seed: int = 0,
        *,
        one_frame: bool = False,
        embeddings: EmbeddingCache | None = None,
        reach: int | None = None,
    ) -> None:
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature {temperature} is not 0 or more")
        self.model, self.temperature, self.one_frame = model, temperature, one_frame
        self.embeddings, self.reach = embeddings, 1 if one_frame and reach else reach
        self.seed = int(generator("model policy", seed).integers(2**62))

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Take the worlds; nothing has been seen of them yet."""
        self.simulators = simulators
        self.seen = list(range(len(simulators)))
        self.cache = self.model.start_cache()
        self.draws = torch.Generator(self.model.device).manual_seed(self.seed)
        self.memory = np.empty((len(simulators), SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)
        self.loops = [_Loop(self.reach) for _ in simulators]

    def act(self, live: Sequence[int]) -> list[Click]:
        """One click for each world named, after one look at its screen."""
        if self.temperature == 0 and self.reach is not None:
            for index in live:
                self.loops[index].note(self.simulators[index])
        look = [index for index in live if not self.loops[index].period]
        clicks = dict(zip(look, self._look(look), strict=True)) if look else {}
        return [clicks[i] if i in clicks else self._as_before(i) for i in live]

    def _as_before(self, index: int) -> Click:
        return self.simulators[index].history[-self.loops[index].period].click

    @torch.inference_mode()
    def _look(self, live: Sequence[int]) -> list[Click]:
        self._keep(live)
        last = [_last_click(self.simulators[index]) for index in live]
        previous = torch.tensor(last, dtype=torch.int64, device=self.model.device)
        clicks = self.model.step(self._screens(live), previous, self.cache)
        drawn = clicks.sample(self.temperature, self.draws)[:, 0].tolist()
        return [Click(int(x), int(y)) for x, y in drawn]

    def _screens(self, live: Sequence[int]) -> Tensor:
        """What the model is shown: frames, or what its encoder made of them."""
        if self.embeddings is not None:
            return self.embeddings.embed([self.simulators[index] for index in live])
        for frame, index in zip(self.memory, live, strict=False):
            self.simulators[index].screen(frame)
        frames = torch.from_numpy(self.memory[: len(live)]).to(self.model.device)
        return frames.permute(0, 3, 1, 2)

    def _keep(self, live: Sequence[int]) -> None:
        """Forget the worlds that ended since the last click."""
        if self.one_frame:
            self.cache = self.model.start_cache()
        elif len(live) < len(self.seen):
            place = {index: number for number, index in enumerate(self.seen)}
            rows = torch.tensor([place[index] for index in live], device=self.model.device)
            self.cache.select(rows)
        self.seen = list(live)


class _Loop:
    """Notices when a world's last ``reach`` states and clicks have all been there before.

    ``period`` is then the number of clicks since, and 0 as long as they have not.
    """

    def __init__(self, reach: int | None) -> None:
        self.numbers: dict[Any, int] = {}
        self.window: deque[int] = deque(maxlen=reach)
        self.when: dict[tuple[int, ...], int] = {}
        self.period = 0

    def note(self, simulator: Simulator) -> None:
        """Take note of the present state and of the click that led to it."""
        if self.period:
            return
        shown = (simulator.state, _last_click(simulator))
        self.window.append(self.numbers.setdefault(shown, len(self.numbers)))
        now = len(simulator.history)
        if len(self.window) == self.window.maxlen:
            self.period = now - self.when.setdefault(tuple(self.window), now)


def _last_click(simulator: Simulator) -> tuple[int, int]:
    history = simulator.history
    return history[-1].click if history else (-1, -1)
