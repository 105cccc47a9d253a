"""When each skill appears: accuracy over training, and the frames until half of it is there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.bootstrap import paired_draws, score_of, with_all
from bcprobe.results import Score

#: Skills: column of predictions that is averaged, and the kinds of click it is averaged over
#: (none: all of them).
SKILLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "valid": ("valid", ()),
    "buttons": ("hit", ("buttons",)),
    "place": ("hit", ("place_right",)),
    "done": ("hit", ("done",)),
    "undo": ("hit", ("undo",)),
}


def skill_counts(predictions: pd.DataFrame) -> pd.DataFrame:
    """How often each skill was asked for and there, a row for each skill, task and episode.

    Columns: ``skill``, ``task``, ``episode``, ``hits``, ``n``. ``predictions`` are those of
    `bcprobe.evaluation.teacher_forced.predict`.
    """
    parts = []
    for skill, (column, kinds) in SKILLS.items():
        chosen = predictions[_among(predictions, kinds)]
        groups = chosen.groupby(["task", "episode"])[column]
        parts.append(groups.agg(hits="sum", n="size").reset_index().assign(skill=skill))
    return pd.concat(parts, ignore_index=True)


def _among(predictions: pd.DataFrame, kinds: Sequence[str]) -> pd.Series:
    buttons = predictions["button"] & ("buttons" in kinds)
    return buttons | predictions["kind"].isin(kinds) | (not kinds)


def emergence_rows(counts: Mapping[int, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Score rows of a series: `skill_counts` of each saved step, by the frames seen.

    ``accuracy`` of each ``skill`` at each ``frames``, and ``half``: the `half_time`. Intervals
    are one bootstrap over episodes, the same episodes drawn at every step.
    """
    frames = np.array(sorted(counts))
    every = pd.concat([counts[at].assign(frames=at) for at in frames], ignore_index=True)
    episodes = every[["task", "episode"]].drop_duplicates()
    draws = with_all(paired_draws(len(episodes)))
    for skill, own in every.groupby("skill", sort=False):
        curves = _curves(own, frames, pd.MultiIndex.from_frame(episodes), draws)
        last = own[own["frames"] == frames[-1]]
        n, units = int(last["n"].sum()), int((last["n"] > 0).sum())
        for at, values in zip(frames.tolist(), curves.T, strict=True):
            yield _row(score_of(values, n, units), skill=skill, metric="accuracy", frames=at)
        halves = np.array([half_time(frames, curve) for curve in curves])
        yield _row(score_of(halves, n), skill=skill, metric="half", frames=int(frames[-1]))


def _curves(
    counts: pd.DataFrame,
    frames: NDArray[np.int64],
    episodes: pd.MultiIndex,
    draws: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Accuracy [resample, step]; nan where no drawn episode asks for the skill."""
    table = counts.set_index(["task", "episode"])[["frames", "hits", "n"]]
    steps = [table[table["frames"] == at].reindex(episodes, fill_value=0) for at in frames]
    hits, n = (np.stack([step[name] for step in steps], axis=1) for name in ("hits", "n"))
    with np.errstate(invalid="ignore"):
        return np.asarray((draws @ hits) / (draws @ n))


def half_time(frames: NDArray[np.int64], accuracy: NDArray[np.float64]) -> float:
    """Frames from which on the accuracy stays at half of its last value or above.

    A network that knows nothing yet may press one button everywhere, which is not a skill: a
    step at which the accuracy is below, or unknown, comes before. Interpolated in a straight
    line between steps; nan if the last value is 0 or unknown.
    """
    half = accuracy[-1] / 2
    if not half > 0:
        return math.nan
    below = np.flatnonzero(~(accuracy >= half))
    if len(below) == 0:
        return float(frames[0])
    last, after = int(below[-1]), int(below[-1]) + 1
    if math.isnan(accuracy[last]):
        return float(frames[after])
    return float(np.interp(half, accuracy[last : after + 1], frames[last : after + 1]))


def _row(score: Score, **names: Any) -> dict[str, Any]:
    numbers = {key: getattr(score, key) for key in ("estimate", "lower", "upper", "n")}
    return {**names, **numbers}
