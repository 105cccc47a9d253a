"""Grounding: how far predicted clicks fall from the target, in px and in patches of the model.

A wrong decision is no failure of grounding: clicks on another button are counted apart and left
out of the offsets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.evaluation.metrics import row, share

#: Sizes of targets: name, and the smaller side in px from which on it applies. A click on the
#: canvas has a point for a target, to be met within `bcprobe.types.PLACE_TOLERANCE`.
SIZES = (("size point", 0), ("size under 24 px", 2), ("size 24-32 px", 24), ("size over 32 px", 32))
#: Kinds of click that are no targets: the annotator's own mistakes, and what cannot be judged.
NO_TARGETS = ("place_mistaken", "place_unjudged", "classify_mistaken", "classify_unjudged")


def grounding_rows(
    predictions: pd.DataFrame, patch: tuple[int, int], **names: Any
) -> Iterator[dict[str, Any]]:
    """Score rows of `bcprobe.evaluation.teacher_forced.predict_each`'s table, of one task.

    ``kind`` is ``all``, ``size ...`` (`SIZES`) or ``widget NAME``. Shares of clicks: ``met``,
    ``same_patch`` (missed, but in a patch that the target lies in), ``one_patch`` (missed by one
    patch), ``farther``, and ``other_widget``, which add up to 1. Of clicks on no other button,
    ``offset_px`` and ``offset_patches`` are the mean distances to the target (0 inside it), the
    latter in patches of ``patch`` px, the larger of across and down.
    """
    asked = ~predictions["kind"].isin(NO_TARGETS) & (predictions["widget"] != "")
    found = _measured(predictions[asked].reset_index(drop=True), patch)
    for kind, own in _groups(found):
        yield from _rows(own, kind=kind, **names)


def _measured(table: pd.DataFrame, patch: tuple[int, int]) -> pd.DataFrame:
    across = _outside(table, "x", "left", "right")
    down = _outside(table, "y", "top", "bottom")
    patches = np.maximum(
        _outside(table, "x", "left", "right", patch[0]),
        _outside(table, "y", "top", "bottom", patch[1]),
    )
    missed = ~(table["hit"] | table["elsewhere"])
    return table.assign(
        met=table["hit"],
        same_patch=missed & (patches == 0),
        one_patch=missed & (patches == 1),
        farther=missed & (patches > 1),
        other_widget=table["elsewhere"] & ~table["hit"],
        offset_px=np.hypot(across, down),
        offset_patches=patches,
    )


def _outside(table: pd.DataFrame, at: str, low: str, high: str, unit: int = 1) -> NDArray[np.int64]:
    """Distance from a click to the target along one axis, in whole units of so many px."""
    place, first, last = (table[name].to_numpy() // unit for name in (at, low, high))
    return np.maximum(0, np.maximum(first - place, place - last))


def _groups(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "all", table
    sides = np.minimum(table["right"] - table["left"], table["bottom"] - table["top"]) + 1
    sides = sides.where(table["widget"] != "canvas", 0)
    size = np.searchsorted([least for _, least in SIZES], sides, side="right") - 1
    for number, (name, _) in enumerate(SIZES):
        if (size == number).any():
            yield name, table[size == number]
    for widget in sorted(table["widget"].unique()):
        yield f"widget {widget}", table[table["widget"] == widget]


def _rows(table: pd.DataFrame, **names: Any) -> Iterator[dict[str, Any]]:
    for metric in ("met", "same_patch", "one_patch", "farther", "other_widget"):
        yield row(share(table, table[metric]), metric=metric, **names)
    near = ~table["other_widget"]
    for metric in ("offset_px", "offset_patches"):
        yield row(share(table, table[metric], near), metric=metric, **names)
