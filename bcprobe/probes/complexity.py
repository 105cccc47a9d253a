"""How much of a probe's score is the probe's own doing: code length, memory, rank and penalty.

Random labels of *types* that recur over worlds can be learned only by heart (Hewitt and Liang
2019); a table that looks the type up is their ceiling, and shows what the types alone tell of the
label.
The prequential code length (Voita and Titov 2020) is what it costs to send the labels with a probe
that is fitted on those already sent: it counts how easily a label is found, not only how well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.labels import Question
from bcprobe.bootstrap import Floats, Ints, interval
from bcprobe.probes.controls import control_labels
from bcprobe.probes.linear import C, HeldOut, ProbeScore, mean_of, score, split
from bcprobe.probes.logistic import fit_logistics
from bcprobe.probes.result import score_row
from bcprobe.results import Score
from bcprobe.rng import generator
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

#: Control tasks drawn.
DRAWN = 20
#: Penalties (inverse strength) and ranks at which probe and control task are set side by side.
PENALTIES, RANKS = (0.001, 0.01, 0.1, 1.0), (1, 2, 4, 8, 16)
#: Shares of the worlds after which the code's probe is fitted anew.
SENT = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
#: Orders of the worlds over which the code length is averaged.
ORDERS = 5
_GRID = 5


def recurring_types(labels: pd.DataFrame) -> Ints:
    """Number of each row's type: task, position, and cell of the screen of the last placement.

    The cells are a `_GRID` x `_GRID` grid: there are hundreds of types, most in many worlds.
    """
    column = labels["placed_x"].to_numpy(float) * _GRID // SCREEN_WIDTH
    line = labels["placed_y"].to_numpy(float) * _GRID // SCREEN_HEIGHT
    keys = pd.DataFrame(
        {
            "task": labels["task"].to_numpy() if "task" in labels else 0,
            "position": labels["position"].to_numpy(),
            "cell": line * _GRID + column,
        }
    )
    return keys.groupby(list(keys), dropna=False).ngroup().to_numpy(np.int64)


def lookup(truth: NDArray[np.generic], types: Ints, groups: Ints) -> HeldOut:
    """Out-of-fold share of positives of each row's type; of all rows where it never came."""
    scores, folds = np.empty(len(truth)), np.empty(len(truth), dtype=np.int64)
    count = int(types.max()) + 1
    for number, (train, test) in enumerate(split(groups)):
        seen = np.bincount(types[train], minlength=count)
        up = np.bincount(types[train], truth[train].astype(float), minlength=count)
        base = float(truth[train].astype(float).mean())
        share = (up + base) / (seen + 1)
        scores[test], folds[test] = share[types[test]], number
    return HeldOut("binary", truth, scores, groups, folds)


def control_scores(
    features: NDArray[np.floating[Any]],
    labels: Sequence[NDArray[np.generic]],
    groups: Ints,
    c: float = C,
) -> list[ProbeScore]:
    """Scores of probes for several labels of the same rows, all fitted together."""
    parts = list(split(groups))
    wanted = np.stack([one.astype(bool) for one in labels], axis=1)
    scores = np.empty(wanted.shape)
    folds = np.empty(len(features), dtype=np.int64)
    for number, (train, test) in enumerate(parts):
        ones = np.ones((len(train), wanted.shape[1]), dtype=np.float32)
        fits = fit_logistics(features[train], wanted[train], ones, c)
        scores[test] = features[test] @ fits.weights.T + fits.intercepts
        folds[test] = number
    return [
        score(HeldOut("binary", own, scores[:, k], groups, folds)) for k, own in enumerate(labels)
    ]


def code_length(
    features: NDArray[np.floating[Any]], truth: NDArray[np.generic], groups: Ints, seed: int = 0
) -> tuple[float, float]:
    """Bits per label of the prequential code, and of one that knows the share of positives only.

    Worlds are sent in an order drawn from ``seed``; a probe is fitted on what was sent after each
    share of `SENT` and codes the next.
    """
    wanted = truth.astype(bool)
    worlds = generator("code", seed).permutation(np.unique(groups))
    ends = [max(1, round(share * len(worlds))) for share in SENT]
    bits = plain = 0.0
    sent = np.zeros(len(wanted), dtype=bool)
    for first, last in zip([0, *ends[:-1]], ends, strict=True):
        now = np.isin(groups, worlds[first:last])
        share = (wanted[sent].sum() + 0.5) / (sent.sum() + 1)
        bits_plain = _bits(np.full(int(now.sum()), share), wanted[now])
        if 0 < wanted[sent].sum() < sent.sum():
            ones = np.ones((int(sent.sum()), 1), dtype=np.float32)
            fits = fit_logistics(features[sent], wanted[sent], ones, C)
            values = fits.read(features[now], 0)
            bits += _bits(1 / (1 + np.exp(-np.clip(values, -30, 30))), wanted[now])
        else:
            bits += bits_plain
        plain += bits_plain
        sent |= now
    return bits / len(wanted), plain / len(wanted)


def _bits(chances: Floats, truth: NDArray[np.bool_]) -> float:
    safe = np.clip(chances, 1e-6, 1 - 1e-6)
    return float(-np.log2(np.where(truth, safe, 1 - safe)).sum())


def complexity_rows(
    question: Question,
    features: NDArray[np.floating[Any]],
    others: dict[str, NDArray[np.floating[Any]]],
    site: str,
    seed: int = 0,
    **names: Any,
) -> Iterator[dict[str, Any]]:
    """Rows of everything above for the probe of all rows at its best site.

    ``features`` [row, d]; ``others``: name -> features of models or pixels to set its code length
    beside.
    """
    common = {"scheme": "complexity", "site": site, "negatives": question.negatives, **names}
    truth, groups = question.truth, question.groups
    types = recurring_types(question.labels)
    rng = generator("recurring types", seed)
    drawn = [control_labels(truth, types, rng) for _ in range(DRAWN)]
    auc = {"metric": "auc", "chance": 0.5}
    yield score_row(score(lookup(truth, types, groups)).score, kind="lookup", **auc, **common)
    ceiling = mean_of([score(lookup(own, types, groups)) for own in drawn])
    yield score_row(ceiling.score, kind="control_lookup", **auc, **common)
    probes = control_scores(features, [truth, *drawn], groups)
    yield from _selectivity(probes, "", **common)
    for penalty in PENALTIES:
        if penalty != C:
            found = control_scores(features, [truth, *drawn], groups, penalty)
            yield from _selectivity(found, f"_c{penalty:g}", **common)
    for rank in RANKS:
        if rank < features.shape[1]:
            found = control_scores(_of_rank(features, rank), [truth, *drawn], groups)
            yield from _selectivity(found, f"_rank{rank}", **common)
    bits = {"metric": "bits", "chance": 0.0}
    for name, own in {"probe": features, **others}.items():
        runs = np.array([code_length(own, truth, groups, order) for order in range(ORDERS)])
        where = {**bits, **common, "site": site if name == "probe" else ""}
        yield score_row(_spread(runs[:, 0], len(truth)), kind=f"code_{name}", **where)
        if name == "probe":
            yield score_row(_spread(runs[:, 1], len(truth)), kind="code_share", **where)


def _selectivity(probes: Sequence[ProbeScore], ending: str, **common: Any) -> Iterator[Any]:
    """Probe, mean control task over the draws, and their difference with the draws in it."""
    auc = {"metric": "auc", "chance": 0.5}
    own, control = probes[0], mean_of(probes[1:])
    yield score_row(own.score, kind=f"probe{ending}", **auc, **common)
    yield score_row(control.score, kind=f"control_rich{ending}", **auc, **common)
    rng = generator("control draws", ending)
    k = rng.integers(1, len(probes), size=len(own.resampled))
    drawn = np.stack([one.resampled for one in probes[1:]])[k - 1, np.arange(len(k))]
    middle = control.resampled + (drawn - control.resampled) / np.sqrt(len(probes) - 1)
    values = own.resampled - middle
    estimate = own.score.estimate - control.score.estimate
    number = interval(estimate, values, own.score.n)
    kind, where = f"selectivity_rich{ending}", {**auc, "chance": 0.0}
    yield score_row(number, kind=kind, **where, **common)


def _of_rank(features: NDArray[np.floating[Any]], rank: int) -> NDArray[np.float32]:
    """Features along their ``rank`` directions of largest variance: labels have no part in it."""
    centred = features - features.mean(axis=0)
    scale = np.where(features.std(axis=0) > 0, features.std(axis=0), 1.0)
    _, vectors = np.linalg.eigh(np.cov((centred / scale).T.astype(float)))
    found: NDArray[np.float32] = (centred / scale @ vectors[:, -rank:]).astype(np.float32)
    return found


def _spread(values: Floats, n: int) -> Score:
    """Mean over orders, and the least and largest of them."""
    return Score(float(values.mean()), float(values.min()), float(values.max()), n)
