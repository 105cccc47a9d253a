"""Probes of several tasks: within each, pooled over all, from the others, from each to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import Question, ask, get_latent
from bcprobe.bootstrap import Floats, Ints, interval
from bcprobe.errors import InputError
from bcprobe.parallel import in_threads
from bcprobe.probes.directions import drawn_directions
from bcprobe.probes.linear import (
    Predictions,
    Predictor,
    ProbeScore,
    check_folds,
    cross_predict,
    fit_probes,
    mean_of,
    score,
    score_question,
)
from bcprobe.probes.result import LEFT_OUT, MATRIX, MEAN, POOLED, WITHIN, score_row
from bcprobe.results import Score
from bcprobe.rng import generator
from bcprobe.types import ALL

#: Refits behind the interval of a cosine: it takes whole fits, so there are few.
COSINE_RESAMPLES = 40
#: False-positive rates at which ROC curves are drawn.
GRID = np.linspace(0, 1, 51)


@dataclass(frozen=True, eq=False)
class TaskRows:
    """The steps of one task that are evaluated, and the task's activations."""

    task: str
    question: Question
    activations: Activations

    def features(self, site: str) -> Any:
        """Activations float32 [row, d] of the steps evaluated."""
        return self.question.features(self.activations.values[site])


def rows_of_tasks(
    parts: Mapping[str, Activations], label: str, negatives: str
) -> tuple[list[TaskRows], dict[str, str]]:
    """The steps evaluated in each task that holds both classes; why not in the others."""
    found, skipped = [], {}
    for task, activations in parts.items():
        try:
            question = ask(activations.labels, label, negatives)
            check_folds(question)
            found.append(TaskRows(task, question, activations))
        except InputError as error:
            skipped[task] = str(error)
    return found, skipped


def within_tasks(tasks: Sequence[TaskRows], site: str) -> dict[str, Predictions]:
    """Task -> predictions of probes fitted on other episodes of the same task."""
    return {
        one.task: cross_predict(
            one.question.latent.kind, one.features(site), one.question.truth, one.question.groups
        )
        for one in tasks
    }


def pooled(tasks: Sequence[TaskRows], site: str) -> dict[str, Predictions]:
    """Task -> predictions of probes fitted on other episodes of all tasks; `ALL`: all rows."""
    features, truth, groups, task = _stacked(tasks, site)
    predictions = cross_predict(tasks[0].question.latent.kind, features, truth, groups)
    parts = {one.task: predictions.rows(task == one.task) for one in tasks}
    return {ALL: predictions, **parts}


def left_out(tasks: Sequence[TaskRows], site: str) -> dict[str, Predictions]:
    """Task -> predictions of a probe fitted on all the other tasks."""
    rest = [[other for other in tasks if other is not one] for one in tasks]
    probes = _fit_on(tasks, site, rest)
    found = {
        one.task: _transfer(probe, one, site) for probe, one in zip(probes, tasks, strict=True)
    }
    return {task: predictions for task, predictions in found.items() if predictions is not None}


#: How probes are fitted and tested, by name.
SCHEMES = {WITHIN: within_tasks, POOLED: pooled, LEFT_OUT: left_out}


def matrix(tasks: Sequence[TaskRows], site: str) -> dict[tuple[str, str], Predictions]:
    """(fitted on, tested on) -> predictions, for every pair of different tasks."""
    probes = zip(_fit_on(tasks, site, [[one] for one in tasks]), tasks, strict=True)
    found = {
        (a.task, b.task): _transfer(probe, b, site)
        for probe, a in probes
        for b in tasks
        if a is not b
    }
    return {names: predictions for names, predictions in found.items() if predictions is not None}


def _fit_on(
    tasks: Sequence[TaskRows], site: str, trains: Sequence[Sequence[TaskRows]]
) -> list[tuple[Predictor, Any]]:
    """Probes fitted on sets of the tasks, and the classes that each has seen."""
    features, truth, _, task = _stacked(tasks, site)
    rows = [np.flatnonzero(np.isin(task, [one.task for one in train])) for train in trains]
    predictors = fit_probes(tasks[0].question.latent.kind, features, truth, rows)
    return [(predict, np.unique(truth[own])) for predict, own in zip(predictors, rows, strict=True)]


def _transfer(probe: tuple[Predictor, Any], test: TaskRows, site: str) -> Predictions | None:
    """A probe's predictions in another task; None if it knows no two classes of it."""
    (predict, classes), own, kind = probe, test.question, test.question.latent.kind
    known = np.ones(len(own.truth), dtype=bool)
    if kind == "classes":
        known = np.isin(own.truth, classes)
        if len(np.unique(own.truth[known])) < 2:
            return None
    found, groups = predict(test.features(site)[known]), own.groups[known]
    return Predictions(kind, own.truth[known], found, groups, np.zeros(len(groups), dtype=np.int64))


def _stacked(tasks: Sequence[TaskRows], site: str) -> tuple[Any, Any, Ints, Any]:
    """Features [row, d], truth [row], episode [row] over all tasks, and the task [row]."""
    groups, first = [], 0
    for one in tasks:
        groups.append(one.question.groups - one.question.groups.min() + first)
        first = int(groups[-1].max()) + 1
    names = np.concatenate([np.full(len(one.question.truth), one.task) for one in tasks])
    truth = np.concatenate([one.question.truth for one in tasks])
    features = np.concatenate([one.features(site) for one in tasks])
    return features, truth, np.concatenate(groups), names


def scheme_rows(
    parts: Mapping[str, Activations], label: str, sites: Sequence[str], best: str
) -> Iterator[dict[str, Any]]:
    """Rows of every scheme.

    Every site for the leading negatives, the best site for others and for the matrix.
    """
    known = get_latent(label)
    for negatives in known.negatives:
        tasks, _ = rows_of_tasks(parts, label, negatives)
        if len(tasks) < 2:
            continue
        names = {"negatives": negatives, "metric": known.metric, "chance": _chance(tasks)}
        leading = negatives == known.negatives[0]
        for scheme, site, scores in _scored(tasks, sites if leading else [best]):
            yield from _rows(scheme, scores, site=site, **names)
        if leading:
            for (train, test), predictions in matrix(tasks, best).items():
                where = {"train_task": train, "test_task": test, "site": best}
                yield score_row(score(predictions).score, scheme=MATRIX, **where, **names)


def _scored(
    tasks: Sequence[TaskRows], sites: Sequence[str]
) -> Iterator[tuple[str, str, dict[str, ProbeScore]]]:
    """Every scheme at every site."""
    jobs = [(scheme, site) for scheme in SCHEMES for site in sites]

    def work(job: tuple[str, str]) -> dict[str, ProbeScore]:
        predictions = SCHEMES[job[0]](tasks, job[1])
        return {task: score(found) for task, found in predictions.items()}

    for (scheme, site), scores in zip(jobs, in_threads(work, jobs), strict=True):
        yield scheme, site, scores


def own_rows(
    parts: Mapping[str, Activations], own: Mapping[str, Activations], label: str, site: str
) -> Iterator[dict[str, Any]]:
    """Rows of the probe of all annotators' episodes, tested task by task on the model's own."""
    known = get_latent(label)
    for negatives in known.negatives:
        fitted, _ = rows_of_tasks(parts, label, negatives)
        tested, _ = rows_of_tasks(own, label, negatives)
        if not fitted or not tested:
            continue
        names = {"negatives": negatives, "metric": known.metric, "chance": _chance(fitted)}
        (probe,) = _fit_on(fitted, site, [fitted])
        found = {one.task: _transfer(probe, one, site) for one in tested}
        scores = {task: score(p) for task, p in found.items() if p is not None}
        yield from _rows("own", scores, site=site, **names)


def _rows(scheme: str, scores: Mapping[str, ProbeScore], **names: Any) -> Iterator[dict[str, Any]]:
    own = {task: found for task, found in scores.items() if task != ALL}
    for task, found in scores.items():
        train = {WITHIN: task, LEFT_OUT: f"not {task}"}.get(scheme, ALL)
        yield score_row(found.score, scheme=scheme, train_task=train, test_task=task, **names)
    if own:
        mean = mean_of(list(own.values())).score
        total = Score(mean.estimate, mean.lower, mean.upper, sum(f.score.n for f in own.values()))
        train = {WITHIN: "same", LEFT_OUT: "others"}.get(scheme, ALL)
        yield score_row(total, scheme=scheme, train_task=train, test_task=MEAN, **names)


def _chance(tasks: Sequence[TaskRows]) -> float:
    kind = tasks[0].question.latent.kind
    if kind == "classes":
        return 1 / len(np.unique(np.concatenate([one.question.truth for one in tasks])))
    return 0.5 if kind == "binary" else 0.0


def cosine_rows(
    parts: Mapping[str, Activations], label: str, site: str, resamples: int = COSINE_RESAMPLES
) -> Iterator[dict[str, Any]]:
    """Cosines between the tasks' directions at a site, and with that of all tasks (`ALL`).

    Intervals from refits on episodes drawn anew in every task. Labels of several classes
    have several directions a task and give no rows.
    """
    known = get_latent(label)
    tasks, _ = rows_of_tasks(parts, label, known.negatives[0])
    if known.kind == "classes" or len(tasks) < 2:
        return
    rng = generator("cosines", label, site)
    draws = [[_drawn(one, rng) for one in tasks] for _ in range(resamples)]
    counts = [
        np.stack([np.ones(len(one.question.truth)), *drawn], axis=1)
        for one, drawn in zip(tasks, zip(*draws, strict=True), strict=True)
    ]
    values = _cosines(tasks, site, counts)  # (resample, task or all, task or all)
    names = [*(one.task for one in tasks), ALL]
    for i, first in enumerate(names):
        for j, second in enumerate(names[:i]):
            cosine = interval(float(values[0, i, j]), values[1:, i, j], len(tasks))
            where = {"train_task": first, "test_task": second, "site": site, "chance": 0.0}
            named = {"negatives": known.negatives[0], "metric": "cosine"}
            yield score_row(cosine, scheme="cosine", **where, **named)


def _drawn(one: TaskRows, rng: np.random.Generator) -> Floats:
    """How often each row is there if as many episodes as there are are drawn anew."""
    episodes, own = np.unique(one.question.groups, return_inverse=True)
    chosen = rng.choice(len(episodes), len(episodes))
    return np.bincount(chosen, minlength=len(episodes)).astype(float)[own]


def _cosines(tasks: Sequence[TaskRows], site: str, counts: Sequence[Floats]) -> Floats:
    """Cosines [draw, task + 1, task + 1], the last task being all together.

    ``counts`` [row, draw] of each task says how often rows count.
    """
    features, truth, _, _ = _stacked(tasks, site)
    parts = [(one.features(site), one.question.truth) for one in tasks]
    kind = tasks[0].question.latent.kind
    jobs = zip([*parts, (features, truth)], [*counts, np.concatenate(counts)], strict=True)
    found = in_threads(lambda job: drawn_directions(kind, *job[0], job[1]), jobs)
    stacked = np.stack(found, axis=1)  # (draw, task or all, d)
    return stacked @ stacked.transpose(0, 2, 1)


def delayed_rows(activations: Activations, site: str) -> Iterator[dict[str, Any]]:
    """`mistake` against `undo_next`, distinguished by corrections that come late.

    ``knows the mistake``: among steps whose click is not Undo, does a mistake stand?
    ``knows the click``: among steps with a mistake standing, is the click Undo? Each is evaluated
    with the out-of-fold predictions of the mistake probe and of the undo_next probe.
    """
    labels = activations.labels
    truth = {name: labels[name].to_numpy(bool) for name in ("mistake", "undo_next")}
    questions = {
        "knows the mistake": ("mistake", ~truth["undo_next"]),
        "knows the click": ("undo_next", truth["mistake"]),
    }
    for probe in ("mistake", "undo_next"):
        try:
            found = score_question(ask(labels, probe, "all"), activations.values[site]).predictions
        except InputError:
            continue
        for question, (about, rows) in questions.items():
            if found is None or len(np.unique(truth[about][rows])) < 2:
                continue
            part = found.rows(rows)
            own = Predictions("binary", truth[about][rows], part.scores, part.groups, part.folds)
            where = {"train_task": ALL, "test_task": ALL, "site": site, "negatives": question}
            result = score(own).score
            yield score_row(result, scheme="delayed", **where, metric="auc", chance=0.5) | {
                "kind": probe
            }


def roc_rows(tasks: Sequence[TaskRows], site: str) -> Iterator[dict[str, Any]]:
    """Mean ROC curve over the tasks, of each scheme."""
    for scheme, predict in SCHEMES.items():
        found = list(predict(tasks, site).values())
        points = np.stack([roc_points(predictions, GRID) for predictions in found])
        for x, column in zip(GRID, points.T, strict=True):
            low, high = np.nanquantile(column, [0.25, 0.75])
            curve = Score(float(np.nanmean(column)), float(low), float(high), len(found))
            names = {"negatives": tasks[0].question.negatives, "site": site, "metric": "tpr"}
            where = {"train_task": scheme, "test_task": MEAN, "chance": float(x)}
            yield score_row(curve, scheme="roc", **names, **where) | {"kind": scheme}


def roc_points(predictions: Predictions, grid: Floats) -> Floats:
    """True-positive rate at each false-positive rate of ``grid``, the mean over folds."""
    from sklearn.metrics import roc_curve

    curves = []
    for fold in np.unique(predictions.folds):
        part = predictions.rows(predictions.folds == fold)
        truth = part.truth.astype(bool)
        if truth.any() and not truth.all():
            false, true, _ = roc_curve(truth, part.scores)
            curves.append(np.interp(grid, false, true))
    return np.mean(curves, axis=0) if curves else np.full(len(grid), np.nan)
