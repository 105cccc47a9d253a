"""What interventions did, value by value, and the table of their means with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bcprobe.bootstrap import mean_score, wilson
from bcprobe.types import ALL

COLUMNS = (
    "task", "site", "layer", "start", "operation", "direction", "alpha", "metric",
    "estimate", "lower", "upper", "n",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Effect:
    """Values [value] behind one number; ``names`` are the columns that say which.

    Values of one group (a pair of twins, an episode) are drawn together for the interval.
    """

    names: dict[str, Any]
    values: NDArray[np.float64]
    groups: NDArray[np.int64]


def note(values: ArrayLike, groups: ArrayLike, **names: Any) -> Effect:
    """An effect; ``alpha`` is 0 where none is named."""
    named = {"alpha": 0.0, **names}
    return Effect(named, np.asarray(values, np.float64), np.asarray(groups, np.int64))


def effect_table(effects: Sequence[Effect], layers: Mapping[str, int]) -> pd.DataFrame:
    """One row (`COLUMNS`) for each effect and, of several tasks, one for all of them together.

    ``layers`` maps a site to the blocks before it. Success has Wilson's interval, everything
    else that of a bootstrap over groups.
    """
    rows = [*effects, *_together(effects)]
    return pd.DataFrame([_row(one, layers) for one in rows], columns=list(COLUMNS))


def _together(effects: Sequence[Effect]) -> Iterator[Effect]:
    if len({one.names["task"] for one in effects}) < 2:
        return
    parts: dict[tuple[Any, ...], list[Effect]] = {}
    for one in effects:
        key = tuple(sorted((k, v) for k, v in one.names.items() if k != "task"))
        parts.setdefault(key, []).append(one)
    for own in parts.values():
        first = np.cumsum([0, *(1 + one.groups.max(initial=0) for one in own[:-1])])
        groups = [one.groups + shift for one, shift in zip(own, first, strict=True)]
        values = np.concatenate([one.values for one in own])
        yield Effect({**own[0].names, "task": ALL}, values, np.concatenate(groups))


def _row(effect: Effect, layers: Mapping[str, int]) -> dict[str, Any]:
    values = effect.values
    share = effect.names["metric"] == "success"
    score = wilson(int(values.sum()), len(values)) if share else mean_score(values, effect.groups)
    return {**effect.names, "layer": layers[effect.names["site"]], **score.__dict__}
