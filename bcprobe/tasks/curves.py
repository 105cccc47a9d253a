"""Twenty-four plane curves, each a polyline in the unit square of [-1, 1] x [-1, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_T = np.linspace(0.0, 1.0, 240)
_TURN = 2 * np.pi * _T


def _xy(x: Points, y: Points) -> Points:
    return np.stack([np.broadcast_to(x, _T.shape), np.broadcast_to(y, _T.shape)], axis=1)


def _polyline(*corners: tuple[float, float]) -> Points:
    return np.array(corners, dtype=float)


def _arc(start: float, stop: float, rx: float = 1.0, ry: float = 1.0) -> Points:
    """Part of an ellipse between two angles in degrees; 0 points right, 90 down."""
    angle = np.deg2rad(start + (stop - start) * _T)
    return _xy(rx * np.cos(angle), ry * np.sin(angle))


def _polygon(corners: int, step: int = 1) -> Points:
    angle = 2 * np.pi * step * np.arange(corners + 1) / corners - np.pi / 2
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _heart() -> Points:
    y = 13 * np.cos(_TURN) - 5 * np.cos(2 * _TURN) - 2 * np.cos(3 * _TURN) - np.cos(4 * _TURN)
    return _xy(np.sin(_TURN) ** 3, -y / 16)


def _letter_s() -> Points:
    top = _arc(-30, -270, 0.8, 0.5) + [0, -0.5]
    return np.concatenate([top, _arc(-90, 150, 0.8, 0.5) + [0, 0.5]])


def _letter_j() -> Points:
    hook = _arc(0, 170, 0.6, 0.45) + [0, 0.5]
    return np.concatenate([_polyline((0.6, -1.0), (0.6, 0.5)), hook])


def _letter_p() -> Points:
    bowl = _arc(-90, 90, 0.8, 0.5) + [-0.4, -0.5]
    return np.concatenate([_polyline((-0.4, 1.0), (-0.4, -1.0)), bowl])


#: Registry of curves: points in drawing order, x right and y down.
CURVES: dict[str, Points] = {
    "letter_c": _arc(-50, -310, 0.8, 1.0),
    "letter_j": _letter_j(),
    "letter_l": _polyline((-0.6, -1.0), (-0.6, 1.0), (0.8, 1.0)),
    "letter_m": _polyline((-0.9, 1.0), (-0.7, -1.0), (0.0, 0.6), (0.7, -1.0), (0.9, 1.0)),
    "letter_n": _polyline((-0.7, 1.0), (-0.7, -1.0), (0.7, 1.0), (0.7, -1.0)),
    "letter_p": _letter_p(),
    "letter_s": _letter_s(),
    "letter_u": np.concatenate(
        [_polyline((-0.8, -1.0)), _arc(180, 0, 0.8, 0.8) + [0, 0.2], _polyline((0.8, -1.0))]
    ),
    "letter_v": _polyline((-0.9, -1.0), (0.0, 1.0), (0.9, -1.0)),
    "letter_w": _polyline((-1.0, -0.9), (-0.5, 0.9), (0.0, -0.5), (0.5, 0.9), (1.0, -0.9)),
    "letter_z": _polyline((-0.8, -0.9), (0.8, -0.9), (-0.8, 0.9), (0.8, 0.9)),
    "circle": _arc(-90, 255),
    "ellipse": _arc(-90, 255, 1.0, 0.6),
    "heart": _heart(),
    "spiral": _xy(_T**0.6 * np.cos(2 * _TURN), _T**0.6 * np.sin(2 * _TURN)),
    "wave": _xy(2 * _T - 1, 0.6 * np.sin(1.5 * _TURN)),
    "zigzag": _polyline(*[(-1 + i / 2.5, 0.55 * (-1) ** i) for i in range(6)]),
    "eight": _xy(0.7 * np.sin(2 * _TURN), -np.cos(_TURN)),
    "star": _polygon(5, step=2),
    "triangle": _polygon(3),
    "square": _polyline((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8), (-0.8, -0.5)),
    "arch": _xy(2 * _T - 1, 1.8 * (2 * _T - 1) ** 2 - 0.9),
    "loop": _xy(2 * _T - 1 + 0.45 * np.sin(_TURN * 2), -0.7 * np.cos(_TURN * 2)),
    "clover": _xy(
        np.sin(3 * _TURN / 2) * np.cos(_TURN / 2), np.sin(3 * _TURN / 2) * np.sin(_TURN / 2)
    ),
}


def along(curve: str, fractions: NDArray[np.float64]) -> Points:
    """Points ``[n, 2]`` at fractions (0-1) of the curve's arc length."""
    corners = CURVES[curve]
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    distance = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.asarray(fractions) * distance[-1]
    return np.stack([np.interp(at, distance, corners[:, k]) for k in (0, 1)], axis=1)
