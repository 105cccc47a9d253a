"""Mistakes of a model against those of the data it learned from, world by world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.bootstrap import paired_draws, score_of, with_all
from bcprobe.episodes.episode import Episode
from bcprobe.evaluation.metrics import row, step_table
from bcprobe.results import Score
from bcprobe.types import ALL

#: Shares compared: numerator and denominator, columns of `count_table`.
RATES = {
    "mistake_rate": ("mistakes", "clean_placements"),
    "error_undo_rate": ("undos", "placements_and_undos"),
}


def count_table(episodes: Sequence[Episode], **names: Any) -> pd.DataFrame:
    """What each episode adds to the `RATES`, one episode a row; ``world`` is its number."""
    steps = step_table(episodes)
    undo = steps["action"] == "undo"
    clean = steps["placement"] & ~steps["mistake"]
    counted = steps.assign(
        mistakes=steps["made"] & clean,
        clean_placements=clean,
        undos=undo,
        placements_and_undos=steps["placement"] | undo,
    )
    columns = [name for pair in RATES.values() for name in pair]
    sums = counted.groupby("episode")[columns].sum().reindex(range(len(episodes)), fill_value=0)
    return sums.rename_axis("world").reset_index().assign(**names)


def mistake_rows(counts: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Score rows of the data, of the model at each temperature, and of their difference.

    ``counts`` are `count_table` with ``task``, ``policy`` (``data`` or ``model``) and
    ``temperature``. Intervals are a bootstrap over worlds, the same worlds drawn for both
    (``..._minus_data``). Tasks stand alone and, if there are several, together as `ALL`.
    """
    for task, own in counts.groupby("task", sort=False):
        yield from _rows(own, str(task))
    if counts["task"].nunique() > 1:
        yield from _rows(counts, ALL)


def _rows(counts: pd.DataFrame, task: str) -> Iterator[dict[str, Any]]:
    names = {"task": task, "section": "mistakes"}
    data = counts[counts["policy"] == "data"]
    model = counts[counts["policy"] == "model"]
    draws = with_all(paired_draws(len(data)))
    for metric, pair in RATES.items():
        base = _resampled(data, pair, draws)
        yield row(_score(base, data, pair), metric=metric, policy="data", **names)
        for temperature, own in model.groupby("temperature"):
            mine = _resampled(own, pair, draws)
            warm = {"policy": "model", "temperature": temperature, **names}
            yield row(_score(mine, own, pair), metric=metric, **warm)
            difference = _score(mine - base, own, pair)
            yield row(difference, metric=f"{metric}_minus_data", **warm)


def _resampled(
    counts: pd.DataFrame, pair: tuple[str, str], draws: NDArray[np.float64]
) -> NDArray[np.float64]:
    counted, among = (counts[name].to_numpy(dtype=float) for name in pair)
    with np.errstate(invalid="ignore"):
        return np.asarray((draws @ counted) / (draws @ among))


def _score(values: NDArray[np.float64], counts: pd.DataFrame, pair: tuple[str, str]) -> Score:
    n = int(counts[pair[1]].sum())
    return score_of(values if len(counts) > 1 else values[:1], n)


def verdicts(scores: pd.DataFrame) -> dict[str, str]:
    """Whether the model errs less than its data, by task, from the scores' ``mistakes`` section.

    ``fewer``: at T = 1, where it draws as it learned to. ``denoising``: only at a lower
    temperature, which leaves rare clicks out. ``more``: at every temperature. Else
    ``unclear``. All by the 95 % intervals of the paired difference.
    """
    found = scores[scores["metric"] == "mistake_rate_minus_data"]
    return {str(task): _verdict(rows) for task, rows in found.groupby("task", sort=False)}


def _verdict(rows: pd.DataFrame) -> str:
    fewer = rows[rows["upper"] < 0]["temperature"]
    if (fewer == 1).any():
        return "fewer"
    if (fewer < 1).any():
        return "denoising"
    known = rows["lower"].dropna()
    return "more" if len(known) and (known > 0).all() else "unclear"
