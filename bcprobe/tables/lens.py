"""Table of the figure of one decision, taken apart."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.lens import Decision, look
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.gui.layouts import button_rect
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import trained_tasks
from bcprobe.rng import split_seed
from bcprobe.tables.evaluation import POINTER
from bcprobe.tasks import get_task

#: ``kind``: ``lens`` (probability of a square of the screen), ``p_undo`` (that of the Undo button),
#: ``attention`` (weight of a patch), ``head``, ``mlp``, ``start``, ``biases`` and ``logit`` (of
#: the click's cell, centred). What does not apply to a row is -1; ``ago`` counts frames back,
#: ``layer`` layers passed.
COLUMNS = (
    "checkpoint", "task", "world_seed", "step", "x", "y", "kind", "layer", "head", "ago", "row",
    "column", "value",
)  # fmt: skip
#: Side in px of the squares over which the lens is summed: 48 x 36 of them.
SQUARE = 10


def lens() -> pd.DataFrame:
    """The first Undo that answers a mistaken placement at once, in a test episode."""
    model = load_checkpoint(POINTER)
    task = trained_tasks(model.folder)[0]
    episodes = (generate(task, split_seed("test", number)) for number in count())
    episode, step = next((e, t) for e in episodes for t in corrections(e))
    return decision_table(look(episode, step, model), episode, POINTER)


def corrections(episode: Episode) -> list[int]:
    """Steps that undo the mistaken placement just made."""
    before = episode.steps
    return [
        t
        for t, step in enumerate(episode.steps)
        if step.undo_next and t and before[t - 1].action == "place" and step.latents.mistake
    ]


def decision_table(decision: Decision, episode: Episode, checkpoint: str) -> pd.DataFrame:
    """What the figure draws of a decision (`COLUMNS`).

    Parts are those of the logit of the episode's click.
    """
    rows, columns = (side // SQUARE for side in decision.heat.shape[1:])
    squares = decision.heat.reshape(-1, rows, SQUARE, columns, SQUARE).sum((2, 4))
    parts = decision.attribution.at(decision.click)
    undo = button_rect(episode.layout, get_task(episode.task).buttons, "Undo")
    button = decision.heat[:, undo.y : undo.y + undo.height, undo.x : undo.x + undo.width]
    tables = [
        _melted("lens", squares, "layer", "row", "column"),
        _melted("p_undo", button.sum((1, 2)), "layer"),
        _melted(
            "attention", decision.attention[:, :, ::-1], "layer", "head", "ago", "row", "column"
        ),
        _melted("head", parts.heads, "layer", "head"),
        _melted("mlp", parts.mlps, "layer"),
        *(_melted(kind, getattr(parts, name)) for kind, name in _SINGLE.items()),
    ]
    table = pd.concat(tables, ignore_index=True)
    table.loc[~table["kind"].isin(["lens", "p_undo", *_SINGLE]), "layer"] += 1
    known = {"checkpoint": checkpoint, "task": episode.task, "world_seed": episode.world_seed}
    place = {"step": decision.step, "x": decision.click.x, "y": decision.click.y}
    return table.assign(**known, **place)[list(COLUMNS)]


_SINGLE = {"start": "start", "biases": "biases", "logit": "logits"}


def _melted(kind: str, values: NDArray[Any], *names: str) -> pd.DataFrame:
    """A row per value, with its indices under their names and -1 under the others."""
    values = np.asarray(values)
    indices = dict(
        zip(names, np.indices(values.shape).reshape(len(names), values.size), strict=True)
    )
    free = dict.fromkeys(("layer", "head", "ago", "row", "column"), -1)
    return pd.DataFrame({**free, **indices, "value": values.ravel()}).assign(kind=kind)
