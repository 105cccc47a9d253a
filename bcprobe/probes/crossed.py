"""A mistake that stands and an Undo that comes, each read among steps alike in the other.

Usual annotators undo every mistake and nothing else, so that a probe of the one reads the other
too. Under the manner ``two_by_two`` (`bcprobe.annotators.persona.MANNERS`) some mistakes are never
noticed and some right marks are undone. Here a probe fitted on all steps is scored inside each half
of the other label, where that label tells it nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import get_latent, rows_asked
from bcprobe.bootstrap import Floats, Ints, spread_interval
from bcprobe.errors import InputError
from bcprobe.probes.history import click_history, history_features, own_answer
from bcprobe.probes.linear import HeldOut, cross_predict, independent, score
from bcprobe.probes.refit import REFITS, refit_cross, row_counts, weighted_auc
from bcprobe.probes.result import CROSSED, CROSSED_ALL, EXACT, REFIT, WORLDS, score_row
from bcprobe.types import PLACING

#: What is read, among which steps: name -> (label read, label held, value held).
QUESTIONS = {
    "mistake where Undo comes": ("mistake", "undo", True),
    "mistake where none comes": ("mistake", "undo", False),
    "Undo where a mistake stands": ("undo", "mistake", True),
    "Undo where none stands": ("undo", "mistake", False),
}
#: Fewest steps of each of the four kinds, and worlds that they stand in.
FEWEST, FEWEST_WORLDS = 5, 3


def undo_comes(labels: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether Undo comes before anything else is put down or ended: bool [step]."""
    found = np.zeros(len(labels), dtype=bool)
    actions = labels["action"].to_numpy(str)
    last = labels["episode"].to_numpy() != np.append(labels["episode"].to_numpy()[1:], -1)
    coming = False
    for step in reversed(range(len(labels))):
        if last[step]:
            coming = False
        if actions[step] == "undo":
            coming = True
        elif actions[step] in (*PLACING, "commit", "done"):
            coming = False
        found[step] = coming
    return found


@dataclass(frozen=True, eq=False)
class _Steps:
    """The steps of one task that are looked at: ``rows`` bool [step]; the rest is theirs alone."""

    data: Activations
    rows: NDArray[np.bool_]
    truths: Mapping[str, NDArray[np.bool_]]
    groups: Ints

    def predictions(self, about: str, names: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
        """Kind, site and out-of-fold predictions of everything that may read a label."""
        truth = self.truths[about]
        for name in names:
            yield "probe", name, cross_predict("binary", self.features(name), truth, self.groups)
        history = click_history(history_features(self.data.labels)[self.rows], truth, self.groups)
        yield "click_history", "", history
        if self.data.predictions is not None:
            chance = self.data.predictions["p_undo"].to_numpy()[self.rows]
            yield "p_undo", "", own_answer(chance, truth, self.groups, history.folds)

    @property
    def four_kinds(self) -> bool:
        """Whether each combination of both labels has enough steps, in enough worlds."""
        kinds = self.truths["mistake"] * 2 + self.truths["undo"]
        steps = np.bincount(kinds, minlength=4)
        worlds = [len(np.unique(self.groups[kinds == kind])) for kind in range(4)]
        return bool(steps.min() >= FEWEST and min(worlds) >= FEWEST_WORLDS)

    def features(self, name: str) -> NDArray[np.float32]:
        return self.data.values[name][self.rows].astype(np.float32)


def crossed_rows(
    parts: Mapping[str, Activations], names: Sequence[str], refits: int = REFITS["default"]
) -> Iterator[dict[str, Any]]:
    """Rows by task: probes at ``names`` (`name_of`), the click history and P(Undo) on `QUESTIONS`.

    Scheme ``crossed``: steps just after a mark in a clean state, where the annotator could err;
    ``crossed_all``: every step. Where one of the four kinds of steps is too rare (`FEWEST`), as
    with usual annotators, there are no rows. Intervals of probes include the refit.
    """
    for task, data in parts.items():
        placed = rows_asked(data.labels, get_latent("mistake"), "errable")
        for scheme, rows in ((CROSSED, placed), (CROSSED_ALL, np.ones_like(placed))):
            steps = _steps(data, rows)
            where = {"scheme": scheme, "train_task": task, "test_task": task}
            for about in steps.truths if steps.four_kinds else ():
                yield from _answers(steps, about, names, refits, where)


def _steps(data: Activations, rows: NDArray[np.bool_]) -> _Steps:
    labels = data.labels
    truths = {"mistake": labels["mistake"].to_numpy(bool), "undo": undo_comes(labels)}
    groups = labels["group"].to_numpy(np.int64)[rows]
    return _Steps(data, rows, {name: own[rows] for name, own in truths.items()}, groups)


def _answers(
    steps: _Steps,
    about: str,
    names: Sequence[str],
    refits: int,
    where: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Rows of everything that reads one label, question by question."""
    try:
        found = list(steps.predictions(about, names))
    except InputError:  # a fold holds one class only
        return
    counts = row_counts(steps.groups, refits)
    for kind, name, predictions in found:
        refitted: NDArray[np.float32] | None = None
        if kind == "probe":
            features, truth = steps.features(name), steps.truths[about]
            refitted, _ = refit_cross(features, truth, steps.groups, counts)
        for question, (label, held, value) in QUESTIONS.items():
            if label != about:
                continue
            among = steps.truths[held] == value
            part = predictions.rows(among)
            drawn = None if refitted is None else (refitted[among], counts[among])
            yield _row(part, drawn, kind=kind, site=name, negatives=question, **where)


def _row(
    part: HeldOut, drawn: tuple[NDArray[np.float32], NDArray[np.float32]] | None, **names: Any
) -> dict[str, Any]:
    found, covers = score(part), WORLDS
    number = found.score
    if drawn is not None:
        values: Floats = weighted_auc(part.truth, *drawn, part.folds)
        units = independent(part)
        number = spread_interval(number.estimate, values, number.n, units=units, share=True)
        covers = EXACT if number.estimate in (0.0, 1.0) else REFIT
    return score_row(number, interval=covers, metric="auc", chance=0.5, **names)
