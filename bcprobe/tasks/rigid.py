"""Rigid transforms of canvas points: p2 = turn @ p1 + shift."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.types import CANVAS_SIZE

#: Rotation [2, 2] and shift [2] px.
Rigid = tuple[NDArray[np.float64], NDArray[np.float64]]
_ONE = 1 << 16


def rotation(angle: float) -> NDArray[np.float64]:
    """Rotation [2, 2] by an angle in rad."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def move(
    points: NDArray[np.float64], turn: float, shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points [n, 2] turned by rad about the middle of the canvas and shifted by px."""
    middle = CANVAS_SIZE / 2
    return (points - middle) @ rotation(turn).T + middle + shift


@lru_cache(maxsize=4096)
def kabsch(pairs: tuple[tuple[int, int, int, int], ...]) -> Rigid:
    """Least-squares transform of pairs (x1, y1, x2, y2) of points (Kabsch 1976)."""
    points = np.array(pairs, dtype=float)
    a, b = points[:, :2], points[:, 2:]
    da, db = a - a.mean(0), b - b.mean(0)
    angle = math.atan2(
        float((da[:, 0] * db[:, 1] - da[:, 1] * db[:, 0]).sum()), float((da * db).sum())
    )
    turn = rotation(angle)
    return turn, b.mean(0) - turn @ a.mean(0)


def fixed_point(
    turn: NDArray[np.float64], shift: NDArray[np.float64]
) -> tuple[int, int, int, int, int, int]:
    """The transform as the matrix of a `bcprobe.gui.view.Overlay`, to the nearest pixel."""
    (a, b), (d, e) = turn
    c, f = shift + 0.5
    a, b, c, d, e, f = (round(_ONE * float(v)) for v in (a, b, c, d, e, f))
    return a, b, c, d, e, f
