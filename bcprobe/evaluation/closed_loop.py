"""Closed-loop evaluation: clickers work worlds on their own; what the paper reports of it.

The paper's numbers are references to stand beside, never our own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from bcprobe.bootstrap import mean_score, wilson
from bcprobe.episodes.episode import Episode
from bcprobe.evaluation.metrics import (
    correction_delay,
    correction_rate,
    error_undo_rate,
    mistake_rate,
    needless_undo_rate,
    row,
    share,
    step_table,
)
from bcprobe.tasks import TRAINING_TASKS

SOURCE = "Chandok and Park 2026, arXiv 2606.07568: closed loop, other worlds than ours"
REFERENCE_COLUMNS = ("task", "policy", "estimate", "source")
#: Share of worlds worked to the end (0-1) by whom, by task; a task left out was not stated.
CLOSED_LOOP: dict[str, dict[str, float]] = {
    "Gemini 3 Flash": dict.fromkeys(TRAINING_TASKS, 0.0)
    | {
        "cell_lineage_tracking": 0.812,
        "animal_behavioral_tracking": 0.531,
        "3d_exploration_classification": 0.344,
    },
    "Qwen3-VL-32B": dict.fromkeys(TRAINING_TASKS, 0.0),
    "BC": {
        "colored_dot_tracking": 0.97,
        "animal_limb_tracking": 0.0,
        "animal_behavioral_tracking": 0.0,
    },
}


def loop_rows(episodes: Sequence[Episode], **names: Any) -> Iterator[dict[str, Any]]:
    """Score rows of one task's episodes, by whomever they were worked.

    ``success`` and ``done`` with Wilson's interval; ``score``, ``steps``, ``valid`` (share of
    clicks that change the state), ``mistake_rate`` (mistaken placements over placements in
    a clean state), ``error_undo_rate`` (undo over place and undo), ``correction_rate``
    (mistakes corrected), ``correction_delay`` (clicks before the Undo) and
    ``needless_undo_rate`` by bootstrap over episodes.
    """
    count = len(episodes)
    steps = step_table(episodes)
    scores = {
        "success": wilson(sum(e.outcome.success for e in episodes), count),
        "done": wilson(sum(e.outcome.done for e in episodes), count),
        "score": mean_score([e.outcome.score for e in episodes], range(count)),
        "steps": mean_score([float(len(e)) for e in episodes], range(count)),
        "valid": share(steps, steps["valid"]),
        "mistake_rate": mistake_rate(steps),
        "error_undo_rate": error_undo_rate(steps),
        "correction_rate": correction_rate(steps),
        "correction_delay": correction_delay(steps),
        "needless_undo_rate": needless_undo_rate(steps),
    }
    for metric, score in scores.items():
        yield row(score, metric=metric, **names)


def closed_loop_references() -> pd.DataFrame:
    """`CLOSED_LOOP` as a table with `REFERENCE_COLUMNS`."""
    rows = [
        (task, policy, estimate, SOURCE)
        for policy, found in CLOSED_LOOP.items()
        for task, estimate in found.items()
    ]
    return pd.DataFrame(rows, columns=list(REFERENCE_COLUMNS))
