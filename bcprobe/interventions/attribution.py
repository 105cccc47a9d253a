"""The fast map: attribution patching, its first-order estimate, and how well it agrees.

One backward pass a side and an answer gives the gradient at every site; a cell's estimate is the
gradient times what a swap would change (Nanda 2023; Syed et al. 2023). TransformerLens's
``tools.analysis.attribution_patching`` takes the whole sequence anew for every
gradient; here the history is read once and the metric is that of the exact map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from bcprobe.bootstrap import draw_counts, interval
from bcprobe.errors import InputError
from bcprobe.interventions.maps import (
    Answers,
    MapCell,
    Patching,
    cells,
    edit_of,
    over_pairs,
    reaches,
    sites_of,
)
from bcprobe.interventions.pairs import SIDES, Pair
from bcprobe.interventions.patch import Bench, Edit
from bcprobe.model.transformer import ClickTransformer
from bcprobe.results import Score

#: Resamples of pairs behind the interval of a rank correlation.
RESAMPLES = 300


def attribute(
    model: ClickTransformer,
    pairs: Sequence[Pair],
    *,
    components: Sequence[str] = ("resid", "attn_out", "mlp_out"),
    tokens: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    lags: Sequence[int] | None = None,
    heads: bool = True,
    workers: int | None = None,
    progress: bool = False,
) -> Patching:
    """First-order estimates of `bcprobe.interventions.maps.patch`, of the same form.

    Only log P(Undo) against the best other click is estimated; the targets are nan. Raises
    `InputError` as `patch` does, and for ``memory``, whose gradient is not that of a site.
    """
    if "memory" in components:
        raise InputError("component 'memory' has no gradient of its own; patch it exactly")
    options: dict[str, Any] = {"components": components, "tokens": tokens, "layers": layers}

    def wanted(count: int) -> list[MapCell]:
        return cells(model.config, count, at=lags, heads=heads, **options)

    return over_pairs(
        pairs, wanted, partial(_attributed, model), here=model.device.type != "cpu",
        workers=workers, label="attribution", progress=progress,
    )  # fmt: skip


def _attributed(
    model: ClickTransformer, wanted: Sequence[MapCell], lags: int, pair: Pair
) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
    edits = [edit_of(cell, model.config, pair) for cell in wanted]
    sites = sites_of(model.config, edits)
    bench = Bench(model, replace(pair, checks=pair.checks[: lags - 1]), sites)
    answers = Answers(bench)
    plain = answers.read(bench.plain(answers.targets))
    edited = np.full((2, len(wanted), *plain.shape[1:]), np.nan)
    for side in range(2):
        for later, gradients in enumerate(bench.gradients(side, answers.targets, answers.undo)):
            moves = [_first_order(bench, side, edit, gradients) for edit in edits]
            edited[side, :, later, 0] = plain[side, later, 0] + np.array(moves)
    for number, cell in enumerate(wanted):
        for later in range(lags):
            if not reaches(model.config, cell, later):
                edited[:, number, later] = np.nan
    return answers.names, plain, edited


def _first_order(
    bench: Bench, side: int, edit: Edit, gradients: dict[tuple[str, int], Tensor]
) -> float:
    """Gradient times the change that a swap would make, summed over an edit's places."""
    found = 0.0
    for place, _ in edit.parts:
        gradient = gradients.get((place.site, place.lag))
        if gradient is None:
            continue
        kept = bench.kept[place.site, place.lag]
        change = gradient * (kept[1 - side] - kept[side])  # (token, ..., d)
        if place.site.endswith("hook_pattern"):
            change = change.transpose(0, 1)  # (query, head, key)
        chosen = change[list(place.tokens)]
        found += float((chosen if place.head is None else chosen[:, place.head]).sum())
    return found


@dataclass(frozen=True)
class Agreement:
    """How well a fast map follows the exact one, of one side and answer, over all cells.

    ``rank`` is Spearman's correlation over cells of the changes (sums over pairs), its interval
    from a bootstrap over pairs; ``worst`` the cell at which the two shares of the twins'
    difference are furthest apart, with its ``exact`` and ``fast`` share.
    """

    start: str
    later: int
    rank: Score
    worst: MapCell
    exact: float
    fast: float

    def as_dict(self) -> dict[str, Any]:
        """Plain form, one row of a table."""
        cell = {f"worst_{name}": value for name, value in self.worst.__dict__.items()}
        own = {"start": self.start, "later": self.later, "exact": self.exact, "fast": self.fast}
        return {**own, **self.rank.__dict__, **cell}


def agreement(exact: Patching, fast: Patching) -> list[Agreement]:
    """Agreement of two maps of the same pairs and cells, for each side and answer.

    Raises `InputError` if they are of other pairs or cells.
    """
    if exact.pairs != fast.pairs or exact.cells != fast.cells:
        raise InputError("maps of different pairs or cells; make both with the same ones")
    (change, whole), (estimate, _) = exact.effects(), fast.effects()
    draws = draw_counts(len(exact.pairs), RESAMPLES, np.random.default_rng(0))
    found = []
    for side, start in enumerate(SIDES):
        for later in range(whole.shape[2]):
            a, b = change[:, side, :, later], estimate[:, side, :, later]
            known = np.isfinite(a).all(0) & np.isfinite(b).all(0)
            a, b = a[:, known], b[:, known]
            values = [_spearman(draw @ a, draw @ b) for draw in draws]
            rank = interval(_spearman(a.sum(0), b.sum(0)), values, len(exact.pairs))
            shares = np.stack([a.sum(0), b.sum(0)]) / whole[:, side, later].sum()
            worst = int(np.abs(shares[0] - shares[1]).argmax())
            cell = exact.cells[int(np.flatnonzero(known)[worst])]
            found.append(Agreement(start, later, rank, cell, *map(float, shares[:, worst])))
    return found


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
