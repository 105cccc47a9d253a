"""A model before a world, steered and read while it looks: what it holds and would click."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bcprobe.activations.sites import token_positions
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.player import coarse, packed
from bcprobe.episodes.simulator import Simulator
from bcprobe.errors import InputError
from bcprobe.gui.layouts import button_rect
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.transformer import ClickTransformer, RingCache
from bcprobe.rng import generator
from bcprobe.serve.readout import TOKENS, Readout, find_readout
from bcprobe.types import PLACING, Click

#: Models held at a time.
MOST_MODELS = 3
#: {"site": number, "token": "cls" or "placed", "amount": in separations}, or None.
Steer = dict[str, Any] | None
#: The world, the checkpoint, the clicks so far [[x, y]], and the steering of each look.
Job = dict[str, Any]


@lru_cache(maxsize=MOST_MODELS)
def model_of(checkpoint: str) -> ClickTransformer:
    """A checkpoint's model, held for the next question."""
    return load_checkpoint(checkpoint)


@lru_cache(maxsize=MOST_MODELS)
def readout_of(checkpoint: str) -> Readout:
    """A checkpoint's read-out. Raises `InputError` if it is not fitted yet."""
    found = find_readout(checkpoint)
    if found is None:
        raise InputError(f"the read-out of '{checkpoint}' is not fitted yet")
    return found


class Eye:
    """A model as `ModelPolicy` asks for it, which is steered and read while it looks."""

    def __init__(self, model: ClickTransformer, readout: Readout | None) -> None:
        self.model, self.readout = model, readout
        self.steer: Steer = None
        self.placed: Click | None = None
        self.last: Any = None
        self.read: dict[str, float | None] = {}

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    def start_cache(self) -> Any:
        """Empty memory."""
        return self.model.start_cache()

    def step(self, frames: Tensor, previous: Tensor, cache: Any) -> Any:
        """Look at one more frame of one world."""
        self.read = dict.fromkeys(TOKENS)
        with self.model.hooks(fwd_hooks=list(self._hooks())):
            self.last = self.model.step(frames, previous, cache)
        return self.last

    def check(self, steer: Steer) -> None:
        """Raise `InputError` for a steering that this model cannot have."""
        if steer is None:
            return
        if self.readout is None:
            raise InputError("the direction to steer along is not fitted yet; try again")
        if steer["site"] >= len(self.readout.sites):
            raise InputError(
                f"there is no site {steer['site']}; last: {len(self.readout.sites) - 1}"
            )

    def _at(self, token: str) -> int | None:
        found = token_positions(self.model.config, token, self.placed)
        return found[0] if found else None

    def _hooks(self) -> Iterator[tuple[str, Any]]:
        if self.readout is None:
            return
        if self.steer is not None and self.steer["amount"]:
            yield self.readout.sites[self.steer["site"]], self._pushing(self.readout, self.steer)
        for token in TOKENS:
            site = self.readout.best(token)
            yield self.readout.sites[site], self._reading(self.readout, token, site)

    def _pushing(self, readout: Readout, steer: dict[str, Any]) -> Any:
        token, site = steer["token"], steer["site"]
        position = self._at(token)
        size = steer["amount"] * float(readout.separations[TOKENS.index(token), site])
        vector = torch.from_numpy(readout.direction(token, site) * np.float32(size))

        def hook(x: Tensor, hook: Any) -> Tensor:
            if position is None:
                return x
            pushed = x.clone()
            pushed[:, position] += vector
            return pushed

        return hook

    def _reading(self, readout: Readout, token: str, site: int) -> Any:
        position = self._at(token)

        def hook(x: Tensor, hook: Any) -> None:
            if position is not None:
                self.read[token] = readout.read(token, site, x[0, position].numpy())

        return hook


class WatchedRun:
    """A model before a world: it has looked at every screen up to the present one."""

    def __init__(self, job: Job, simulator: Simulator) -> None:
        checkpoint = job["checkpoint"]
        self.model = model_of(checkpoint)
        found = find_readout(checkpoint)
        self.eye = Eye(self.model, None if found is None else readout_of(checkpoint))
        self.simulator = simulator
        self.policy = ModelPolicy(self.eye)
        self.policy.start([simulator])
        self.steers: list[Steer] = []
        self.choice: Click | None = None
        self.saved: RingCache | None = None

    def relook(self, clicks: Sequence[Click], steers: Sequence[Steer]) -> bool:
        """Look at the present screen again under another steering, if only that is asked for."""
        made = [step.click for step in self.simulator.history]
        if made != list(clicks) or self.steers[:-1] != list(steers[:-1]) or self.saved is None:
            return False
        if self.steers != list(steers):
            self.policy.cache = _copied(self.saved)
            self.steers.pop()
            self.look(steers[-1])
        return True

    def goes_on(self, clicks: Sequence[Click], steers: Sequence[Steer]) -> bool:
        """Whether what it has seen is the beginning of this."""
        made = [step.click for step in self.simulator.history]
        seen = len(self.steers)
        return (
            len(made) <= len(clicks)
            and made == list(clicks[: len(made)])
            and seen > len(made)
            and self.steers == list(steers[:seen])
        )

    def go_to(self, clicks: Sequence[Click], steers: Sequence[Steer], first: int = 0) -> None:
        """Make the clicks and look at every screen from number ``first`` on."""
        while True:
            number = len(self.simulator.history)
            if len(self.steers) <= number:
                self.look(steers[number], blind=number < first)
            if number == len(clicks):
                return
            self.simulator.click(clicks[number])

    def look(self, steer: Steer, *, blind: bool = False) -> None:
        """Look at the present screen; ``blind``: it is too long ago to matter."""
        self.steers.append(steer)
        if blind:
            return
        self.eye.check(steer)
        placed = [s.click for s in self.simulator.history if s.action in PLACING and s.valid]
        self.eye.steer, self.eye.placed = steer, placed[-1] if placed else None
        self.saved = _copied(self.policy.cache)
        self.choice = self.policy.act([0])[0]

    def reading(self) -> dict[str, Any]:
        """What the model held when it looked last."""
        return {
            "p_undo": self._chance("Undo"),
            "p_done": self._chance("Done"),
            "mistake": {
                token: None if value is None else round(value, 5)
                for token, value in self.eye.read.items()
            },
            "steer": self.steers[-1],
        }

    def _chance(self, button: str) -> float:
        task, layout = self.simulator.task, self.simulator.layout.name
        rect = button_rect(layout, task.buttons, button)
        box = (rect.x, rect.y, rect.width, rect.height)
        return round(float(self.eye.last.box_prob(box)[0, 0]), 5)

    def draw(self, temperature: float, seed: int) -> Click:
        """The click that the model makes now."""
        number = len(self.simulator.history)
        key = int(generator("watched click", seed, number).integers(2**62))
        draws = torch.Generator().manual_seed(key)
        x, y = self.eye.last.sample(temperature, draws)[0, 0].tolist()
        return Click(int(x), int(y))

    def seen(self) -> dict[str, Any]:
        """What a page shows of the last look."""
        heat = self.eye.last.heat_map()[0, 0].numpy()
        assert self.choice is not None
        return {
            "reading": self.reading(),
            "heat": packed(coarse(heat)),
            "choice": list(self.choice),
        }


def _copied(cache: RingCache) -> RingCache:
    """The same memory: a look replaces keys and values and never writes into them."""
    other = RingCache(0)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    other.frames = cache.frames
    return other
