"""What a probe adds to baselines: its AUC at equal baseline, and what a stack of both gains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bcprobe.bootstrap import Floats, interval
from bcprobe.parallel import in_threads
from bcprobe.probes.history import (
    click_history,
    click_history_elsewhere,
    history_features,
    history_matched,
    own_answer,
)
from bcprobe.probes.linear import HeldOut, ProbeScore, cross_predict, score
from bcprobe.probes.many_tasks import SCHEMES, Schemes, TaskRows, by_task
from bcprobe.probes.result import ADDED, LEFT_OUT, WITHIN
from bcprobe.results import Score

#: Strata of a baseline's score inside which the probe's score is compared.
STRATA = 8


def stacked(parts: Sequence[HeldOut]) -> HeldOut:
    """Out-of-fold predictions of a logistic regression on several out-of-fold scores."""
    first = parts[0]
    columns = np.stack([part.scores.astype(float) for part in parts], axis=1)
    return cross_predict("binary", columns.astype(np.float32), first.truth, first.groups)


def conditional(probe: HeldOut, base: HeldOut) -> ProbeScore | None:
    """AUC of the probe among rows of the same fold and about equal baseline score.

    `STRATA` quantiles of the baseline's score over mistakes and right placements, both counting the
    same; strata with one class only say nothing. None if none is left.
    """
    truth = probe.truth.astype(bool)
    grid = np.linspace(0, 1, STRATA + 1)[1:-1]
    edges = np.sort(
        np.concatenate([np.quantile(base.scores[truth == side], grid) for side in (True, False)])
    )[1::2]
    strata = np.searchsorted(edges, base.scores.astype(float))
    cells = probe.folds * (STRATA + 1) + strata
    both = [cell for cell in np.unique(cells) if 0 < truth[cells == cell].mean() < 1]
    rows = np.isin(cells, both)
    if not rows.any():
        return None
    kept = HeldOut("binary", probe.truth[rows], probe.scores[rows], probe.groups[rows], cells[rows])
    return score(kept)


def gain(probe: HeldOut, bases: Sequence[HeldOut]) -> ProbeScore:
    """AUC of the baselines stacked with the probe, less that without it (paired over worlds)."""
    without, full = score(stacked(bases)), score(stacked([*bases, probe]))
    values: Floats = full.resampled - without.resampled
    estimate = full.score.estimate - without.score.estimate
    number = interval(estimate, values, full.score.n)
    if full.score.estimate == without.score.estimate == 1.0:  # neither can be told from the other
        room = 1.0 - min(full.score.lower, without.score.lower)
        number = Score(estimate, -room, room, full.score.n)
    return ProbeScore(number, values)


#: Baselines by name, and the combinations of them that a probe is set against.
HISTORY, P_UNDO = "click_history", "p_undo"
GIVEN = {HISTORY: (HISTORY,), P_UNDO: (P_UNDO,), "both": (HISTORY, P_UNDO)}


@dataclass(frozen=True, eq=False)
class TaskBaselines:
    """A task's rows with what the baselines predict there; by name, ``elsewhere`` from others."""

    rows: TaskRows
    within: dict[str, HeldOut]
    elsewhere: HeldOut | None


def baselines(tasks: Sequence[TaskRows]) -> list[TaskBaselines]:
    """Both baselines in each task: trees fitted within it and, with several, on the others."""
    features = [_history(one) for one in tasks]

    def work(k: int) -> TaskBaselines:
        question = tasks[k].question
        history = click_history(features[k], question.truth, question.groups)
        found = {HISTORY: history}
        answers = tasks[k].activations.predictions
        if answers is not None:
            chance = answers["p_undo"].to_numpy()[question.rows]
            found[P_UNDO] = own_answer(chance, question.truth, question.groups, history.folds)
        rest = [
            (own, one.question.truth)
            for i, (own, one) in enumerate(zip(features, tasks, strict=True))
            if i != k
        ]
        elsewhere = None
        if rest:
            elsewhere = click_history_elsewhere(rest, features[k], question.truth, question.groups)
        return TaskBaselines(tasks[k], found, elsewhere)

    return in_threads(work, range(len(tasks)))


def _history(one: TaskRows) -> Floats:
    return history_features(one.activations.labels)[one.question.rows]


def baseline_rows(predicted: Schemes, sites: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of the baselines, and of what probes at ``sites`` (`name_of`) add to them, by task.

    Intervals of means over tasks draw the tasks anew. With the negatives ``history_matched`` stand
    probe and baselines on rows whose clicks look alike (`history_matched`).
    """
    tasks = predicted.tasks
    known = baselines(tasks)
    negatives = tasks[0].question.negatives
    for name in (HISTORY, P_UNDO):
        found = {one.rows.task: score(one.within[name]) for one in known if name in one.within}
        yield from by_task(found, scheme=WITHIN, kind=name, negatives=negatives, site="")
    others = {one.rows.task: score(one.elsewhere) for one in known if one.elsewhere is not None}
    yield from by_task(others, scheme=LEFT_OUT, kind=HISTORY, negatives=negatives, site="")
    for site in sites:
        schemes = SCHEMES if len(tasks) > 1 else (WITHIN,)
        probes = {scheme: predicted.at(scheme, site) for scheme in schemes}
        yield from _added_rows(known, probes[WITHIN], negatives=negatives, site=site)
        yield from _matched_rows(known, probes, site=site, baselines=site == sites[0])


def _added_rows(
    known: Sequence[TaskBaselines], probes: Mapping[str, HeldOut], **names: Any
) -> Iterator[dict[str, Any]]:
    """AUC at equal baseline (``given_...``) and gain of a stack (``added_to_...``), by task."""
    for kind, bases in GIVEN.items():
        there = [one for one in known if set(bases) <= set(one.within)]

        def compare(
            one: TaskBaselines, bases: Sequence[str] = bases
        ) -> tuple[ProbeScore | None, ProbeScore]:
            own, probe = [one.within[name] for name in bases], probes[one.rows.task]
            base = own[0] if len(own) == 1 else stacked(own)
            return conditional(probe, base), gain(probe, own)

        compared = zip([one.rows.task for one in there], in_threads(compare, there), strict=True)
        both = dict(compared)
        given = {task: equal for task, (equal, _) in both.items() if equal is not None}
        gains = {task: gained for task, (_, gained) in both.items()}
        yield from by_task(given, scheme=ADDED, kind=f"given_{kind}", **names)
        yield from by_task(gains, scheme=ADDED, kind=f"added_to_{kind}", chance=0.0, **names)


def _matched_rows(
    known: Sequence[TaskBaselines],
    probes: Mapping[str, Mapping[str, HeldOut]],
    site: str,
    *,
    baselines: bool,
) -> Iterator[dict[str, Any]]:
    """Probes and baselines on rows matched in the click history."""
    chosen = {one.rows.task: history_matched(one.within[HISTORY]) for one in known}
    chosen = {task: rows for task, rows in chosen.items() if rows.any()}
    sets: list[tuple[str, str, str, Mapping[str, HeldOut]]] = [
        (scheme, "probe", site, found) for scheme, found in probes.items()
    ]
    for name in (HISTORY, P_UNDO) if baselines else ():
        own = {one.rows.task: one.within[name] for one in known if name in one.within}
        sets.append((WITHIN, name, "", own))
    for scheme, kind, where, found in sets:
        scores = {
            task: score(found[task].rows(rows)) for task, rows in chosen.items() if task in found
        }
        names: dict[str, Any] = {"negatives": "history_matched", "site": where}
        yield from by_task(scores, scheme=scheme, kind=kind, **names)
