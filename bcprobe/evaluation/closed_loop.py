"""Closed-loop evaluation: clickers work worlds on their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

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


def loop_rows(episodes: Sequence[Episode], **names: Any) -> Iterator[dict[str, Any]]:
    """Score rows of one task's episodes, by whomever they were worked.

    ``success`` and ``done`` with Wilson's interval; ``score``, ``steps``, ``valid`` (share of
    clicks that change the state), ``mistake_rate`` (mistaken placements over placements in
    a clean state), ``error_undo_rate`` (undo over place and undo), ``correction_rate``
    (mistakes mended), ``correction_delay`` (clicks before the Undo) and
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
