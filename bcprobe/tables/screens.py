"""Tables of the figures that show screens."""

from __future__ import annotations

import pandas as pd

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.figures.gallery import shown_steps
from bcprobe.tasks import TASKS

STRIP_FRAMES = 8


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
