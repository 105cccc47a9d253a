"""How wrong must a mark be? Probe and P(Undo) against the distance of the truth from the mark.

In counterfactual worlds (`bcprobe.episodes.counterfactual`) the clicks stay and the truth moves. A
curve over the distance needs no negatives: at 0 px the mark is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.dataset import Activations, name_of
from bcprobe.bootstrap import Floats, interval, mean_score, paired_draws
from bcprobe.errors import InputError
from bcprobe.parallel import in_processes, one_thread
from bcprobe.probes.linear import fit_probes
from bcprobe.progress import Progress
from bcprobe.results import Score
from bcprobe.rng import split_seed
from bcprobe.tasks.counterfactual import movable

#: Distances of the truth from where it was, px.
SHIFTS = (0.0, 3.0, 6.0, 9.0, 12.0, 16.0, 24.0)
#: Worlds far from those that probes are fitted on.
FIRST_WORLD = 1 << 30
#: Share of right marks at which the probe may raise the alarm.
FALSE_ALARMS = 0.05
#: Latest step that is looked at: later ones cost more frames and show nothing else.
LATEST = 60
RESAMPLES = 200
COLUMNS = ("task", "detector", "what", "shift", "estimate", "lower", "upper", "n")


@dataclass(frozen=True)
class Seen:
    """What a model held and said after a mark whose truth lies ``shift`` px away."""

    task: str
    world: int
    shift: float
    mistake: bool
    p_undo: float
    features: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class _Job:
    checkpoint: str
    task: str
    world: int
    shifts: tuple[float, ...]
    site: str
    token: str
    layout: str


def psychometric(
    data: Activations,
    checkpoint: str | Path,
    site: str,
    *,
    token: str = "cls",
    worlds: int = 16,
    shifts: Sequence[float] = SHIFTS,
    seed: int = 0,
    layout: str = "original",
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Curves of probe and P(Undo) over the distance, with threshold and slope (`COLUMNS`).

    ``data`` are the checkpoint's activations on annotators' episodes: for each of its tasks the
    probe at ``site`` and ``token`` is fitted on them (negatives: `errable`), and its alarm set so
    that `FALSE_ALARMS` of their right marks raise it. ``worlds`` others of each task are worked,
    one mark in each. ``what``: ``rate`` (share of alarms, mean P(Undo)), ``mistake`` (share of
    marks that the task itself calls wrong), ``threshold`` (px at half of the rise) and ``slope``
    (rise per px there). Intervals draw worlds anew. Raises `InputError` if no task of ``data`` has
    a truth that moves.
    """
    tasks = [task for task in data.tasks if task in movable()]
    if not tasks:
        raise InputError(f"no task with a truth that moves; there are: {', '.join(movable())}")
    first = FIRST_WORLD + seed * worlds
    jobs = [
        _Job(
            str(checkpoint), task, split_seed("test", first + i), tuple(shifts), site, token, layout
        )
        for task in tasks
        for i in range(worlds)
    ]
    seen: list[Seen] = []
    with Progress(len(jobs), shown=progress) as bar:
        for job, found in zip(jobs, in_processes(look_at, jobs, workers), strict=True):
            bar.advance(1, f"counterfactual worlds: {job.task}")
            seen += found
    rows: list[dict[str, Any]] = []
    with one_thread():
        alarms = {task: _alarm(part, name_of(site, token)) for task, part in data.parts().items()}
    for task in tasks:
        rows += _rows(task, [one for one in seen if one.task == task], alarms[task])
    return pd.DataFrame(rows, columns=list(COLUMNS))


@lru_cache(maxsize=1)
def _model(checkpoint: str) -> Any:
    from bcprobe.model.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint)


def look_at(job: _Job) -> list[Seen]:
    """What the model holds and says after one mark, for every distance; none if none fits."""
    from bcprobe.activations.extract import gather
    from bcprobe.episodes.counterfactual import counterfactual, movable_steps
    from bcprobe.episodes.record import generate

    episode = generate(job.task, job.world, layout=job.layout)
    early = [step for step in movable_steps(episode) if step <= LATEST]
    if not early:
        return []
    step = int(np.random.default_rng(job.world % (1 << 32)).choice(early))
    found = []
    for shift in job.shifts:
        try:
            made = counterfactual(episode, shift, step)
        except InputError:
            continue
        recording = (made.episode, np.stack(list(made.frames())))
        held, _ = gather([_model(job.checkpoint)], [job.site], [job.token], [recording])
        assert held.predictions is not None
        chance = float(held.predictions["p_undo"].iloc[-1])
        features = held.values[name_of(job.site, job.token)][-1]
        found.append(Seen(job.task, job.world, shift, made.mistake, chance, features))
    return found


#: A fitted probe, with its alarm's threshold and the sign of its scale.
Alarm = Any


def _alarm(data: Activations, name: str) -> Alarm:
    """Scores, above 0 for an alarm, of features [row, d]; None if no probe can be fitted."""
    try:
        question = data.ask("mistake", negatives="errable")
    except InputError:
        return None
    features = question.features(data.values[name])
    truth, worlds = question.truth.astype(bool), np.unique(question.groups)
    half = np.isin(question.groups, worlds[::2])
    if truth[half].all() or not truth[half].any() or truth[~half].all():
        return None
    (predict,) = fit_probes("binary", features, truth, [np.flatnonzero(half)])
    right = predict(features[~half & ~truth])
    level = float(np.quantile(right, 1 - FALSE_ALARMS))
    return lambda x: predict(np.asarray(x, dtype=np.float32)) - level


def _rows(task: str, seen: Sequence[Seen], alarm: Alarm) -> Iterator[dict[str, Any]]:
    if not seen:
        return
    worlds = sorted({one.world for one in seen})
    shifts = sorted({one.shift for one in seen})
    shape = (len(worlds), len(shifts))
    wrong, said, rung = (np.full(shape, np.nan) for _ in range(3))
    for one in seen:
        at = worlds.index(one.world), shifts.index(one.shift)
        wrong[at], said[at] = one.mistake, one.p_undo
        if alarm is not None:
            rung[at] = float(alarm(one.features[None])[0] > 0)
    curves = {"mistake": wrong, "p_undo": said} | ({} if alarm is None else {"probe": rung})
    for detector, values in curves.items():
        what = "mistake" if detector == "mistake" else "rate"
        for column, shift in enumerate(shifts):
            known = np.isfinite(values[:, column])
            score = mean_score(values[known, column], np.flatnonzero(known))
            yield _row(task, detector, what, score, shift)
        yield from _fit_rows(task, detector, np.array(shifts), values)


def _row(task: str, detector: str, what: str, score: Score, shift: float) -> dict[str, Any]:
    names = {"task": task, "detector": detector, "what": what, "shift": shift}
    return {**names, **score.__dict__}


def _fit_rows(task: str, detector: str, shifts: Floats, values: Floats) -> Iterator[dict[str, Any]]:
    """Threshold and slope; no row where the curve does not rise."""
    whole = fit_curve(shifts, np.nanmean(values, axis=0))
    if whole is None:
        return
    draws = paired_draws(len(values), RESAMPLES)
    known = np.isfinite(values)
    counts = draws @ known
    means = np.where(counts > 0, draws @ np.where(known, values, 0) / np.maximum(counts, 1), np.nan)
    drawn = [fit_curve(shifts, mean) for mean in means if np.isfinite(mean).all()]
    fitted = np.array([one for one in drawn if one is not None])
    if len(fitted) < 0.5 * RESAMPLES:
        return
    for column, what in enumerate(("threshold", "slope")):
        score = interval(float(whole[column]), fitted[:, column], len(values))
        yield _row(task, detector, what, score, np.nan)


def fit_curve(shifts: Floats, rates: Floats) -> tuple[float, float] | None:
    """Threshold (px at half of the rise) and slope (rise per px there) of a logistic curve.

    ``rates`` [shift] are shares (0-1). Floor and ceiling are fitted too. None if it rises by less
    than a tenth.
    """
    from scipy.optimize import curve_fit

    if float(np.max(rates) - rates[0]) < 0.1:
        return None
    low, high = float(np.min(rates)), float(np.max(rates))
    start = (low, high - low, float(np.interp((low + high) / 2, np.sort(rates), shifts)), 2.0)
    reach = float(shifts[-1])
    bounds = ([0, 0.02, 0, 0.3], [1, 1, reach, reach])
    start = tuple(np.clip(start, np.array(bounds[0]) + 1e-6, np.array(bounds[1]) - 1e-6))
    try:
        found, _ = curve_fit(_logistic, shifts, rates, start, bounds=bounds, max_nfev=400)
    except RuntimeError:
        return None
    _, rise, threshold, width = found
    return float(threshold), float(rise / (4 * width))


def _logistic(shift: Floats, floor: float, rise: float, threshold: float, width: float) -> Floats:
    found: Floats = floor + rise / (1 + np.exp(-(shift - threshold) / width))
    return found


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Thresholds and slopes of a `psychometric` table, a row per task and detector."""
    known = table[table["what"].isin(["threshold", "slope"])]
    return known.drop(columns="shift").reset_index(drop=True)
