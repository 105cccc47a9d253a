"""Display lists to pixels, in NumPy.

A frame is one copy of a cached base screen (page, panel, buttons), one copy of a canvas
image, and small blends for strokes, marks and the status text. ``benchmarks/compositor.py``
measures it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.display import DisplayList
from bcprobe.gui.layouts import get_layout
from bcprobe.gui.screen import draw_base, draw_status
from bcprobe.gui.shapes import blend_premultiplied, label_sprite, mark_sprite, stroke_mask
from bcprobe.gui.view import RGB, Overlay
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.types import CANVAS_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH

#: Strokes whose box has at most so many pixels are blended as a box.
SMALL = 1024
Pixels = NDArray[np.uint8]
_Weights = NDArray[np.uint16]
#: Place of its top-left corner beside the point it is painted at, width, height (px), and
#: what `blend_premultiplied` takes.
Sprite = tuple[int, int, int, int, _Weights, _Weights]


def compose(display: DisplayList, images: Pixels, out: Pixels | None = None) -> Pixels:
    """Pixels of a screen: uint8 [360, 480, 3], written into ``out`` if given.

    ``images`` uint8 [image, 256, 256, 3] are the world's canvas images.
    """
    if out is None:
        out = np.empty((SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)
    np.copyto(out, draw_base_screen(display.base))
    x, y = display.canvas
    canvas = out[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]
    np.copyto(canvas, images[display.image])
    if display.overlay:
        _lay_over(canvas, images, display.overlay[0], display.overlay[1:])
    for x, y, dx, dy, width, color in display.strokes:
        _draw(canvas, x, y, (dx, dy, width, color))
    for kind, size, width, color, x, y in display.marks:
        _paint(canvas, x, y, _mark(kind, size, width, color))
    for label, color, x, y in display.labels:
        _paint(canvas, x, y, _label(label, color))
    for x, y, theme, name, value in display.status:
        text = draw_status(theme, name, value)
        out[y : y + text.shape[0], x : x + text.shape[1]] = text
    return out


def _paint(canvas: Pixels, x: int, y: int, sprite: Sprite) -> None:
    """Blend a sprite into the canvas at a canvas point, clipped to the canvas."""
    left, top, width, height, weighted, rest = sprite
    x += left
    y += top
    if x >= 0 and y >= 0 and x + width <= CANVAS_SIZE and y + height <= CANVAS_SIZE:
        blend_premultiplied(canvas[y : y + height, x : x + width], weighted, rest)
        return
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(CANVAS_SIZE, x + width), min(CANVAS_SIZE, y + height)
    if x0 < x1 and y0 < y1:
        part = slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)
        blend_premultiplied(canvas[y0:y1, x0:x1], weighted[part], rest[part])


def _draw(canvas: Pixels, x: int, y: int, stroke: tuple[int, int, int, RGB]) -> None:
    """Blend a stroke into the canvas; of a long one only the pixels that show anything."""
    box = _stroke(*stroke)
    if box[2] * box[3] <= SMALL:
        return _paint(canvas, x, y, box)
    across, down, weighted, rest = _line(*stroke)
    columns, rows = across + x, down + y
    left, top = x + box[0], y + box[1]
    if min(left, top) < 0 or max(left + box[2], top + box[3]) > CANVAS_SIZE:
        inside = (columns >= 0) & (columns < CANVAS_SIZE) & (rows >= 0) & (rows < CANVAS_SIZE)
        columns, rows = columns[inside], rows[inside]
        weighted, rest = weighted[inside], rest[inside]
    pixels = canvas[rows, columns]
    blend_premultiplied(pixels, weighted, rest)
    canvas[rows, columns] = pixels


@lru_cache(maxsize=1024)
def _line(
    dx: int, dy: int, width: int, color: RGB
) -> tuple[NDArray[np.intp], NDArray[np.intp], _Weights, _Weights]:
    """Columns and rows [pixel] of a stroke, beside its start, and their blend [pixel, 3]."""
    left, top, _, _, weighted, rest = _stroke(dx, dy, width, color)
    rows, columns = np.nonzero(rest[..., 0] < 255)
    return columns + left, rows + top, weighted[rows, columns], rest[rows, columns]


_IDENTITY = Overlay(0).matrix


class _Stack:
    """A world's canvas images, equal to itself alone: images are never written to."""

    def __init__(self, images: Pixels) -> None:
        self.images = images

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Stack) and self.images is other.images

    def __hash__(self) -> int:
        return id(self.images)


def _lay_over(canvas: Pixels, images: Pixels, number: int, matrix: tuple[int, ...]) -> None:
    image = images[number] if matrix == _IDENTITY else _warped(_Stack(images), number, matrix)
    np.maximum(canvas, image, out=canvas)


@lru_cache(maxsize=4)
def _warped(stack: _Stack, number: int, matrix: tuple[int, ...]) -> Pixels:
    """An image as it lies on the canvas, black where it does not: uint8 [256, 256, 3].

    An overlay stays for many clicks, so the last ones are kept.
    """
    a, b, c, d, e, f = matrix
    x, y = np.arange(CANVAS_SIZE)[None], np.arange(CANVAS_SIZE)[:, None]
    column, row = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    top = CANVAS_SIZE - 1
    inside = (column >= 0) & (column <= top) & (row >= 0) & (row <= top)
    pixels = np.clip(row, 0, top) * CANVAS_SIZE + np.clip(column, 0, top)
    shown = np.take(stack.images[number].reshape(-1, 3), pixels, axis=0)
    return shown * inside[..., None].astype(np.uint8)


def _sprite(left: int, top: int, color: Pixels, alpha: NDArray[np.uint8]) -> Sprite:
    a = np.repeat(alpha.astype(np.uint16)[..., None], 3, axis=2)
    height, width = alpha.shape
    return left, top, width, height, color * a + np.uint16(127), 255 - a


@lru_cache(maxsize=256)
def _mark(kind: str, size: int, width: int, color: RGB) -> Sprite:
    tint, alpha = mark_sprite(kind, size, width, color)
    seen = np.flatnonzero(alpha.any(axis=0))  # as far on every side: marks are symmetric
    part = slice(seen[0], seen[-1] + 1)
    corner = int(seen[0]) - len(alpha) // 2
    return _sprite(corner, corner, tint[part, part], alpha[part, part])


@lru_cache(maxsize=1024)
def _label(text: str, color: RGB) -> Sprite:
    tint, alpha = label_sprite(text, color)
    return _sprite(-(alpha.shape[1] // 2), -(alpha.shape[0] // 2), tint, alpha)


@lru_cache(maxsize=4096)
def _stroke(dx: int, dy: int, width: int, color: RGB) -> Sprite:
    left, top, alpha = stroke_mask(dx, dy, width)
    return _sprite(left, top, np.array(color, dtype=np.uint8), alpha)


def sprite(key: tuple[Any, ...]) -> Sprite:
    """Sprite of a kind (``stroke``, ``mark``, ``label`` or ``status``) and what it is made of."""
    kind, *values = key
    return _SPRITES[kind](*values)


def _text(theme: str, name: str, value: str) -> Sprite:
    color = draw_status(theme, name, value)
    return _sprite(0, 0, color, np.full(color.shape[:2], 255, dtype=np.uint8))


_SPRITES: dict[str, Callable[..., Sprite]] = {
    "stroke": _stroke,
    "mark": _mark,
    "label": _label,
    "status": _text,
}


@lru_cache(maxsize=192)
def draw_base_screen(key: str) -> Pixels:
    """Page, panel and buttons of a screen, from `DisplayList.base`: uint8 [360, 480, 3]."""
    layout, buttons, states = json.loads(key)
    return draw_base(
        get_layout(layout),
        tuple(Button(*fields) for fields in buttons),
        tuple(ButtonState(*fields) for fields in states),
    )
