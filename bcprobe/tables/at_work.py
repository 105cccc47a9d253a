"""Table of the figure of a model at work: its answers around a mistake, and over the episode."""

from __future__ import annotations

from itertools import count

import numpy as np
import pandas as pd

from bcprobe.activations.extract import collect
from bcprobe.activations.gather import activations
from bcprobe.activations.lens import look
from bcprobe.episodes.record import generate
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import trained_tasks
from bcprobe.probes.protocol import probe
from bcprobe.rng import split_seed
from bcprobe.tables.evaluation import POINTER
from bcprobe.tables.lens import SQUARE, corrections

#: ``kind``: ``answer`` (probability of a square of the screen at a step), ``p_undo``, ``probe`` (0:
#: mean of the probe's data, 1: distance between its two sides). ``row`` and ``column`` are -1 where
#: there is no square.
COLUMNS = ("checkpoint", "task", "world_seed", "step", "kind", "row", "column", "value")
#: Steps shown, counted from the Undo: the placement that goes wrong, its Undo, what follows.
SHOWN = (-1, 0, 1)
#: Worlds of the probe; those of the episode lie beyond.
_EPISODES = 60


def at_work() -> pd.DataFrame:
    """The first test episode beyond the probe's in which a mistaken placement is undone at once."""
    model = load_checkpoint(POINTER)
    task = trained_tasks(model.folder)[0]
    episodes = (generate(task, split_seed("test", _EPISODES + number)) for number in count())
    episode, undo = next((e, t) for e in episodes for t in corrections(e))
    found = probe(activations(POINTER, task, episodes=_EPISODES), "mistake")
    seen = collect(model, [episode], [found.best.site])
    assert seen.predictions is not None
    rows = []
    for step in (undo + by for by in SHOWN):
        heat = look(episode, step, model).heat[-1]
        squares = heat.reshape(heat.shape[0] // SQUARE, SQUARE, -1, SQUARE).sum((1, 3))
        row, column = np.indices(squares.shape)
        rows.append(
            pd.DataFrame(
                {
                    "step": step,
                    "kind": "answer",
                    "row": row.ravel(),
                    "column": column.ravel(),
                    "value": squares.ravel(),
                }
            )
        )
    along = seen.at(found.best.site).astype(float) @ found.direction
    held = (along - found.fitted.centre[0]) / found.fitted.separation[0]
    for kind, values in (("p_undo", seen.predictions["p_undo"].to_numpy(float)), ("probe", held)):
        rows.append(
            pd.DataFrame({"step": np.arange(len(episode)), "kind": kind, "value": values}).assign(
                row=-1, column=-1
            )
        )
    known = {"checkpoint": POINTER, "task": task, "world_seed": episode.world_seed}
    return pd.concat(rows, ignore_index=True).assign(**known)[list(COLUMNS)]
