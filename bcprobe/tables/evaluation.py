"""Tables of the figures about behaviour: annotators, and how good models are."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bcprobe.episodes.record import generate
from bcprobe.evaluation.behaviour import behaviour_table
from bcprobe.evaluation.metrics import score_table
from bcprobe.evaluation.suite import evaluate
from bcprobe.evaluation.teacher_forced import ModelPredictor, accuracy_rows, predict
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import find_checkpoint, list_steps
from bcprobe.rng import split_seed

TASK = "colored_dot_tracking"
POINTER, INDEPENDENT = "dots-nano", "dots-nano-independent"
#: Test episodes behind each figure.
SERIES_EPISODES, BEHAVIOUR_EPISODES, HEAD_EPISODES = 40, 500, 200


def annotator() -> pd.DataFrame:
    """Behaviour of the virtual annotator beside the people of the paper."""
    return behaviour_table([generate(TASK, seed) for seed in range(BEHAVIOUR_EPISODES)])


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
