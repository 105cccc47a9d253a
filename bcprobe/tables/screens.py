"""Tables of the figures that show screens."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.tasks import TASKS

STRIP_FRAMES = 8
COLUMNS = ("task", "world_seed", "step", "of", "x", "y", "widget", "phase", "mistake")


def gallery() -> pd.DataFrame:
    """One screen of every task, from the middle of an episode."""
    return shown_steps({task: _episode_of(task) for task in TASKS}, frames=1)


def filmstrip() -> pd.DataFrame:
    """Moments of one episode of every task, spread over its length."""
    return shown_steps({task: _episode_of(task) for task in TASKS}, frames=STRIP_FRAMES)


def _episode_of(task: str) -> Episode:
    """The first episode of a task in which the annotator undoes a mistake."""
    made = (generate(task, seed) for seed in range(100))
    return next(episode for episode in made if any(step.undo_next for step in episode.steps))


def shown_steps(episodes: Mapping[str, Episode], frames: int) -> pd.DataFrame:
    """Steps to show of each task's episode, one a row (`COLUMNS`).

    One frame is that of the middle; of several the first, the last, the first Undo and the
    click that called for it are among them, the others spread evenly. The episodes are those
    of `generate` for their world seeds.
    """
    rows = []
    for task, episode in episodes.items():
        for t in _moments(episode, frames):
            step = episode.steps[t]
            click = {"x": step.click.x, "y": step.click.y, "widget": step.widget}
            truth = {"phase": step.phase, "mistake": step.latents.mistake}
            place = {"task": task, "world_seed": episode.world_seed, "step": t, "of": len(episode)}
            rows.append({**place, **click, **truth})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _moments(episode: Episode, frames: int) -> list[int]:
    last = len(episode) - 1
    if frames == 1:
        return [int(0.6 * last)]
    undo = next((t for t, step in enumerate(episode.steps) if step.undo_next), last)
    fixed = {0, max(0, undo - 1), undo, last}
    even = np.rint(np.linspace(0, last, frames)).astype(int).tolist()
    free = [t for t in even if t not in fixed and abs(t - undo) > 1]
    keep = np.rint(np.linspace(0, len(free) - 1, frames - len(fixed))).astype(int).tolist()
    return sorted(fixed | {free[k] for k in keep})
