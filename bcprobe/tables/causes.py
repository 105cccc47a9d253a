"""Tables of the figures of causes: maps, routes and directions of the nine-task checkpoint."""

from __future__ import annotations

from functools import cache, lru_cache

import pandas as pd

from bcprobe.interventions.maps import Patching, patch
from bcprobe.interventions.pairs import twins
from bcprobe.interventions.paths import route, trace
from bcprobe.interventions.steer import Steering, steer
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import (
    NINE_TASK_CHECKPOINT,
    find_checkpoint,
    list_steps,
    trained_tasks,
)
from bcprobe.model.transformer import ClickTransformer
from bcprobe.tables.evaluation import POINTER, TASK

#: Pairs of each task behind its map, the frames after the placement, the pairs of these that routes
#: and directions are tested on, and the worlds worked in closed loop.
PAIRS, LAGS, TESTED, WORLDS = 24, 2, 16, 16


def patching() -> pd.DataFrame:
    """What swapping each token group's residual stream after each layer does, task by task."""
    return pd.concat([_map(task).table() for task in _tasks()], ignore_index=True)


def patching_training() -> pd.DataFrame:
    """The same at each saved step of the checkpoint of colored dots."""
    pairs = twins(TASK, PAIRS)
    found = []
    for frames in list_steps(find_checkpoint(POINTER)):
        model = load_checkpoint(f"{POINTER}@{frames}")
        found.append(patch(model, pairs, components=("resid",)).table().assign(frames=frames))
    return pd.concat(found, ignore_index=True)


def circuit() -> pd.DataFrame:
    """What goes along each edge of the route from the mark to Undo, task by task."""
    parts = []
    for task in _tasks():
        found = _map(task)
        edges = route(_model().config, found.layer_of("placed"))
        parts.append(trace(_model(), found.pairs[:TESTED], edges))
    return pd.concat(parts, ignore_index=True)


def directions() -> pd.DataFrame:
    """How far directions of each kind move the answer, from each source, beside random ones."""
    return _steering().directions.assign(checkpoint=NINE_TASK_CHECKPOINT)


def erasure() -> pd.DataFrame:
    """What erasing the mistake does to the probe and to the answer, beside random erasures."""
    return _steering().erasure.assign(checkpoint=NINE_TASK_CHECKPOINT)


def steered() -> pd.DataFrame:
    """Closed loop with the located site moved along the mistake, erased, and at random."""
    return _steering().loop.assign(checkpoint=NINE_TASK_CHECKPOINT)


@cache
def _steering() -> Steering:
    return steer(_model(), _tasks(), pairs=TESTED, worlds=WORLDS)


@lru_cache(maxsize=1)
def _model() -> ClickTransformer:
    return load_checkpoint(NINE_TASK_CHECKPOINT).requires_grad_(False)


@cache
def _map(task: str) -> Patching:
    return patch(_model(), twins(task, PAIRS, lags=LAGS), components=("resid",))


def _tasks() -> tuple[str, ...]:
    return trained_tasks(find_checkpoint(NINE_TASK_CHECKPOINT))
