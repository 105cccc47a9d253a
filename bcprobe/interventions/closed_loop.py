"""A model that works alone while the located site is moved, or erased, at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.bootstrap import difference_of, paired_draws, ratio, score_of, with_all
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import MAX_STEPS, work
from bcprobe.errors import InputError
from bcprobe.gui.layouts import Rect, arrange, get_layout
from bcprobe.interventions.directions import Site
from bcprobe.interventions.patch import Change
from bcprobe.model.transformer import ClickTransformer
from bcprobe.progress import track
from bcprobe.tasks import get_task
from bcprobe.types import PLACING

COLUMNS = ("task", "condition", "metric", "estimate", "lower", "upper", "n")
#: At temperature 0 a model errs too rarely to be seen correcting.
TEMPERATURE = 1.0
Floats = NDArray[np.float64]


def placing_areas(task: str, layout: str = "original") -> list[Rect]:
    """Where a click places or classifies: the canvas, and the buttons that name a class."""
    buttons = get_task(task).buttons
    places = arrange(get_layout(layout), buttons)
    named = [
        rect
        for rect, button in zip(places.buttons, buttons, strict=True)
        if button.action in PLACING
    ]
    return [places.canvas, *named]


class Steered:
    """A model changed at a site of each frame that a placing click led to.

    Use it where a model is asked for, as with `bcprobe.episodes.model_policy.ModelPolicy`.
    ``changes`` holds one `Change` for each of the site's hooks. Frames that other clicks led to
    pass unchanged: the placed patch is that of the click just made.
    """

    def __init__(
        self,
        model: ClickTransformer,
        site: Site,
        changes: Sequence[Change],
        areas: Sequence[Rect],
    ) -> None:
        if site.tokens not in ("placed", "cls"):
            raise InputError(f"closed loop edits 'placed' or 'cls', not '{site.tokens}'")
        self.model, self.site, self.areas = model, site, areas
        self.changes = dict(zip(site.hooks(model.config), changes, strict=True))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    def start_cache(self) -> Any:
        """Empty memory."""
        return self.model.start_cache()

    def step(self, frames: Tensor, previous: Tensor, cache: Any) -> Any:
        """Answer to one more frame of each world, changed."""
        rows, tokens = self._places(previous)
        hooks = [(hook, _changing(change, rows, tokens)) for hook, change in self.changes.items()]
        with self.model.hooks(fwd_hooks=hooks if len(rows) else []):
            return self.model.step(frames, previous, cache)

    def _places(self, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Rows that a placing click led to, and the position to change in each."""
        config = self.model.config
        x, y = previous[:, 0], previous[:, 1]
        inside = torch.zeros_like(x, dtype=torch.bool)
        for r in self.areas:
            inside |= (x >= r.x) & (x < r.x + r.width) & (y >= r.y) & (y < r.y + r.height)
        rows = inside.nonzero()[:, 0]
        width, height = config.patch
        patches = y[rows] // height * config.grid[0] + x[rows] // width
        return rows, patches if self.site.tokens == "placed" else patches * 0 + config.cls_index


def _changing(change: Change, rows: Tensor, tokens: Tensor) -> Callable[..., Tensor]:
    def hook(x: Tensor, hook: Any) -> Tensor:
        x = x.clone()
        old = x[rows, tokens][:, None]  # (row, 1, d)
        x[rows, tokens] = change.of(old, old, old, [change] * len(rows))[:, 0]
        return x

    return hook


@dataclass(frozen=True, eq=False)
class Counts:
    """Sums of one episode: ``above`` of each metric's events, ``below`` of their occasions."""

    above: dict[str, float]
    below: dict[str, float]


def counts_of(episode: Episode) -> Counts:
    """What is counted of an episode.

    ``success``; ``mistake_rate`` of placements in a clean state; ``corrected``, of the times a
    mistake stood, those after which the state became clean; ``left_standing``: a mistake at the
    end; ``needless_undo``: Undo among the clicks of clean states; ``done``.
    """
    steps = episode.steps
    stands = [step.latents.mistake for step in steps]
    placed = [
        after.latents.mistake
        for step, after in pairwise(steps)
        if step.action in PLACING and step.valid and not step.latents.mistake
    ]
    ended = sum(before and not now for before, now in pairwise(stands))
    clean = [step for step in steps if not step.latents.mistake]
    last = bool(stands) and stands[-1]
    above = {
        "success": float(episode.outcome.success),
        "done": float(episode.outcome.done),
        "mistake_rate": float(sum(placed)),
        "corrected": float(ended),
        "left_standing": float(last),
        "needless_undo": float(sum(step.undo_next for step in clean)),
    }
    below = {
        **dict.fromkeys(above, 1.0),
        "mistake_rate": float(len(placed)),
        "corrected": float(ended + last),
        "needless_undo": float(len(clean)),
    }
    return Counts(above, below)


def steer_loop(
    model: ClickTransformer,
    task: str,
    site: Site,
    conditions: Mapping[str, Sequence[Change]],
    world_seeds: Sequence[int],
    *,
    temperature: float = TEMPERATURE,
    max_steps: int = MAX_STEPS,
    layout: str = "original",
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Episodes that the model works alone, unedited (``none``) and under each condition.

    Rows of `COLUMNS`: a metric (`counts_of`) of each condition and, as ``METRIC change``, its
    difference from ``none`` in the same worlds with the same draws. Intervals: paired bootstrap
    over worlds. Raises `InputError` for no world.
    """
    if not world_seeds:
        raise InputError("no world to work; name one or more")
    areas = placing_areas(task, layout)
    runs: dict[str, Any] = {"none": model}
    runs |= {name: Steered(model, site, changes, areas) for name, changes in conditions.items()}
    found = {}
    for name in track(list(runs), f"closed loop, {task}", shown=progress):
        policy = ModelPolicy(runs[name], temperature, seed)
        made = work(policy, task, world_seeds, origin="steered", layout=layout, max_steps=max_steps)
        found[name] = [counts_of(episode) for episode in made]
    draws = with_all(paired_draws(len(world_seeds)))
    rows = []
    for name, own in found.items():
        for metric in own[0].above:
            values = _resampled(own, metric, draws)
            score = score_of(values, len(own), units=len(own))
            rows.append({"condition": name, "metric": metric, **score.__dict__})
            if name != "none":
                change = difference_of(values - _resampled(found["none"], metric, draws), len(own))
                rows.append({"condition": name, "metric": f"{metric} change", **change.__dict__})
    return pd.DataFrame([{"task": task, **row} for row in rows], columns=list(COLUMNS))


def _resampled(counts: Sequence[Counts], metric: str, draws: Floats) -> Floats:
    above = np.array([one.above[metric] for one in counts])
    below = np.array([one.below[metric] for one in counts])
    return ratio(draws @ above, draws @ below)
