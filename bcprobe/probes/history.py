"""Two baselines that look at no activation: the clicks so far, and the model's own answer.

A probe is worth what it adds to both (`bcprobe.probes.added`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.labels import NO_ACTION
from bcprobe.bootstrap import Floats, Ints
from bcprobe.probes.linear import HeldOut, split
from bcprobe.types import ACTIONS, PLACING, SCREEN_HEIGHT, SCREEN_WIDTH

#: How many clicks back the history says everything about.
CLICKS = 4
#: Size of the boosted trees; more or deeper ones predict no better on the rows evaluated.
TREES: dict[str, Any] = {"max_iter": 40, "max_leaf_nodes": 8, "learning_rate": 0.15}
#: Right placements chosen for each mistake, and how far (standard deviations of the trees' score)
#: theirs may be off.
PER_MISTAKE, CALIPER = 2, 0.05


def history_features(labels: pd.DataFrame) -> Floats:
    """What the clicks so far say: float64 [step, k], nan where there is none yet. No pixels.

    The last `CLICKS` clicks (place, action, distance from the one before), the last two placements
    and the distances between the last four, how far the last is from the nearest earlier one, and
    counts: steps, placements, Undos, clicks since either.
    """
    parts = [_of_episode(own) for _, own in labels.groupby("episode", sort=False)]
    return np.concatenate(parts) if parts else np.empty((0, 0))


def _of_episode(labels: pd.DataFrame) -> Floats:
    steps = len(labels)
    xy = labels[["click_x", "click_y"]].to_numpy(float) / (SCREEN_WIDTH, SCREEN_HEIGHT)
    known = {name: number for number, name in enumerate(ACTIONS)}
    made = labels["previous_action"].to_numpy(str)
    actions = np.array([-1.0 if name == NO_ACTION else known[name] for name in made])
    columns: list[NDArray[Any]] = []
    for back in range(1, CLICKS + 1):
        before = _shifted(xy, back)
        columns += [before, _shifted(actions[:, None], back - 1)]
        columns.append(np.hypot(*(before - _shifted(xy, back + 1)).T)[:, None])
    return np.concatenate([*columns, _placements(xy, made, steps)], axis=1)


def _shifted(values: Floats, back: int) -> Floats:
    """Rows of ``back`` steps ago, nan before the first."""
    found = np.full(values.shape, np.nan)
    found[back:] = values[: len(values) - back] if back else values
    return found


def _placements(xy: Floats, made: NDArray[np.str_], steps: int) -> Floats:
    """What the placements and Undos before each step say: [step, 15]."""
    rows = np.full((steps, 15), np.nan)
    placed: list[Floats] = []
    undos = since_undo = since_placed = 0
    for t in range(steps):
        since_undo, since_placed = since_undo + 1, since_placed + 1
        if t and made[t] in PLACING:
            placed.append(xy[t - 1])
            since_placed = 0
        elif t and made[t] == "undo":
            undos, since_undo = undos + 1, 0
        rows[t, :5] = t, len(placed), undos, since_undo, since_placed
        last = placed[-4:][::-1]
        for k, point in enumerate(last[:2]):
            rows[t, 5 + 2 * k : 7 + 2 * k] = point
        for k in range(len(last) - 1):
            rows[t, 9 + k] = np.hypot(*(last[k] - last[k + 1]))
        if len(placed) > 1:
            away = np.hypot(*(np.stack(placed[:-1]) - placed[-1]).T)
            rows[t, 12:15] = away.min(), away.mean(), *((last[0] - last[1])[:1])
    return rows


def boosted(features: Floats, truth: NDArray[np.bool_]) -> Any:
    """Boosted trees (scikit-learn) that predict ``truth`` [row] from features [row, k]."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        model = HistGradientBoostingClassifier(early_stopping=False, random_state=0, **TREES)
        return model.fit(features, truth)


def click_history(features: Floats, truth: NDArray[np.generic], groups: Ints) -> HeldOut:
    """Out-of-fold predictions (log odds) of `boosted` trees; folds as those of probes."""
    wanted = truth.astype(bool)
    scores, folds = np.empty(len(wanted)), np.empty(len(wanted), dtype=np.int64)
    for number, (train, test) in enumerate(split(groups)):
        fitted = boosted(features[train], wanted[train])
        scores[test], folds[test] = fitted.decision_function(features[test]), number
    return HeldOut("binary", truth, scores, groups, folds)


def click_history_elsewhere(
    train: Sequence[tuple[Floats, NDArray[np.generic]]],
    features: Floats,
    truth: NDArray[np.generic],
    groups: Ints,
) -> HeldOut:
    """Predictions in a task of trees fitted on others: ``train`` are their features and truths."""
    fitted = boosted(
        np.concatenate([own for own, _ in train]),
        np.concatenate([own.astype(bool) for _, own in train]),
    )
    scores = fitted.decision_function(features)
    return HeldOut("binary", truth, scores, groups, np.zeros(len(truth), dtype=np.int64))


def own_answer(
    chance: NDArray[np.floating[Any]], truth: NDArray[np.generic], groups: Ints, folds: Ints
) -> HeldOut:
    """The model's own probability of a click (such as Undo) as log odds; nothing is fitted."""
    safe = np.clip(chance.astype(float), 1e-9, 1 - 1e-9)
    return HeldOut("binary", truth, np.log(safe / (1 - safe)), groups, folds)


def history_matched(history: HeldOut) -> NDArray[np.bool_]:
    """Mistakes, and right placements whose clicks look as mistaken: bool [row].

    To each mistake the `PER_MISTAKE` right placements nearest in the trees' out-of-fold score, none
    twice and none further than `CALIPER` standard deviations; mistakes without any are left out.
    """
    truth, scores = history.truth.astype(bool), history.scores.astype(float)
    chosen = np.zeros(len(truth), dtype=bool)
    order = np.flatnonzero(~truth)[np.argsort(scores[~truth], kind="stable")]
    values, free = scores[order], np.ones(len(order), dtype=bool)
    reach = CALIPER * float(scores.std())
    for row in np.flatnonzero(truth)[np.argsort(-scores[truth], kind="stable")]:
        first, last = np.searchsorted(values, (scores[row] - reach, scores[row] + reach))
        near = np.flatnonzero(free[first:last]) + first
        if len(near):
            near = near[np.argsort(np.abs(values[near] - scores[row]), kind="stable")]
            taken = near[:PER_MISTAKE]
            free[taken] = False
            chosen[row], chosen[order[taken]] = True, True
    return chosen
