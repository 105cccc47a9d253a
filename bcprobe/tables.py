"""The tables figures are drawn from, made anew from checkpoints and episodes.

Each function here wires the rooms together for one figure and returns its tidy table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from bcprobe.episodes.record import generate
from bcprobe.evaluation.behaviour import behaviour_table
from bcprobe.evaluation.metrics import score_table
from bcprobe.evaluation.suite import evaluate
from bcprobe.evaluation.teacher_forced import ModelPredictor, accuracy_rows, predict
from bcprobe.figures.gallery import shown_steps
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import find_checkpoint, list_steps
from bcprobe.probes.run import run
from bcprobe.probes.steering import intervene
from bcprobe.rng import split_seed
from bcprobe.tasks import TASKS
from bcprobe.types import Episode

TASK = "colored_dot_tracking"
POINTER, INDEPENDENT = "dots-nano", "dots-nano-independent"
#: Test episodes behind each figure.
SERIES_EPISODES, BEHAVIOUR_EPISODES, HEAD_EPISODES = 40, 500, 200
STRIP_FRAMES = 8


def annotator() -> pd.DataFrame:
    """Behaviour of the virtual annotator beside the people of the paper."""
    return behaviour_table([generate(TASK, seed) for seed in range(BEHAVIOUR_EPISODES)])


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


def emergence() -> pd.DataFrame:
    """Teacher-forced accuracy per kind of click at every saved step of both heads."""
    episodes = [generate(TASK, split_seed("test", i)) for i in range(SERIES_EPISODES)]
    parts = []
    for name, frames in _series():
        predictor = ModelPredictor(load_checkpoint(f"{name}@{frames}"))
        predictions = predict(predictor, episodes, annotator=False)
        rows = accuracy_rows(predictions, section="teacher_forced", policy="model", task=TASK)
        parts.append(score_table(list(rows)).assign(checkpoint=name, frames=frames))
    return pd.concat(parts, ignore_index=True)


def _series() -> Iterator[tuple[str, int]]:
    for name in (POINTER, INDEPENDENT):
        for frames in list_steps(find_checkpoint(name)):
            yield name, frames


def heads() -> pd.DataFrame:
    """Teacher-forced scores of both heads after the most frames that both have seen."""
    steps = [set(list_steps(find_checkpoint(name))) for name in (POINTER, INDEPENDENT)]
    frames = max(set.intersection(*steps))
    parts = [
        evaluate(f"{name}@{frames}", [TASK], HEAD_EPISODES, (0.0,), sections=["teacher_forced"])
        .table()
        .assign(checkpoint=name, frames=frames)
        for name in (POINTER, INDEPENDENT)
    ]
    return pd.concat(parts, ignore_index=True)


def mistake_probe() -> pd.DataFrame:
    """The mistake probe of the default checkpoint, layer by layer, with its controls."""
    return run("mistake", POINTER, TASK).table()


def steering() -> pd.DataFrame:
    """Edits of the default checkpoint along the mistake direction."""
    return intervene(POINTER, TASK).table()


#: What makes each figure's table, by the figure's name.
TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "annotator": annotator,
    "emergence": emergence,
    "filmstrip": filmstrip,
    "gallery": gallery,
    "heads": heads,
    "mistake_probe": mistake_probe,
    "steering": steering,
}
