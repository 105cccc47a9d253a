"""Probes of several tasks: within each, pooled over all, from the others, from each to each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import Latent, Question, ask, get_latent
from bcprobe.bootstrap import (
    Z_95,
    Floats,
    Ints,
    interval,
    max_t,
    ratio,
    spread_interval,
)
from bcprobe.errors import InputError
from bcprobe.parallel import in_threads
from bcprobe.probes.controls import shuffled_labels
from bcprobe.probes.directions import drawn_directions
from bcprobe.probes.linear import (
    HeldOut,
    Predictor,
    ProbeScore,
    check_folds,
    cross_predict,
    fit_means,
    fit_probes,
    independent,
    mean_of,
    score,
)
from bcprobe.probes.refit import (
    REFITS,
    over_tasks,
    refit_cross,
    refit_elsewhere,
    row_counts,
    weighted_auc,
)
from bcprobe.probes.result import (
    ADDED,
    EXACT,
    LEFT_OUT,
    MATRIX,
    MAX_T,
    MEAN,
    NONE,
    POOLED,
    REFIT,
    TASKS,
    WITHIN,
    WORLDS,
    score_row,
)
from bcprobe.results import Score
from bcprobe.rng import generator
from bcprobe.types import ALL

#: Refits behind the interval of a cosine: it takes whole fits, so there are few.
COSINE_RESAMPLES = 40
#: Permutations of labels behind the matrix's p values.
PERMUTATIONS = 200
#: Standard errors that a difference must measure to be found with 80 % power at 5 %, two-sided.
POWER = 2.802
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
    parts: Mapping[str, Activations], label: str, negatives: str, *, fitted: bool = True
) -> tuple[list[TaskRows], dict[str, str]]:
    """The steps evaluated in each task that holds both classes; why not in the others.

    Where probes are not ``fitted`` on them, one world with both is enough.
    """
    found, skipped = [], {}
    for task, activations in parts.items():
        try:
            question = ask(activations.labels, label, negatives)
            if fitted:
                check_folds(question)
            found.append(TaskRows(task, question, activations))
        except InputError as error:
            skipped[task] = str(error)
    return found, skipped


def within_tasks(tasks: Sequence[TaskRows], site: str) -> dict[str, HeldOut]:
    """Task -> predictions of probes fitted on other episodes of the same task."""
    return {
        one.task: cross_predict(
            one.question.latent.kind, one.features(site), one.question.truth, one.question.groups
        )
        for one in tasks
    }


def pooled(tasks: Sequence[TaskRows], site: str) -> dict[str, HeldOut]:
    """Task -> predictions of probes fitted on other episodes of all tasks; `ALL`: all rows."""
    features, truth, groups, task = _stacked(tasks, site)
    predictions = cross_predict(tasks[0].question.latent.kind, features, truth, groups)
    parts = {one.task: predictions.rows(task == one.task) for one in tasks}
    return {ALL: predictions, **parts}


def left_out(tasks: Sequence[TaskRows], site: str) -> dict[str, HeldOut]:
    """Task -> predictions of a probe fitted on all the other tasks."""
    rest = [[other for other in tasks if other is not one] for one in tasks]
    probes = _fit_on(tasks, site, rest)
    found = {
        one.task: _transfer(probe, one, site) for probe, one in zip(probes, tasks, strict=True)
    }
    return {task: predictions for task, predictions in found.items() if predictions is not None}


#: How probes are fitted and tested, by name.
SCHEMES = {WITHIN: within_tasks, POOLED: pooled, LEFT_OUT: left_out}


#: A scheme and a site (`name_of`).
Where = tuple[str, str]


class Schemes:
    """Predictions of each scheme on some steps of the tasks, fitted when first asked for."""

    def __init__(self, tasks: Sequence[TaskRows]) -> None:
        self.tasks = tasks
        self._made: dict[Where, dict[str, HeldOut]] = {}

    def at(self, scheme: str, site: str) -> dict[str, HeldOut]:
        """Task -> predictions at a site (`name_of`), with `ALL` where a scheme pools the tasks."""
        if (scheme, site) not in self._made:
            self._made[scheme, site] = SCHEMES[scheme](self.tasks, site)
        return self._made[scheme, site]


def schemes_of(parts: Mapping[str, Activations], label: str) -> dict[str, Schemes]:
    """Negatives of a label -> the schemes on their steps, where enough tasks have both classes.

    Enough are two, or the only one.
    """
    found = {way: rows_of_tasks(parts, label, way)[0] for way in _known(parts, label).negatives}
    least = min(2, len(parts))
    return {way: Schemes(tasks) for way, tasks in found.items() if len(tasks) >= least}


def matrix(tasks: Sequence[TaskRows], site: str) -> dict[tuple[str, str], HeldOut]:
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
    tasks: Sequence[TaskRows],
    site: str,
    trains: Sequence[Sequence[TaskRows]],
    fit: Callable[..., list[Predictor]] = fit_probes,
) -> list[tuple[Predictor, Any]]:
    """Probes fitted on sets of the tasks, and the classes that each has seen."""
    features, truth, _, task = _stacked(tasks, site)
    rows = [np.flatnonzero(np.isin(task, [one.task for one in train])) for train in trains]
    predictors = fit(tasks[0].question.latent.kind, features, truth, rows)
    return [(predict, np.unique(truth[own])) for predict, own in zip(predictors, rows, strict=True)]


def _transfer(probe: tuple[Predictor, Any], test: TaskRows, site: str) -> HeldOut | None:
    """A probe's predictions in another task; None if it knows no two classes of it."""
    (predict, classes), own, kind = probe, test.question, test.question.latent.kind
    known = np.ones(len(own.truth), dtype=bool)
    if kind == "classes":
        known = np.isin(own.truth, classes)
        if len(np.unique(own.truth[known])) < 2:
            return None
    found, groups = predict(test.features(site)[known]), own.groups[known]
    return HeldOut(kind, own.truth[known], found, groups, np.zeros(len(groups), dtype=np.int64))


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


def _known(parts: Mapping[str, Activations], label: str) -> Latent:
    return get_latent(label, next(iter(parts.values())).labels)


def scheme_rows(
    schemes: Mapping[str, Schemes],
    names: Sequence[str],
    best: str,
    refits: int = REFITS["default"],
) -> Iterator[dict[str, Any]]:
    """Rows of every scheme, with intervals that include the fit and the choice of the layer.

    ``schemes`` as `schemes_of` makes them. All ``names`` (`bcprobe.activations.dataset.name_of`)
    with the leading negatives; the best, at [cls] and at the placed patch, with others. With the
    leading ones also the matrix from task to task. Probes are fitted anew with the leading
    negatives, and with ``refits`` above the default with all.
    """
    for negatives, predicted in schemes.items():
        tasks = predicted.tasks
        known = tasks[0].question.latent
        common: dict[str, Any] = {"negatives": negatives, "metric": known.metric}
        common["chance"] = _chance(tasks)
        leading = negatives == known.negatives[0]
        own = names if leading else [name for name in names if name in (best, f"{best}@placed")]
        scores = dict(_scored(predicted, own))
        fitted_anew = known.kind == "binary" and refits and _refits(known, negatives, refits)
        spread = refit_values(tasks, best, refits) if fitted_anew else {}
        yield from _interval_rows(scores, spread, best, **common)
        if known.kind == "binary":
            yield from _mean_difference_rows(tasks, best, **common)
        if leading:
            yield from matrix_rows(tasks, best, **common)


def one_task_rows(
    activations: Activations,
    label: str,
    names: Sequence[str],
    best: str,
    refits: int = REFITS["default"],
) -> Iterator[dict[str, Any]]:
    """Rows of probes within the one task that there is, as `scheme_rows`."""
    known = get_latent(label, activations.labels)
    for negatives in known.negatives:
        try:
            question = ask(activations.labels, label, negatives)
        except InputError:
            continue
        one = TaskRows(activations.tasks[0], question, activations)
        common: dict[str, Any] = {"negatives": negatives, "metric": known.metric}
        common["chance"] = _chance([one])
        found = in_threads(partial(_predict_within, one), names)
        scores = {
            (WITHIN, name): {one.task: score(predictions)}
            for name, predictions in zip(names, found, strict=True)
        }
        spread: dict[tuple[str, str], Floats] = {}
        if known.kind == "binary" and refits and _refits(known, negatives, refits):
            features, truth, groups = one.features(best), question.truth, question.groups
            counts = row_counts(groups, refits)
            refitted, folds = refit_cross(features, truth, groups, counts)
            spread[WITHIN, one.task] = weighted_auc(truth, refitted, counts, folds)
            fitted = cross_predict("binary", features, truth, groups, fit=fit_means)
            where = {"kind": "mean_difference", "site": best}
            yield _row(WITHIN, one.task, score(fitted).score, **common, **where)
        yield from _interval_rows(scores, spread, best, **common)


def _predict_within(one: TaskRows, name: str) -> HeldOut:
    return within_tasks([one], name)[one.task]


def _refits(known: Latent, negatives: str, refits: int) -> bool:
    """Whether probes are refitted: by default with the leading negatives only."""
    return negatives == known.negatives[0] or refits > REFITS["default"]


def _scored(
    schemes: Schemes, names: Sequence[str]
) -> Iterator[tuple[Where, dict[str, ProbeScore]]]:
    """Every scheme at every site: task -> score, with `MEAN` over the tasks."""
    jobs = [(scheme, name) for scheme in SCHEMES for name in names]

    def work(job: Where) -> dict[str, ProbeScore]:
        return _with_mean(schemes.at(*job))

    yield from zip(jobs, in_threads(work, jobs), strict=True)


def _with_mean(predictions: Mapping[str, HeldOut]) -> dict[str, ProbeScore]:
    scores = {task: score(found) for task, found in predictions.items()}
    own = [found for task, found in scores.items() if task != ALL]
    if own:
        mean = mean_of(own)
        total = replace(mean.score, n=sum(found.score.n for found in own))
        scores[MEAN] = replace(mean, score=total)
    return scores


def _interval_rows(
    scores: Mapping[Where, Mapping[str, ProbeScore]],
    spread: Mapping[tuple[str, str], Floats],
    best: str,
    **common: Any,
) -> Iterator[dict[str, Any]]:
    """A row per scheme, site and test task.

    ``spread``: (scheme, test task) -> refitted scores at the best site; there an interval includes
    the refit, elsewhere worlds drawn anew. All are simultaneous over the sites of a token.
    """
    share = common["metric"] == "auc"
    for (scheme, name), found in scores.items():
        token = name.partition("@")[2]
        alike = [n for s, n in scores if s == scheme and n.partition("@")[2] == token]
        for task, one in found.items():
            columns = [scores[scheme, n][task].resampled for n in alike]
            critical = max_t(np.ones(len(alike)), np.stack(columns, axis=1))
            values, kind = one.resampled, MAX_T
            if name == best and (scheme, task) in spread:
                values = spread[scheme, task]
                kind = REFIT if len(alike) == 1 else f"{REFIT} {MAX_T}"
            if name == best and task == MEAN and (scheme, task) in spread:
                kind = TASKS
            estimate, n = one.score.estimate, one.score.n
            units = None if one.predictions is None else independent(one.predictions)
            width = critical if kind != TASKS else Z_95
            number = spread_interval(estimate, values, n, critical=width, units=units, share=share)
            if share and units is not None and estimate in (0.0, 1.0):
                kind = EXACT
            yield _row(scheme, task, number, site=name, interval=kind, **common)
            if name == best and kind in (REFIT, f"{REFIT} {MAX_T}", TASKS):
                least = POWER * float(np.nanstd(values, ddof=1))
                where = {"kind": "detectable", "site": name, "interval": NONE, "chance": 0.0}
                number = Score(least, least, least, n)
                yield _row(scheme, task, number, **{**common, **where})


def refit_values(
    tasks: Sequence[TaskRows], name: str, refits: int
) -> dict[tuple[str, str], Floats]:
    """(scheme, test task) -> AUC of probes refitted on worlds drawn anew [refit].

    `MEAN` draws the tasks anew too. Tasks' worlds are drawn independently.
    """
    features = [one.features(name) for one in tasks]
    truths = [one.question.truth for one in tasks]
    counts = [row_counts(one.question.groups, refits, seed) for seed, one in enumerate(tasks)]
    every = [np.concatenate(parts) for parts in (features, truths, counts)]
    offsets = _stacked(tasks, name)[2]

    def within_task(k: int) -> Floats:
        scores, folds = refit_cross(features[k], truths[k], tasks[k].question.groups, counts[k])
        return weighted_auc(truths[k], scores, counts[k], folds)

    def elsewhere(k: int) -> Floats:
        rest = [i for i in range(len(tasks)) if i != k]
        train = [np.concatenate([part[i] for i in rest]) for part in (features, truths, counts)]
        scores = refit_elsewhere((train[0], train[1], train[2]), features[k])
        return weighted_auc(truths[k], scores, counts[k], np.zeros(len(scores), dtype=np.int64))

    def together(_: int) -> list[Floats]:
        scores, folds = refit_cross(every[0], every[1], offsets, every[2])
        ends = np.cumsum([0, *map(len, truths)])
        parts = [slice(None), *(slice(a, b) for a, b in pairwise(ends))]
        return [weighted_auc(every[1][p], scores[p], every[2][p], folds[p]) for p in parts]

    order = range(len(tasks))
    jobs = [(together, 0), *((elsewhere, k) for k in order), *((within_task, k) for k in order)]
    done: list[Any] = in_threads(lambda job: job[0](job[1]), jobs)
    found = {(POOLED, ALL): done[0][0]}
    schemes = {
        POOLED: done[0][1:],
        LEFT_OUT: done[1 : 1 + len(tasks)],
        WITHIN: done[1 + len(tasks) :],
    }
    for scheme, values in schemes.items():
        found |= {(scheme, one.task): own for one, own in zip(tasks, values, strict=True)}
        found[scheme, MEAN] = over_tasks(values)
    return found


def _mean_difference_rows(
    tasks: Sequence[TaskRows], name: str, **common: Any
) -> Iterator[dict[str, Any]]:
    """Probes along differences of means: within tasks, pooled, and with each task left out."""
    features, truth, groups, task = _stacked(tasks, name)
    sets = [(one.features(name), one.question.truth, one.question.groups) for one in tasks]
    at_once, *within = in_threads(
        lambda own: cross_predict("binary", *own, fit=fit_means), [(features, truth, groups), *sets]
    )
    rest = [[other for other in tasks if other is not one] for one in tasks]
    elsewhere = zip(_fit_on(tasks, name, rest, fit_means), tasks, strict=True)
    found: dict[str, dict[str, HeldOut]] = {
        WITHIN: {one.task: own for one, own in zip(tasks, within, strict=True)},
        POOLED: {ALL: at_once, **{one.task: at_once.rows(task == one.task) for one in tasks}},
        LEFT_OUT: {
            one.task: moved
            for probe, one in elsewhere
            if (moved := _transfer(probe, one, name)) is not None
        },
    }
    for scheme, own in found.items():
        for test, one_score in _with_mean(own).items():
            where = {"kind": "mean_difference", "site": name}
            yield _row(scheme, test, one_score.score, **common, **where)


def matrix_rows(
    tasks: Sequence[TaskRows], name: str, permutations: int = PERMUTATIONS, **common: Any
) -> Iterator[dict[str, Any]]:
    """Scores from each task to each, and how likely such a one is by chance.

    ``p`` (two-sided, over all cells at once): the share of permutations, in which each world of the
    tested task gets another's labels, whose most extreme cell is at least as far from chance.
    """
    found = matrix(tasks, name)
    for (train, test), predictions in found.items():
        where = {"train_task": train, "test_task": test, "site": name}
        yield score_row(score(predictions).score, scheme=MATRIX, **where, **common)
    if common["metric"] != "auc" or not found:
        return
    drawn = {one.task: _permuted(one, permutations) for one in tasks}
    cells = {names: _auc_of_columns(p.scores, drawn[names[1]]) for names, p in found.items()}
    extreme = np.abs(np.stack(list(cells.values())) - 0.5).max(axis=0)
    for (train, test), predictions in found.items():
        own = abs(float(_auc_of_columns(predictions.scores, predictions.truth[:, None])[0]) - 0.5)
        p = (1 + int((extreme >= own).sum())) / (1 + permutations)
        where = {"train_task": train, "test_task": test, "site": name, "kind": "p_value"}
        where["interval"] = NONE
        number = Score(p, p, p, permutations)
        yield score_row(number, scheme=MATRIX, **where, **{**common, "metric": "p", "chance": 0.05})


def _permuted(one: TaskRows, permutations: int) -> NDArray[np.bool_]:
    """Labels [row, permutation] of which each world has another world's (`shuffled_labels`)."""
    rng = generator("permuted labels", one.task)
    question = one.question
    drawn = [shuffled_labels(question.truth, question.groups, rng) for _ in range(permutations)]
    return np.stack(drawn, axis=1).astype(bool)


def _auc_of_columns(scores: Floats, truths: NDArray[np.generic]) -> Floats:
    """AUC [column] of one score [row] for many labels [row, column]; nan for one class."""
    from scipy.stats import rankdata

    wanted = truths.astype(float)
    up = wanted.sum(axis=0)
    down = len(scores) - up
    won = rankdata(scores) @ wanted - up * (up + 1) / 2
    return ratio(won, up * down)


def own_rows(
    parts: Mapping[str, Activations], own: Mapping[str, Activations], label: str, site: str
) -> Iterator[dict[str, Any]]:
    """Rows of the probe of all annotators' episodes, tested task by task on the model's own."""
    known = _known(parts, label)
    for negatives in known.negatives:
        fitted, _ = rows_of_tasks(parts, label, negatives)
        tested, _ = rows_of_tasks(own, label, negatives, fitted=False)
        if not fitted or not tested:
            continue
        names: dict[str, Any] = {"negatives": negatives, "metric": known.metric}
        names["chance"] = _chance(fitted)
        (probe,) = _fit_on(fitted, site, [fitted])
        found = {one.task: _transfer(probe, one, site) for one in tested}
        known_ones = {task: p for task, p in found.items() if p is not None}
        scores = {task: score(one) for task, one in known_ones.items()}
        yield from by_task(scores, "own", site=site, **names)


def by_task(
    scores: Mapping[str, ProbeScore], scheme: str, *, chance: float = 0.5, **names: Any
) -> Iterator[dict[str, Any]]:
    """A row per task and, of several, their mean with tasks drawn anew."""
    common = {"metric": "auc", "chance": chance, **names}
    for task, found in scores.items():
        yield _row(scheme, task, found.score, interval=WORLDS, **common)
    if len(scores) > 1:
        estimate = float(np.mean([found.score.estimate for found in scores.values()]))
        steps = sum(found.score.n for found in scores.values())
        spread = over_tasks([found.resampled for found in scores.values()])
        share = common["metric"] != "r2" and chance > 0
        number = spread_interval(estimate, spread, steps, share=share)
        yield _row(scheme, MEAN, number, interval=TASKS, **common)


def _row(scheme: str, task: str, number: Score, **names: Any) -> dict[str, Any]:
    """A row with the tasks that a scheme is fitted on."""
    if task == MEAN:
        train = {WITHIN: "same", ADDED: "same", LEFT_OUT: "others"}.get(scheme, ALL)
    else:
        train = {WITHIN: task, ADDED: task, LEFT_OUT: f"not {task}"}.get(scheme, ALL)
    return score_row(number, scheme=scheme, train_task=train, test_task=task, **names)


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
    known = _known(parts, label)
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


def roc_rows(schemes: Schemes, site: str) -> Iterator[dict[str, Any]]:
    """Mean ROC curve over the tasks, of each scheme."""
    for scheme in SCHEMES:
        found = [own for task, own in schemes.at(scheme, site).items() if task != ALL]
        points = np.stack([roc_points(predictions, GRID) for predictions in found])
        for x, column in zip(GRID, points.T, strict=True):
            low, high = np.nanquantile(column, [0.25, 0.75])
            curve = Score(float(np.nanmean(column)), float(low), float(high), len(found))
            names = {
                "negatives": schemes.tasks[0].question.negatives,
                "site": site,
                "metric": "tpr",
            }
            where = {"train_task": scheme, "test_task": MEAN, "chance": float(x)}
            yield score_row(curve, scheme="roc", **names, **where) | {"kind": scheme}


def roc_points(predictions: HeldOut, grid: Floats) -> Floats:
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
