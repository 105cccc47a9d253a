"""Causes: what a model does when a direction at [cls] is added, taken away or swapped.

The material are counterfactual twins: an episode up to a placement that is right in one and
wrong in the other. The screen after the placement is looked at once as it is and once for
every edit of the residual stream at that frame's [cls]; the effect is read from the click
distribution.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import frames, generate
from bcprobe.episodes.twins import placements, twin
from bcprobe.errors import InputError
from bcprobe.gui.layouts import Rect, button_rect
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator
from bcprobe.tasks import get_task

#: [d] of every world in a batch to [d]: an edit of the residual stream at [cls].
Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Twin:
    """The frames around a placement, right and wrong.

    ``before`` uint8 [context - 1, 360, 480, 3] are the frames up to the placement, the same
    for both; ``after`` uint8 [2, 360, 480, 3] the next one, after the right placement and
    after the wrong one. ``clicks`` int64 [context - 1, 2] led to ``before``, ``placed`` int64
    [2, 2] to ``after``, in px.
    """

    world_seed: int
    kind: str
    before: np.ndarray
    after: np.ndarray
    clicks: np.ndarray
    placed: np.ndarray


def make_twins(
    task: str, world_seeds: Iterable[int], context: int, layout: str = "original", seed: int = 0
) -> list[Twin]:
    """A pair of twins per world, at a random placement and of a random kind of mistake.

    Placements before frame ``context`` are left out, and worlds that have no other.
    """
    found = []
    for world_seed in world_seeds:
        episode = generate(task, world_seed, layout=layout)
        rng = generator("twins", task, world_seed, seed)
        late = [t for t in placements(episode) if context - 1 <= t < len(episode) - 1]
        if late:
            pair = twin(episode, int(rng.choice(late)), seed)
            kind = sorted(pair.wrong)[rng.integers(len(pair.wrong))]
            found.append(_around(pair.right, pair.wrong[kind], pair.step, kind, context))
    return found


def _around(right: Episode, wrong: Episode, step: int, kind: str, context: int) -> Twin:
    first = step + 2 - context
    shown = [list(_cut(episode, first, step + 2)) for episode in (right, wrong)]
    clicks = [[*episode.steps[first - 1 : step + 1]] for episode in (right, wrong)]
    led = np.array([[one.click for one in own] for own in clicks], dtype=np.int64)
    return Twin(
        world_seed=right.world_seed,
        kind=kind,
        before=np.stack(shown[0][:-1]),
        after=np.stack([own[-1] for own in shown]),
        clicks=led[0, :-1],
        placed=led[:, -1],
    )


def _cut(episode: Episode, first: int, end: int) -> Iterator[np.ndarray]:
    for t, frame in enumerate(frames(episode)):
        if t >= end:
            return
        if t >= first:
            yield frame


class Bench:
    """Twins lying ready behind a model: all frames have been seen, those before the last read.

    ``look`` answers for the last frames, as they are or edited at a site.
    """

    def __init__(
        self, model: ClickTransformer, twins: Sequence[Twin], task: str, layout: str = "original"
    ) -> None:
        if not twins:
            raise InputError(f"no placement of '{task}' to intervene on; use more episodes")
        self.model, self.twins = model, twins
        self.undo = undo_button(task, layout)
        self.cache = model.start_cache()
        before = np.stack([pair.before for pair in twins])
        clicks = np.stack([pair.clicks for pair in twins])
        with torch.inference_mode():
            for t in range(before.shape[1]):
                model.step(_frames(before[:, t]), torch.from_numpy(clicks[:, t]), self.cache)
            after = (np.stack([pair.after[side] for pair in twins]) for side in (0, 1))
            self.seen = [model.encoder.see(_frames(shown)) for shown in after]

    def look(self, side: int, site: str = "", edit: Edit | None = None) -> Tensor:
        """Click maps [pair, 360, 480] after the right (0) or wrong (1) placement.

        With ``edit`` the residual stream at ``site`` and [cls] is replaced by what it makes
        of it.
        """
        placed = torch.from_numpy(np.stack([pair.placed[side] for pair in self.twins]))
        hooks = [] if edit is None else [(site, _editing(edit))]
        with torch.inference_mode(), self.model.hooks(fwd_hooks=hooks):
            clicks = self.model.step(self.seen[side], placed, copy.deepcopy(self.cache))
            return clicks.heat_map()[:, 0]

    def at_cls(self, side: int, site: str) -> Tensor:
        """What a site holds at [cls], [pair, d], after the right (0) or wrong (1) placement."""
        kept: list[Tensor] = []

        def keep(x: Tensor) -> Tensor:
            kept.append(x.clone())
            return x

        self.look(side, site, keep)
        return kept[0]

    def p_undo(self, heat: Tensor) -> np.ndarray:
        """Probability [pair] that the next click hits the Undo button."""
        r = self.undo
        return heat[:, r.y : r.y + r.height, r.x : r.x + r.width].sum((1, 2)).numpy()


def undo_button(task: str, layout: str) -> Rect:
    """Where a task's Undo button is in a layout."""
    return button_rect(layout, get_task(task).buttons, "Undo")


def map_shift(heat: Tensor, other: Tensor) -> np.ndarray:
    """Total variation [pair] between click maps [pair, 360, 480]: 0 equal, 1 disjoint."""
    return (0.5 * (heat - other).abs().sum((1, 2))).numpy()


def add(direction: Tensor, amount: float) -> Edit:
    """Add ``amount`` (in the activations' units) of a unit direction [d]."""
    return lambda x: x + amount * direction


def ablate(direction: Tensor, centre: float) -> Edit:
    """Set the component along a unit direction [d] to its mean over the data."""
    return lambda x: x - (x @ direction - centre)[:, None] * direction


def swap(direction: Tensor, other: Tensor) -> Edit:
    """Take the component along a unit direction [d] from the other twin's [cls]: [pair, d]."""
    return lambda x: x + ((other - x) @ direction)[:, None] * direction


def random_directions(count: int, size: int, seed: int = 0) -> list[Tensor]:
    """Random unit directions [d], to be used at the norm of the real one."""
    drawn = generator("random directions", seed).normal(size=(count, size))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return [torch.from_numpy(one).float() for one in drawn]


class Steered:
    """A model whose residual stream is edited at a site and [cls] at every step it takes.

    Use it where a model is asked for, as with `bcprobe.episodes.model_policy.ModelPolicy`.
    """

    def __init__(self, model: ClickTransformer, site: str, edit: Edit) -> None:
        self.model, self.hooks = model, [(site, _editing(edit))]

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    def start_cache(self) -> Any:
        """Empty memory."""
        return self.model.start_cache()

    def step(self, frames: Tensor, previous: Tensor, cache: Any) -> Any:
        """Answer to one more frame of each world, edited."""
        with self.model.hooks(fwd_hooks=self.hooks):
            return self.model.step(frames, previous, cache)


def _editing(edit: Edit) -> Callable[..., Tensor]:
    def hook(x: Tensor, hook: Any) -> Tensor:
        edited = x.clone()
        edited[:, -1] = edit(x[:, -1])  # [cls] is a frame's last token
        return edited

    return hook


def _frames(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
