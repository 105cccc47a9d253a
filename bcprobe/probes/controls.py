"""What a probe's score must be held against: five controls, always all of them.

* ``shuffled``: the labels of whole episodes go to other episodes. Shows chance.
* ``selectivity``: the score minus that of a control task with random labels per type
  (Hewitt and Liang 2019). Shows how much a probe could learn by heart.
* ``untrained``: the same site of an untrained model of the same shape.
* ``pixels``: the mean colours of the screen's patches, without any model.
* ``previous_action``: the action of the click before, and the step number.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import NO_ACTION, Question
from bcprobe.bootstrap import Floats, Ints
from bcprobe.errors import InputError
from bcprobe.parallel import in_threads
from bcprobe.probes.linear import ProbeScore, check_folds, mean_of, score_question
from bcprobe.rng import generator
from bcprobe.types import ACTIONS

CONTROLS = ("shuffled", "selectivity", "untrained", "pixels", "previous_action")
#: Shuffles and control tasks drawn; the scores of each are averaged.
DRAWN = 2
MOST_DRAWN = 50


def run_controls(
    question: Question, activations: Activations, site: str, probe: ProbeScore, seed: int
) -> dict[str, ProbeScore]:
    """Scores of the controls of ``probe`` at its site, and of ``control_task`` behind one.

    The untrained model is left to the caller. All share the bootstrap's draws, so the
    selectivity's interval is that of the paired difference.
    """
    values = activations.values[site]
    shuffled, tasks = shuffles(question, seed), control_tasks(question, seed)
    jobs = [(replace(question, truth=labels), values) for labels in (*shuffled, *tasks)]
    jobs.append((question, previous_action_features(activations.labels)))
    if activations.pixels is not None:
        jobs.append((question, activations.pixels))
    scores = in_threads(lambda job: score_question(*job), jobs)
    task = mean_of(scores[DRAWN : 2 * DRAWN])
    found = {"shuffled": mean_of(scores[:DRAWN])}
    found |= {"selectivity": probe.minus(task), "control_task": task}
    if activations.pixels is not None:
        found["pixels"] = scores[-1]
    found["previous_action"] = scores[2 * DRAWN]
    return found


def shuffles(question: Question, seed: int = 0) -> list[NDArray[np.generic]]:
    """`DRAWN` draws of `shuffled_labels`."""
    rng = generator("shuffled labels", seed)
    return _drawn(question, lambda: shuffled_labels(question.truth, question.groups, rng))


def control_tasks(question: Question, seed: int = 0) -> list[NDArray[np.generic]]:
    """Labels of `DRAWN` control tasks."""
    types = control_types(question.labels)
    rng = generator("control task", seed)
    return _drawn(question, lambda: control_labels(question.truth, types, rng))


def _drawn(
    question: Question, draw: Callable[[], NDArray[np.generic]]
) -> list[NDArray[np.generic]]:
    """`DRAWN` labels that probes can be fitted to in every fold, of `MOST_DRAWN` at most."""
    found: list[NDArray[np.generic]] = []
    for _ in range(MOST_DRAWN):
        labels = draw()
        with suppress(InputError):
            check_folds(replace(question, truth=labels))
            found.append(labels)
        if len(found) == DRAWN:
            return found
    raise InputError(
        f"latent '{question.latent.name}': no control has both classes on both sides of every "
        "split; use more episodes"
    )


def shuffled_labels(
    truth: NDArray[np.generic], groups: Ints, rng: np.random.Generator
) -> NDArray[np.generic]:
    """Labels [row] of which each episode has another episode's, in their order.

    The labels are turned by a random number of rows and repeated or cut to the episode's
    length: runs of equal labels stay, but neither content nor time within the episode tells.
    """
    episodes, sizes = np.unique(groups, return_counts=True)
    donors = _derangement(len(episodes), rng)
    made = np.empty_like(truth)
    parts = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    for rows, donor in zip(parts, donors, strict=True):
        labels = truth[parts[donor]]
        turned = np.arange(len(rows)) - rng.integers(len(labels))
        made[rows] = labels[turned % len(labels)]
    return made


def _derangement(count: int, rng: np.random.Generator) -> Ints:
    """For each item another one, all different: neighbours on a random ring."""
    ring = rng.permutation(count)
    made = np.empty(count, dtype=np.int64)
    made[ring] = np.roll(ring, 1)
    return made


def control_types(labels: pd.DataFrame) -> Ints:
    """Number of each row's type: position and previous action."""
    return labels.groupby(["position", "previous_action"]).ngroup().to_numpy(np.int64)


def control_labels(
    truth: NDArray[np.generic], types: Ints, rng: np.random.Generator
) -> NDArray[np.generic]:
    """Labels [row] of a control task: every type has one label, drawn without looking at it.

    Types are dealt, in random order, to the sorted labels so that labels are about as
    frequent as they were; the first type dealt gets the rarest label, so that there are two.
    """
    count = int(types.max()) + 1
    order = rng.permutation(np.unique(types))
    sizes = np.bincount(types, minlength=count)[order]
    middle = (np.cumsum(sizes) - sizes / 2) / len(truth)
    ranked = _rarest_first(truth)
    dealt = ranked[(middle * len(truth)).astype(int)]
    dealt[0], dealt[-1] = ranked[0], ranked[-1]
    made = np.empty(count, dtype=truth.dtype)
    made[order] = dealt
    return made[types]


def _rarest_first(truth: NDArray[np.generic]) -> NDArray[np.generic]:
    """The labels sorted by how rare they are."""
    values, which, counts = np.unique(truth, return_inverse=True, return_counts=True)
    return values[which[np.lexsort((which, counts[which]))]]


def previous_action_features(labels: pd.DataFrame) -> Floats:
    """Previous action, one-hot, and step number: float64 [row, 11]."""
    actions = np.array([NO_ACTION, *ACTIONS])
    one_hot = labels["previous_action"].to_numpy(str)[:, None] == actions
    return np.concatenate([one_hot, labels[["step"]].to_numpy()], axis=1).astype(float)
