"""What is counted: kinds of clicks, mistakes and their corrections, rows with intervals.

Every number is a `Score`; tables are tidy, one score a row (`COLUMNS`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.bootstrap import mean_score
from bcprobe.episodes.episode import Episode, Step
from bcprobe.results import Score
from bcprobe.types import PLACING

NAMES = ("task", "section", "policy", "temperature", "metric", "kind")
COLUMNS = (*NAMES, "estimate", "lower", "upper", "n")


@dataclass(frozen=True)
class Mistake:
    """A click that brought a mistake into a clean state.

    ``step`` is its index, ``undo`` that of the first Undo after it, and ``cleared`` that of
    the click after which no mistake stood; None where that never came.
    """

    step: int
    undo: int | None
    cleared: int | None

    @property
    def delay(self) -> int | None:
        """Clicks between the mistake and its Undo: 0 when undone at once."""
        return None if self.undo is None else self.undo - self.step - 1


def stands(steps: Sequence[Step]) -> NDArray[np.bool_]:
    """Whether a mistake stands before each click, and after the last: bool [step + 1].

    The state after the last click is not recorded and taken to be as before it, which is
    so when the last click is Done.
    """
    before = [step.latents.mistake for step in steps]
    return np.array([*before, *before[-1:]], dtype=bool)


def mistakes(steps: Sequence[Step]) -> tuple[Mistake, ...]:
    """Every mistake brought into a clean state, in order."""
    wrong = stands(steps)
    made = np.flatnonzero(~wrong[:-1] & wrong[1:])
    undos = np.flatnonzero([step.undo_next for step in steps])
    cleared = np.flatnonzero(wrong[:-1] & ~wrong[1:])
    return tuple(
        Mistake(step, _first_after(undos, step), _first_after(cleared, step))
        for step in made.tolist()
    )


def _first_after(indices: NDArray[np.int64], step: int) -> int | None:
    later = indices[indices > step]
    return int(later[0]) if len(later) else None


def kinds(steps: Sequence[Step]) -> list[str]:
    """Kind of each click: its action, and for placements whether it was right.

    ``place_right`` left a clean state clean, ``place_mistaken`` brought a mistake into it;
    ``place_unjudged`` changed nothing, or was made while a mistake stood already.
    """
    made = {mistake.step for mistake in mistakes(steps)}
    return [
        f"{step.action}_{_verdict(step, t in made)}" if step.action in PLACING else step.action
        for t, step in enumerate(steps)
    ]


def _verdict(step: Step, made: bool) -> str:
    if made:
        return "mistaken"
    return "right" if step.valid and not step.latents.mistake else "unjudged"


def step_table(episodes: Iterable[Episode]) -> pd.DataFrame:
    """One row a click, with what the counts below need.

    Columns: ``task``, ``episode`` (its number), ``step``, ``action``, ``phase``, ``valid``,
    ``kind``, ``mistake`` (one stands before the click), ``made`` (the click brought one),
    ``placement`` (a valid one), ``cleared`` (the mistake made was corrected later), ``undone``
    (an Undo followed it), ``delay`` (clicks between; nan where there was no Undo).
    """
    rows: list[dict[str, Any]] = []
    for number, episode in enumerate(episodes):
        found = {mistake.step: mistake for mistake in mistakes(episode.steps)}
        named = kinds(episode.steps)
        rows += [
            {
                "task": episode.task,
                "episode": number,
                "step": t,
                "action": step.action,
                "phase": step.phase,
                "valid": step.valid,
                "kind": named[t],
                "mistake": step.latents.mistake,
                "placement": step.valid and step.action in PLACING,
                **_fate(found.get(t)),
            }
            for t, step in enumerate(episode.steps)
        ]
    return pd.DataFrame(rows, columns=list(_STEP_COLUMNS)).astype(_STEP_COLUMNS)


_STEP_COLUMNS = {
    "task": "str",
    "episode": "int64",
    "step": "int64",
    "action": "str",
    "phase": "str",
    "valid": "bool",
    "kind": "str",
    "mistake": "bool",
    "placement": "bool",
    "made": "bool",
    "cleared": "bool",
    "undone": "bool",
    "delay": "float64",
}


def _fate(mistake: Mistake | None) -> dict[str, Any]:
    if mistake is None:
        return {"made": False, "cleared": False, "undone": False, "delay": math.nan}
    delay = math.nan if mistake.delay is None else mistake.delay
    return {
        "made": True,
        "cleared": mistake.cleared is not None,
        "undone": mistake.undo is not None,
        "delay": delay,
    }


def share(table: pd.DataFrame, what: pd.Series, among: pd.Series | None = None) -> Score:
    """Share of rows of which ``what`` holds, among those that ``among`` names.

    The interval is a cluster bootstrap over ``table["episode"]``; ``n`` counts the rows
    of ``among``.
    """
    kept = table if among is None else table[among]
    return mean_score(what[kept.index].astype(float), kept["episode"])


def error_undo_rate(steps: pd.DataFrame) -> Score:
    """Undos over placements and undos together."""
    either = steps["placement"] | (steps["action"] == "undo")
    return share(steps, steps["action"] == "undo", either)


def mistake_rate(steps: pd.DataFrame) -> Score:
    """Mistaken placements over placements, both made while no mistake stood."""
    return share(steps, steps["made"], steps["placement"] & ~steps["mistake"])


def undone_placement_share(steps: pd.DataFrame) -> Score:
    """Share of placements that were mistaken and then undone: error-undo pairs."""
    return share(steps, steps["made"] & steps["undone"], steps["placement"])


def correction_rate(steps: pd.DataFrame) -> Score:
    """Share of mistakes that were corrected before the episode ended."""
    return share(steps, steps["cleared"], steps["made"])


def correction_delay(steps: pd.DataFrame) -> Score:
    """Clicks between a mistake and its Undo (0: at once), over mistakes that were undone."""
    return share(steps, steps["delay"], steps["made"] & steps["undone"])


def needless_undo_rate(steps: pd.DataFrame) -> Score:
    """Share of undos pressed while no mistake stood."""
    return share(steps, ~steps["mistake"], steps["action"] == "undo")


def row(score: Score, **names: Any) -> dict[str, Any]:
    """A table row: the names (`NAMES`; those left out are empty) and the score."""
    blank: dict[str, Any] = dict.fromkeys(NAMES, "") | {"temperature": math.nan}
    numbers = {key: getattr(score, key) for key in ("estimate", "lower", "upper", "n")}
    return {**blank, **names, **numbers}


def score_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Tidy table of rows, in the order of `COLUMNS`."""
    return pd.DataFrame(list(rows), columns=list(COLUMNS))


def nested(table: pd.DataFrame) -> dict[str, Any]:
    """JSON form: task, section, policy (with its temperature), metric, kind, score.

    Every leaf is ``{estimate, lower, upper, n}``, nan as None.
    """
    tree: dict[str, Any] = {}
    for line in table.to_dict("records"):
        warm = "" if math.isnan(line["temperature"]) else f" T={line['temperature']:g}"
        path = [line["task"], line["section"], line["policy"] + warm, line["metric"], line["kind"]]
        *parents, leaf = [name for name in path if name]
        branch = tree
        for name in parents:
            branch = branch.setdefault(name, {})
        numbers = (line["estimate"], line["lower"], line["upper"], int(line["n"]))
        branch[leaf] = Score(*numbers).as_dict()
    return tree
