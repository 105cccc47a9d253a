"""Antialiased shapes as integer coverage, and the one way colours are blended.

Blending is exact integer arithmetic, so that every compositor gives the same bytes:
``out = floor((under * (255 - a) + color * a + 127) / 255)`` per channel.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bcprobe.gui.text import text_coverage
from bcprobe.gui.view import RGB

Coverage = NDArray[np.uint8]
#: Opacity (0-255) of the dark halo that keeps a mark legible on bright data.
HALO = 150
WHOLE = np.uint16(255)


def _quantise(coverage: NDArray[np.float64]) -> Coverage:
    return np.floor(np.clip(coverage, 0, 1) * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=512)
def rounded_box(width: int, height: int, radius: float, inset: float = 0.0) -> Coverage:
    """Coverage uint8 [height, width] of a box with round corners, inset from its rectangle."""
    x = np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - inset - radius)
    y = np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - inset - radius)
    outside = np.hypot(np.maximum(x, 0)[None], np.maximum(y, 0)[:, None])
    inside = np.minimum(np.maximum(x[None], y[:, None]), 0)
    return _quantise(0.5 - (outside + inside - radius))


@lru_cache(maxsize=256)
def mark_sprite(kind: str, size: int, width: int, color: RGB) -> tuple[NDArray[np.uint8], Coverage]:
    """A mark with its halo: colour uint8 [side, side, 3] and coverage uint8 [side, side].

    The side is odd, so that the mark is centred on a pixel. Raises ``ValueError`` for an
    unknown kind.
    """
    reach = size + width + 1
    axis = np.arange(-reach, reach + 1, dtype=float)
    distance = _mark_distance(kind, axis[None], axis[:, None], size, width)
    return _with_halo(np.clip(0.5 - distance, 0, 1), np.clip(1.5 - distance, 0, 1), color)


def _with_halo(
    core: NDArray[np.float64], near: NDArray[np.float64], color: RGB
) -> tuple[NDArray[np.uint8], Coverage]:
    """Tint and coverage of a figure and the dark rim around it, given as shares 0-1."""
    alpha = np.maximum(core, near * HALO / 255)
    share = np.divide(core, alpha, out=np.zeros_like(core), where=alpha > 0)
    tint = np.floor(share[..., None] * np.array(color, dtype=float) + 0.5).astype(np.uint8)
    return tint, _quantise(alpha)


def _mark_distance(
    kind: str, x: NDArray[np.float64], y: NDArray[np.float64], size: int, width: int
) -> NDArray[np.float64]:
    """Signed distance in px to the painted part of a mark, negative inside."""
    radius = np.hypot(x, y)
    if kind == "ring":
        return np.abs(radius - size) - width / 2
    if kind == "dot":
        return radius - size - 0.5
    if kind == "square":
        return np.abs(np.maximum(np.abs(x), np.abs(y)) - size) - width / 2
    if kind == "cross":
        arm = np.minimum(np.abs(x - y), np.abs(x + y)) / np.sqrt(2) - width / 2
        return np.maximum(arm, radius - size - 0.5)
    raise ValueError(f"unknown mark kind '{kind}'")


def label_sprite(text: str, color: RGB) -> tuple[NDArray[np.uint8], Coverage]:
    """A text with its halo: colour uint8 [height, width, 3] and coverage uint8 [height, width]."""
    core = np.pad(text_coverage(text, "label"), 1).astype(float) / 255
    near = sliding_window_view(np.pad(core, 1), (3, 3)).max(axis=(2, 3))
    return _with_halo(core, near, color)


@lru_cache(maxsize=4096)
def stroke_mask(dx: int, dy: int, width: int) -> tuple[int, int, Coverage]:
    """Coverage of a line from (0, 0) to (dx, dy): offset x, offset y, uint8 [height, width].

    A pixel is tested in whole numbers: 255 within half the width of the line's axis, 128
    within half a pixel more.
    """
    reach = width
    x0, y0 = min(0, dx) - reach, min(0, dy) - reach
    x = np.arange(x0, max(0, dx) + reach + 1, dtype=np.int64)[None]
    y = np.arange(y0, max(0, dy) + reach + 1, dtype=np.int64)[:, None]
    length2 = dx * dx + dy * dy
    whole = max(1, length2)  # squared distances are compared times this
    along = x * dx + y * dy
    before, after = (x * x + y * y) * whole, ((x - dx) ** 2 + (y - dy) ** 2) * whole
    across2 = np.where(along > length2, after, (x * dy - y * dx) ** 2)
    scaled = 4 * np.where((along < 0) | (length2 == 0), before, across2)
    inner, outer = width**2 * whole, (width + 1) ** 2 * whole
    coverage = np.where(scaled <= inner, 255, np.where(scaled <= outer, 128, 0))
    return x0, y0, coverage.astype(np.uint8)


def blend(under: NDArray[np.uint8], color: NDArray[np.uint8], alpha: Coverage) -> None:
    """Blend a colour [height, width, 3] or [3] into ``under`` in place, as stated above."""
    a = alpha.astype(np.uint16)[..., None]
    blend_premultiplied(under, color * a + np.uint16(127), 255 - a)


def blend_premultiplied(
    under: NDArray[np.uint8], weighted: NDArray[np.uint16], rest: NDArray[np.uint16]
) -> None:
    """Blend in place, with ``color * a + 127`` and ``255 - a`` given as uint16."""
    value = under.astype(np.uint16)
    value *= rest
    value += weighted
    value //= WHOLE
    under[...] = value
