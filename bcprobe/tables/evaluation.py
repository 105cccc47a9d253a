"""Tables of the figures about behaviour: annotators, and how good models are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from bcprobe.episodes.record import generate, open_world
from bcprobe.evaluation.behaviour import behaviour_table
from bcprobe.evaluation.closed_loop import closed_loop_references
from bcprobe.evaluation.emergence import emergence_rows, skill_counts
from bcprobe.evaluation.suite import evaluate
from bcprobe.evaluation.teacher_forced import ModelPredictor, predict
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import (
    NINE_TASK_CHECKPOINT,
    NINE_TASK_SERIES,
    find_checkpoint,
    list_steps,
    trained_tasks,
)
from bcprobe.rng import split_seed

TASK = "colored_dot_tracking"
POINTER, INDEPENDENT = "dots-nano", "dots-nano-independent"
#: Test episodes behind each figure; of a series with several tasks, this many in all.
SERIES_EPISODES, BEHAVIOUR_EPISODES, HEAD_EPISODES = 40, 500, 200
MANY_EPISODES, LOOP_EPISODES = 90, 20
TEMPERATURES = (0.0, 0.5, 1.0)


def annotator() -> pd.DataFrame:
    """Behaviour of the virtual annotator beside the people of the paper."""
    return behaviour_table([generate(TASK, seed) for seed in range(BEHAVIOUR_EPISODES)])


def emergence() -> pd.DataFrame:
    """Accuracy of each skill at every saved step of the nine-task and the one-task series."""
    names = (NINE_TASK_SERIES, POINTER)
    return pd.concat([series(name) for name in names], ignore_index=True)


@lru_cache(maxsize=4)
def series(name: str, episodes: int | None = None) -> pd.DataFrame:
    """`emergence_rows` of a checkpoint's saved steps, with ``checkpoint`` and ``tasks``.

    ``episodes`` is the number of test episodes of each of its tasks.
    """
    folder = find_checkpoint(name)
    tasks = trained_tasks(folder) or (TASK,)
    if episodes is None:
        episodes = SERIES_EPISODES if len(tasks) == 1 else MANY_EPISODES // len(tasks)
    seeds = [split_seed("test", number) for number in range(episodes)]
    worked = [generate(task, seed) for task in tasks for seed in seeds]
    opened = [open_world(task, seed) for task in tasks for seed in seeds]
    counts = {}
    for frames in list_steps(folder):
        predictor = ModelPredictor(load_checkpoint(f"{name}@{frames}"))
        found = predict(predictor, worked, annotator=False, opened=opened)
        counts[frames] = skill_counts(found)
    rows = list(emergence_rows(counts))
    return pd.DataFrame(rows).assign(checkpoint=name, tasks=len(tasks))


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


def closed_loop(name: str = NINE_TASK_CHECKPOINT, episodes: int = LOOP_EPISODES) -> pd.DataFrame:
    """Success alone: the model, the annotator, two blind clickers; what the paper reports.

    The paper's rows have the section ``paper``; no interval was given for them.
    """
    scores = _alone(name, episodes)
    own = scores[(scores["section"] == "closed_loop") & (scores["metric"] == "success")]
    theirs = closed_loop_references().assign(section="paper", metric="success")
    theirs = theirs[theirs["task"].isin(own["task"])]
    return pd.concat([own.assign(checkpoint=name), theirs], ignore_index=True)


def mistakes(name: str = NINE_TASK_CHECKPOINT, episodes: int = LOOP_EPISODES) -> pd.DataFrame:
    """Mistakes of the data and of the model alone, and Undo after forced mistakes."""
    scores = _alone(name, episodes)
    sections: Sequence[str] = ("mistakes", "forced_mistakes")
    return scores[scores["section"].isin(sections)].assign(checkpoint=name)


@lru_cache(maxsize=1)
def _alone(name: str, episodes: int) -> pd.DataFrame:
    """What the model does when nobody tells it, on all tasks it was trained on."""
    tasks = trained_tasks(find_checkpoint(name)) or (TASK,)
    sections = ["closed_loop", "forced_mistakes"]
    return evaluate(name, tasks, episodes, TEMPERATURES, sections=sections).table()
