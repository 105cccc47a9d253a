"""One probe, several tasks: within each, pooled over all, from the others, from each to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import Question, ask, get_latent
from bcprobe.bootstrap import Floats, Ints, interval
from bcprobe.errors import InputError
from bcprobe.parallel import in_threads
from bcprobe.probes.directions import drawn_directions
from bcprobe.probes.linear import (
    ProbeScore,
    Reader,
    Reading,
    check_folds,
    fit_probes,
    mean_of,
    read,
    read_question,
    score,
)
from bcprobe.results import Score
from bcprobe.rng import generator
from bcprobe.types import ALL

#: Mean over the tasks, each counting the same.
MEAN = "mean"
COLUMNS = (
    "scheme", "kind", "negatives", "site", "layer", "train_task", "test_task", "metric",
    "chance", "estimate", "lower", "upper", "n",
)  # fmt: skip
#: Refits behind the interval of a cosine: it takes whole fits, so there are few.
COSINE_RESAMPLES = 40


@dataclass(frozen=True, eq=False)
class Asked:
    """A question asked of one task, and the task's activations."""

    task: str
    question: Question
    activations: Activations

    def features(self, site: str) -> Any:
        """Activations float32 [row, d] of the rows asked about."""
        return self.question.features(self.activations.at(site))


def ask_each(
    parts: Mapping[str, Activations], latent: str, negatives: str
) -> tuple[list[Asked], dict[str, str]]:
    """The question of each task in which there is something to tell apart; why not in others."""
    asked, left = [], {}
    for task, activations in parts.items():
        try:
            question = ask(activations.labels, latent, negatives)
            check_folds(question)
            asked.append(Asked(task, question, activations))
        except InputError as error:
            left[task] = str(error)
    return asked, left


def within_readings(asked: Sequence[Asked], site: str) -> dict[str, Reading]:
    """Task -> what probes fitted on other episodes of the same task read."""
    return {
        one.task: read(
            one.question.latent.kind, one.features(site), one.question.truth, one.question.groups
        )
        for one in asked
    }


def pooled_reading(asked: Sequence[Asked], site: str) -> dict[str, Reading]:
    """Task -> what probes fitted on other episodes of all tasks read; `ALL`: over all rows."""
    features, truth, groups, task = _stacked(asked, site)
    reading = read(asked[0].question.latent.kind, features, truth, groups)
    parts = {one.task: reading.rows(task == one.task) for one in asked}
    return {ALL: reading, **parts}


def left_out_readings(asked: Sequence[Asked], site: str) -> dict[str, Reading]:
    """Task -> what a probe fitted on all the other tasks reads."""
    rest = [[other for other in asked if other is not one] for one in asked]
    probes = _fit_on(asked, site, rest)
    found = {one.task: _told(probe, one, site) for probe, one in zip(probes, asked, strict=True)}
    return {task: reading for task, reading in found.items() if reading is not None}


#: How probes are fitted and tested, by name.
SCHEMES = {"within": within_readings, "pooled": pooled_reading, "left_out": left_out_readings}


def matrix_readings(asked: Sequence[Asked], site: str) -> dict[tuple[str, str], Reading]:
    """(fitted on, tested on) -> reading, for every pair of different tasks."""
    probes = zip(_fit_on(asked, site, [[one] for one in asked]), asked, strict=True)
    found = {
        (a.task, b.task): _told(probe, b, site) for probe, a in probes for b in asked if a is not b
    }
    return {names: reading for names, reading in found.items() if reading is not None}


def _fit_on(
    asked: Sequence[Asked], site: str, trains: Sequence[Sequence[Asked]]
) -> list[tuple[Reader, Any]]:
    """Probes fitted on sets of the tasks asked, and the classes that each has seen."""
    features, truth, _, task = _stacked(asked, site)
    rows = [np.flatnonzero(np.isin(task, [one.task for one in train])) for train in trains]
    readers = fit_probes(asked[0].question.latent.kind, features, truth, rows)
    return [(reader, np.unique(truth[own])) for reader, own in zip(readers, rows, strict=True)]


def _told(probe: tuple[Reader, Any], test: Asked, site: str) -> Reading | None:
    """What a probe reads in another task; None if it knows no two classes of it."""
    (reader, classes), own, kind = probe, test.question, test.question.latent.kind
    known = np.ones(len(own.truth), dtype=bool)
    if kind == "classes":
        known = np.isin(own.truth, classes)
        if len(np.unique(own.truth[known])) < 2:
            return None
    found, groups = reader(test.features(site)[known]), own.groups[known]
    return Reading(kind, own.truth[known], found, groups, np.zeros(len(groups), dtype=np.int64))


def _stacked(asked: Sequence[Asked], site: str) -> tuple[Any, Any, Ints, Any]:
    """Features [row, d], truth [row], episode [row] over all tasks, and the task [row]."""
    groups, first = [], 0
    for one in asked:
        groups.append(one.question.groups + first)
        first = int(groups[-1].max()) + 1
    names = np.concatenate([np.full(len(one.question.truth), one.task) for one in asked])
    truth = np.concatenate([one.question.truth for one in asked])
    features = np.concatenate([one.features(site) for one in asked])
    return features, truth, np.concatenate(groups), names


def score_rows(
    parts: Mapping[str, Activations], latent: str, sites: Sequence[str], best: str
) -> Iterator[dict[str, Any]]:
    """Rows (`COLUMNS` but for ``layer``) of every scheme.

    Every site for the leading negatives, the best site for others and for the matrix.
    """
    known = get_latent(latent)
    for negatives in known.negatives:
        asked, _ = ask_each(parts, latent, negatives)
        if len(asked) < 2:
            continue
        names = {"negatives": negatives, "metric": known.metric, "chance": _chance(asked)}
        leading = negatives == known.negatives[0]
        for scheme, site, scores in _scored(asked, sites if leading else [best]):
            yield from _scheme_rows(scheme, scores, site=site, **names)
        if leading:
            for (train, test), reading in matrix_readings(asked, best).items():
                where = {"train_task": train, "test_task": test, "site": best}
                yield _row(score(reading).score, scheme="matrix", **where, **names)


def _scored(
    asked: Sequence[Asked], sites: Sequence[str]
) -> Iterator[tuple[str, str, dict[str, ProbeScore]]]:
    """Every scheme at every site."""
    jobs = [(scheme, site) for scheme in SCHEMES for site in sites]

    def work(job: tuple[str, str]) -> dict[str, ProbeScore]:
        readings = SCHEMES[job[0]](asked, job[1])
        return {task: score(reading) for task, reading in readings.items()}

    for (scheme, site), scores in zip(jobs, in_threads(work, jobs), strict=True):
        yield scheme, site, scores


def reading_score_rows(
    asked: Sequence[Asked], tested: Sequence[Asked], site: str, negatives: str
) -> Iterator[dict[str, Any]]:
    """Rows of the probe of all tasks ``asked``, on the episodes ``tested``, task by task."""
    if not asked or not tested:
        return
    latent = asked[0].question.latent
    names = {"negatives": negatives, "metric": latent.metric, "chance": _chance(asked)}
    (probe,) = _fit_on(asked, site, [asked])
    readings = {one.task: _told(probe, one, site) for one in tested}
    scores = {task: score(found) for task, found in readings.items() if found is not None}
    yield from _scheme_rows("own", scores, site=site, **names)


def _scheme_rows(
    scheme: str, scores: Mapping[str, ProbeScore], **names: Any
) -> Iterator[dict[str, Any]]:
    own = {task: found for task, found in scores.items() if task != ALL}
    for task, found in scores.items():
        train = {"within": task, "left_out": f"not {task}"}.get(scheme, ALL)
        yield _row(found.score, scheme=scheme, train_task=train, test_task=task, **names)
    if own:
        mean = mean_of(list(own.values())).score
        total = Score(mean.estimate, mean.lower, mean.upper, sum(f.score.n for f in own.values()))
        train = {"within": "same", "left_out": "others"}.get(scheme, ALL)
        yield _row(total, scheme=scheme, train_task=train, test_task=MEAN, **names)


def _row(found: Score, **names: Any) -> dict[str, Any]:
    return {"kind": "probe", **names, **found.__dict__}


def _chance(asked: Sequence[Asked]) -> float:
    kind = asked[0].question.latent.kind
    if kind == "classes":
        return 1 / len(np.unique(np.concatenate([one.question.truth for one in asked])))
    return 0.5 if kind == "binary" else 0.0


def cosine_rows(
    parts: Mapping[str, Activations], latent: str, site: str, resamples: int = COSINE_RESAMPLES
) -> Iterator[dict[str, Any]]:
    """Cosines between the tasks' directions at a site, and with that of all tasks (`ALL`).

    Intervals from refits on episodes drawn anew in every task. Latents of several classes
    have several directions a task and give no rows.
    """
    known = get_latent(latent)
    asked, _ = ask_each(parts, latent, known.negatives[0])
    if known.kind == "classes" or len(asked) < 2:
        return
    rng = generator("cosines", latent, site)
    draws = [[_drawn(one, rng) for one in asked] for _ in range(resamples)]
    counts = [
        np.stack([np.ones(len(one.question.truth)), *drawn], axis=1)
        for one, drawn in zip(asked, zip(*draws, strict=True), strict=True)
    ]
    values = _cosines(asked, site, counts)  # (resample, task or all, task or all)
    names = [*(one.task for one in asked), ALL]
    for i, first in enumerate(names):
        for j, second in enumerate(names[:i]):
            cosine = interval(float(values[0, i, j]), values[1:, i, j], len(asked))
            where = {"train_task": first, "test_task": second, "site": site, "chance": 0.0}
            named = {"negatives": known.negatives[0], "metric": "cosine"}
            yield _row(cosine, scheme="cosine", **where, **named)


def _drawn(one: Asked, rng: np.random.Generator) -> Floats:
    """How often each row is there if as many episodes as there are are drawn anew."""
    episodes, own = np.unique(one.question.groups, return_inverse=True)
    chosen = rng.choice(len(episodes), len(episodes))
    return np.bincount(chosen, minlength=len(episodes)).astype(float)[own]


def _cosines(asked: Sequence[Asked], site: str, counts: Sequence[Floats]) -> Floats:
    """Cosines [draw, task + 1, task + 1], the last task being all together.

    ``counts`` [row, draw] of each task says how often rows count.
    """
    features, truth, _, _ = _stacked(asked, site)
    parts = [(one.features(site), one.question.truth) for one in asked]
    kind = asked[0].question.latent.kind
    jobs = zip([*parts, (features, truth)], [*counts, np.concatenate(counts)], strict=True)
    found = in_threads(lambda job: drawn_directions(kind, *job[0], job[1]), jobs)
    stacked = np.stack(found, axis=1)  # (draw, task or all, d)
    return stacked @ stacked.transpose(0, 2, 1)


def delayed_rows(activations: Activations, site: str) -> Iterator[dict[str, Any]]:
    """`mistake` against `undo_next`, told apart by corrections that come late.

    ``knows the mistake``: among steps whose click is not Undo, does a mistake stand?
    ``knows the click``: among steps with a mistake standing, is the click Undo? Each is asked
    of the readings (out of fold) of the mistake probe and of the undo_next probe.
    """
    labels = activations.labels
    truth = {name: labels[name].to_numpy(bool) for name in ("mistake", "undo_next")}
    asked = {
        "knows the mistake": ("mistake", ~truth["undo_next"]),
        "knows the click": ("undo_next", truth["mistake"]),
    }
    for probe in ("mistake", "undo_next"):
        try:
            reading = read_question(ask(labels, probe, "all"), activations.at(site)).reading
        except InputError:
            continue
        for question, (about, rows) in asked.items():
            if reading is None or len(np.unique(truth[about][rows])) < 2:
                continue
            part = reading.rows(rows)
            told = Reading("binary", truth[about][rows], part.scores, part.groups, part.folds)
            where = {"train_task": ALL, "test_task": ALL, "site": site, "negatives": question}
            result = score(told).score
            yield _row(result, scheme="delayed", **where, metric="auc", chance=0.5) | {
                "kind": probe
            }


def roc_points(reading: Reading, grid: Floats) -> Floats:
    """True-positive rate at each false-positive rate of ``grid``, the mean over folds."""
    from sklearn.metrics import roc_curve

    curves = []
    for fold in np.unique(reading.folds):
        part = reading.rows(reading.folds == fold)
        truth = part.truth.astype(bool)
        if truth.any() and not truth.all():
            false, true, _ = roc_curve(truth, part.scores)
            curves.append(np.interp(grid, false, true))
    return np.mean(curves, axis=0) if curves else np.full(len(grid), np.nan)


def table_of(rows: Sequence[dict[str, Any]], layers: Mapping[str, int]) -> pd.DataFrame:
    """The rows as a tidy table (`COLUMNS`)."""
    placed = [{**row, "layer": layers.get(row["site"])} for row in rows]
    return pd.DataFrame(placed, columns=list(COLUMNS)).astype({"layer": "Int64"})
