"""The model's own mistakes: can they be foretold, and does a probe notice them while they stand?

On episodes that the model worked itself at temperature 1. *Foretelling* asks, before each click
that puts something down in a clean state, whether that click will be a mistake; the entropy of the
model's own click distribution is the baseline. The *monitor* raises an alarm where a detector
exceeds a threshold set by split conformal calibration on other worlds, so that at most a stated
share of new episodes holds a false alarm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.dataset import Activations
from bcprobe.bootstrap import Floats, mean_score
from bcprobe.errors import InputError
from bcprobe.probes.added import gain
from bcprobe.probes.linear import HeldOut, cross_predict, fit_probes, score
from bcprobe.probes.result import score_row
from bcprobe.results import Score
from bcprobe.types import PLACING

#: Share of episodes that may hold a false alarm.
ALPHA = 0.1
#: Mistakes that it takes in two worlds or more to foretell any.
FEWEST = 5


def foretell_rows(own: Mapping[str, Activations], name: str) -> Iterator[dict[str, Any]]:
    """By task: AUC of the entropy and of a probe at ``name`` before the click, and what it adds.

    ``own``: task -> activations on the model's own episodes. Tasks with fewer than `FEWEST`
    mistakes, or mistakes in one world only, give one row ``mistakes`` that counts them.
    """
    for task, data in own.items():
        rows, truth = coming_mistakes(data.labels)
        groups = data.labels["group"].to_numpy(np.int64)[rows]
        where = {"scheme": "foretell", "negatives": "own", "train_task": task, "test_task": task}
        if not len(truth):
            continue
        share = mean_score(truth.astype(float), groups)
        yield score_row(share, kind="mistakes", site="", metric="share", chance=0.0, **where)
        worlds = len(np.unique(groups[truth]))
        if truth.sum() < FEWEST or worlds < 2 or data.predictions is None:
            continue
        try:
            probe = cross_predict(
                "binary", data.values[name][rows].astype(np.float32), truth, groups
            )
        except InputError:
            continue
        entropy = data.predictions["entropy"].to_numpy(float)[rows]
        base = HeldOut("binary", truth, entropy, groups, probe.folds)
        auc: dict[str, Any] = {"metric": "auc", "chance": 0.5}
        yield score_row(score(base).score, kind="entropy", site="", **auc, **where)
        yield score_row(score(probe).score, kind="probe", site=name, **auc, **where)
        added = gain(probe, [base]).score
        yield score_row(
            added, kind="added_to_entropy", site=name, **{**auc, "chance": 0.0}, **where
        )


def coming_mistakes(labels: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Steps about to put something down in a clean state, bool [step]; which err, bool [row]."""
    after = labels.groupby("episode", sort=False)["mistake"].shift(-1)
    placing = labels["action"].isin(PLACING) & labels["valid"].astype(bool)
    rows = (placing & ~labels["mistake"].astype(bool) & after.notna()).to_numpy(bool)
    return rows, after.to_numpy()[rows].astype(bool)


def monitor_rows(
    data: Mapping[str, Activations], own: Mapping[str, Activations], name: str, alpha: float = ALPHA
) -> Iterator[dict[str, Any]]:
    """By task and detector: false alarms, mistakes noticed, and how early.

    Detectors are the probe fitted on ``data`` (task -> annotators' episodes) and P(Undo). Every
    second of the worlds of ``own`` calibrates, the others are scored: ``false_alarms`` (share of
    episodes with one while nothing is wrong), ``noticed`` (share of mistakes with an alarm while
    they stand), ``delay`` (clicks from the mistake to the alarm) and ``lead`` (clicks from it to
    the Undo, or to the end where none comes).
    """
    for task, worked in own.items():
        worlds = np.unique(worked.labels["group"])
        if task not in data or len(worlds) < 4:
            continue
        detectors: dict[str, Floats] = {}
        try:
            question = data[task].ask("mistake", negatives="all")
            rows = [np.arange(len(question.truth))]
            features = question.features(data[task].values[name])
            (predict,) = fit_probes("binary", features, question.truth, rows)
            detectors["probe"] = predict(worked.values[name].astype(np.float32))
        except InputError:
            pass
        if worked.predictions is not None:
            detectors["p_undo"] = worked.predictions["p_undo"].to_numpy(float)
        calibrating = worked.labels["group"].isin(worlds[::2]).to_numpy(bool)
        for detector, values in detectors.items():
            level = conformal_level(worked.labels[calibrating], values[calibrating], alpha)
            part = worked.labels[~calibrating].assign(alarm=values[~calibrating] > level)
            for what, number in alarm_scores(part).items():
                names = {"train_task": task, "test_task": task, "negatives": "own"}
                metric = "clicks" if what in ("delay", "lead") else "share"
                target = alpha if what == "false_alarms" else 0.0
                place = name if detector == "probe" else ""
                yield score_row(
                    number, scheme=f"monitor_{what}", kind=detector, site=place, metric=metric,
                    chance=target, **names,
                )  # fmt: skip


def conformal_level(labels: pd.DataFrame, values: Floats, alpha: float) -> float:
    """Level that a new episode exceeds in a clean state with probability ``alpha`` at most.

    The ``ceil((n + 1)(1 - alpha))``-th smallest of the ``n`` episodes' largest values in clean
    states (Vovk et al. 2005); infinite where the episodes are too few.
    """
    clean = pd.Series(values[~labels["mistake"].to_numpy(bool)])
    episodes = labels.loc[~labels["mistake"].astype(bool), "episode"].to_numpy()
    peaks = np.sort(clean.groupby(episodes).max().to_numpy())
    rank = math.ceil((len(peaks) + 1) * (1 - alpha))
    return float(peaks[rank - 1]) if rank <= len(peaks) else math.inf


def alarm_scores(labels: pd.DataFrame) -> dict[str, Score]:
    """Scores of alarms (column ``alarm``) by name; clicks are left out where none were noticed."""
    false, noticed, delays, leads, where = [], [], [], [], []
    for episode, own in labels.groupby("episode", sort=False):
        wrong, alarm = own["mistake"].to_numpy(bool), own["alarm"].to_numpy(bool)
        undo = own["undo_next"].to_numpy(bool)
        false.append((alarm & ~wrong).any())
        edges = np.flatnonzero(np.diff(np.concatenate([[False], wrong, [False]]).astype(int)))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            rung = np.flatnonzero(alarm[first:last])
            noticed.append(len(rung) > 0)
            where.append(episode)
            if len(rung):
                undone = np.flatnonzero(undo[first + rung[0] : last])
                delays.append((rung[0], episode))
                leads.append((undone[0] if len(undone) else last - first - rung[0], episode))
    found = {"false_alarms": mean_score(np.array(false, dtype=float), np.arange(len(false)))}
    if noticed:
        found["noticed"] = mean_score(np.array(noticed, dtype=float), np.array(where))
    for name, pairs in (("delay", delays), ("lead", leads)):
        if pairs:
            values, episodes = zip(*pairs, strict=True)
            found[name] = mean_score(np.array(values, dtype=float), np.array(episodes))
    return found
