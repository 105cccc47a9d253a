"""How an annotator behaves: what it clicks, what it gets wrong, when it undoes.

The same table for the virtual annotator, a model or a person, set beside the people of the
paper (Chandok and Park 2026, arXiv 2606.07568, colored dots, five episodes each).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from bcprobe.bootstrap import mean_score, wilson
from bcprobe.episodes.episode import Episode
from bcprobe.evaluation.metrics import (
    correction_delay,
    error_undo_rate,
    mistake_rate,
    share,
    step_table,
    undone_placement_share,
)
from bcprobe.results import Score
from bcprobe.types import ACTIONS, PHASES

HUMAN_SOURCE = "Chandok and Park 2026, arXiv 2606.07568: colored dots, 3 people x 5 episodes"
#: Shares are 0-1 of all clicks; ``error_undo_rate`` is undo / (place + undo).
HUMANS: dict[str, dict[str, dict[str, float]]] = {
    "colored_dot_tracking": {
        "navigate": {"A1": 0.781, "A3": 0.700, "A4": 0.666},
        "place": {"A1": 0.154, "A3": 0.211, "A4": 0.229},
        "view": {"A1": 0.049, "A3": 0.064, "A4": 0.085},
        "undo": {"A1": 0.008, "A3": 0.013, "A4": 0.006},
        "steps": {"A1": 111.0, "A3": 88.0, "A4": 71.0},
        "error_undo_rate": {"A1": 0.046, "A3": 0.076, "A4": 0.024},
    }
}
#: The paper's own virtual annotator, same task and units.
PAPER_ANNOTATOR = {
    "navigate": 0.738,
    "place": 0.144,
    "view": 0.100,
    "undo": 0.010,
    "steps": 118.0,
    "error_undo_rate": 0.066,
}


#: What the paper's people waited before a click, on average, ms.
HUMAN_WAITS = {"wait_place_ms": 1289.0, "wait_button_ms": 598.0}


def behaviour_table(episodes: Sequence[Episode]) -> pd.DataFrame:
    """Behaviour per task, tidy: one quantity a row.

    Columns: ``task``, ``quantity``, ``estimate``, ``lower``, ``upper`` (95 %, bootstrap over
    episodes; Wilson for success), ``n``, ``human_lower`` and ``human_upper`` (range of the
    paper's people, nan where unknown) and ``human_like`` (the estimate lies inside; None
    where unknown). Action and phase shares are 0-1 of all clicks; ``phase_*`` are phases;
    ``wait_place_ms`` and ``wait_button_ms``, of people alone, the mean wait before a click, ms.
    """
    steps = step_table(episodes)
    rows = []
    for task in dict.fromkeys(episode.task for episode in episodes):
        own = [episode for episode in episodes if episode.task == task]
        for quantity, score in _quantities(own, steps[steps["task"] == task]).items():
            rows.append(_row(task, quantity, score))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def behaviour_total(episodes: Sequence[Episode]) -> dict[str, Score]:
    """Error and Undo rates over the clicks of all tasks together.

    ``error_undo_rate``: undo / (place + undo); ``error_undo_pair_share``: share of the
    placements that an Undo took back as mistaken; ``delayed_undo_share``: of these, the share
    not taken back by the very next click.
    """
    steps = step_table(episodes)
    return {
        "error_undo_rate": error_undo_rate(steps),
        "error_undo_pair_share": undone_placement_share(steps),
        "mistake_rate": mistake_rate(steps),
        "delayed_undo_share": share(steps, steps["delay"] > 0, steps["made"] & steps["undone"]),
    }


def behaviour_dict(table: pd.DataFrame) -> dict[str, Any]:
    """JSON form of a behaviour table: task, quantity, ``{estimate, lower, upper, n, ...}``."""
    tree: dict[str, Any] = {}
    for line in table.to_dict("records"):
        numbers = Score(line["estimate"], line["lower"], line["upper"], int(line["n"])).as_dict()
        people = [line["human_lower"], line["human_upper"]]
        human = None if math.isnan(people[0]) else people
        leaf = {**numbers, "human_range": human, "human_like": line["human_like"]}
        tree.setdefault(line["task"], {})[line["quantity"]] = leaf
    return tree


_COLUMNS = (
    "task", "quantity", "estimate", "lower", "upper", "n",
    "human_lower", "human_upper", "human_like",
)  # fmt: skip


def _row(task: str, quantity: str, score: Score) -> dict[str, Any]:
    people = HUMANS.get(task, {}).get(quantity, {}).values()
    low, high = (min(people), max(people)) if people else (math.nan, math.nan)
    return {
        "task": task,
        "quantity": quantity,
        **{key: getattr(score, key) for key in ("estimate", "lower", "upper", "n")},
        "human_lower": low,
        "human_upper": high,
        "human_like": low <= score.estimate <= high if people else None,
    }


def _quantities(episodes: Sequence[Episode], steps: pd.DataFrame) -> dict[str, Score]:
    lengths = [float(len(episode)) for episode in episodes]
    undone = steps["made"] & steps["undone"]
    return {
        "steps": mean_score(lengths, range(len(lengths))),
        **{action: share(steps, steps["action"] == action) for action in _seen(steps, "action")},
        "error_undo_rate": error_undo_rate(steps),
        "error_undo_pair_share": undone_placement_share(steps),
        "mistake_rate": mistake_rate(steps),
        "undo_delay": correction_delay(steps),
        "delayed_undo_share": share(steps, steps["delay"] > 0, undone),
        **{
            f"phase_{phase}": share(steps, steps["phase"] == phase)
            for phase in _seen(steps, "phase")
        },
        "success": wilson(sum(e.outcome.success for e in episodes), len(episodes)),
        **_waits(episodes),
    }


def _waits(episodes: Sequence[Episode]) -> dict[str, Score]:
    """Mean waits before placements and before buttons, ms; empty where nobody's times are known.

    A wait is the time since the click before. Clicks that one key made together came at once; all
    but the first of them are left out.
    """
    rows: dict[str, list[tuple[float, int]]] = {name: [] for name in HUMAN_WAITS}
    for number, episode in enumerate(episodes):
        for before, step in pairwise(episode.steps):
            if before.time_ms is None or step.time_ms is None or step.time_ms == before.time_ms:
                continue
            name = "wait_place_ms" if step.action == "place" else "wait_button_ms"
            rows[name].append((step.time_ms - before.time_ms, number))
    return {name: mean_score(*zip(*own, strict=True)) for name, own in rows.items() if own}


def _seen(steps: pd.DataFrame, column: str) -> list[str]:
    """Actions or phases that occur, in their usual order."""
    present = set(steps[column])
    return [name for name in (ACTIONS if column == "action" else PHASES) if name in present]
