"""Display lists to pixels, in NumPy.

A frame is one copy of a cached base screen (page, panel, buttons), one copy of a canvas
image, and small blends for strokes, marks and the status text. ``benchmarks/compositor.py``
measures it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.display import DisplayList
from bcprobe.gui.layouts import get_layout
from bcprobe.gui.screen import draw_base, draw_status
from bcprobe.gui.shapes import blend_premultiplied, label_sprite, mark_sprite, stroke_mask
from bcprobe.gui.view import RGB, Overlay
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.types import CANVAS_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH

#: Strokes whose box has at most so many pixels are blended as a box, others pixel by pixel.
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
    elif not out.flags.c_contiguous:
        np.copyto(out, compose(display, images))
        return out
    np.copyto(out, draw_base_screen(display.base))
    x, y = display.canvas
    canvas = out[y : y + CANVAS_SIZE, x : x + CANVAS_SIZE]
    if display.overlay:
        np.copyto(canvas, _laid_over(_Stack(images), display.image, display.overlay))
    else:
        np.copyto(canvas, images[display.image])
    screen = out.reshape(-1)[(y * SCREEN_WIDTH + x) * 3 :]
    for x, y, dx, dy, width, color in display.strokes:
        drawn = _drawn(dx, dy, width, color)
        if isinstance(drawn, _Line):
            _draw(screen, x, y, drawn)
        else:
            _paint(canvas, x, y, drawn)
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


class _Line(NamedTuple):
    """A long stroke, of which only the pixels that show anything are touched.

    ``left``, ``top``, ``right``, ``bottom`` bound it beside its start; ``columns`` and ``rows``
    [pixel] are its pixels; ``at`` [3 pixel] where their bytes lie on the screen beside those of
    its start; ``weighted`` and ``rest`` [3 pixel] what `blend_premultiplied` takes.
    """

    left: int
    top: int
    right: int
    bottom: int
    columns: NDArray[np.intp]
    rows: NDArray[np.intp]
    at: NDArray[np.intp]
    weighted: _Weights
    rest: _Weights


def _draw(screen: Pixels, x: int, y: int, line: _Line) -> None:
    """Blend a line that starts at a canvas point, clipped to the canvas.

    ``screen`` are the screen's bytes [n] from the canvas's first one on.
    """
    at, weighted, rest = line.at, line.weighted, line.rest
    left, top, right, bottom = x + line.left, y + line.top, x + line.right, y + line.bottom
    if left < 0 or top < 0 or right > CANVAS_SIZE or bottom > CANVAS_SIZE:
        across, down = line.columns + x, line.rows + y
        inside = (across >= 0) & (across < CANVAS_SIZE) & (down >= 0) & (down < CANVAS_SIZE)
        shown = np.repeat(inside, 3)
        at, weighted, rest = at[shown], weighted[shown], rest[shown]
    at = at + (y * SCREEN_WIDTH + x) * 3
    pixels = screen.take(at)
    blend_premultiplied(pixels, weighted, rest)
    screen[at] = pixels


@lru_cache(maxsize=2048)
def _drawn(dx: int, dy: int, width: int, color: RGB) -> Sprite | _Line:
    """A stroke as a box if that is `SMALL`, else as a line."""
    box = _stroke(dx, dy, width, color)
    left, top, across, down, weighted, rest = box
    if across * down <= SMALL:
        return box
    rows, columns = np.nonzero(rest[..., 0] < 255)
    weighted, rest = weighted[rows, columns].ravel(), rest[rows, columns].ravel()
    rows, columns = rows + top, columns + left
    at = ((rows * SCREEN_WIDTH + columns)[:, None] * 3 + np.arange(3)).ravel()
    return _Line(left, top, left + across, top + down, columns, rows, at, weighted, rest)


_IDENTITY = Overlay(0).matrix


class _Stack:
    """A world's canvas images, equal to itself alone: images are never written to."""

    def __init__(self, images: Pixels) -> None:
        self.images = images

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Stack) and self.images is other.images

    def __hash__(self) -> int:
        return id(self.images)


@lru_cache(maxsize=16)
def _laid_over(stack: _Stack, number: int, overlay: tuple[int, ...]) -> Pixels:
    """An image under an overlay (`DisplayList.overlay`): uint8 [256, 256, 3].

    An overlay stays for many clicks, so the last ones are kept.
    """
    over, matrix = stack.images[overlay[0]], overlay[1:]
    return np.maximum(stack.images[number], over if matrix == _IDENTITY else _warped(over, matrix))


def _warped(image: Pixels, matrix: tuple[int, ...]) -> Pixels:
    """An image as it lies on the canvas, black where it does not: uint8 [256, 256, 3]."""
    a, b, c, d, e, f = matrix
    end = CANVAS_SIZE - 1
    reach = max(end * (abs(a) + abs(b)) + abs(c), end * (abs(d) + abs(e)) + abs(f))
    kind = np.int32 if reach < 1 << 31 else np.int64
    axis: NDArray[Any] = np.arange(CANVAS_SIZE, dtype=kind)
    column = (b * axis + c)[:, None] + a * axis >> 16
    row = (e * axis + f)[:, None] + d * axis >> 16
    outside = (column < 0) | (column > end) | (row < 0) | (row > end)
    row *= CANVAS_SIZE
    row += column
    row[outside] = CANVAS_SIZE**2
    pixels = np.concatenate([image.reshape(-1, 3), np.zeros((1, 3), dtype=np.uint8)])
    return pixels.take(row, axis=0, mode="clip")


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
