"""The parts of a screen that seldom change: page, panel, buttons, status text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.layouts import Layout, arrange
from bcprobe.gui.rects import MARGIN, Card, Rect
from bcprobe.gui.shapes import blend, rounded_box, stroke_mask
from bcprobe.gui.text import ROW, text_coverage, text_width
from bcprobe.gui.themes import THEMES, Theme
from bcprobe.gui.view import RGB
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

Pixels = NDArray[np.uint8]
RADII = {"rounded": 5.0, "square": 1.0}
#: How much of its colour a disabled button keeps (0-1).
DIMMED_LINE, DIMMED_TEXT = 0.3, 0.42


def draw_base(
    layout: Layout, buttons: tuple[Button, ...], states: tuple[ButtonState, ...]
) -> Pixels:
    """Screen without data: uint8 [360, 480, 3]."""
    theme = THEMES[layout.theme]
    places = arrange(layout, buttons)
    out = np.empty((SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)
    out[:] = theme.panel
    for card in places.cards:
        _draw_card(out, theme, layout, card)
    _draw_status_bar(out, theme, places.status)
    _draw_canvas_border(out, theme, layout, places.canvas)
    for rect, button, state in zip(places.buttons, buttons, states, strict=True):
        _draw_button(out, layout, rect, button, state)
    return out


def _window(out: Pixels, rect: Rect) -> Pixels:
    return out[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]


def _fill(out: Pixels, rect: Rect, color: RGB, radius: float, inset: float = 0.0) -> None:
    coverage = rounded_box(rect.width, rect.height, max(0.0, radius - inset), inset)
    blend(_window(out, rect), np.array(color, dtype=np.uint8), coverage)


def _write(out: Pixels, text: str, font: str, x: int, y: int, color: RGB) -> None:
    coverage = text_coverage(text, font)
    window = out[y : y + coverage.shape[0], x : x + coverage.shape[1]]
    blend(window, np.array(color, dtype=np.uint8), coverage)


def _draw_card(out: Pixels, theme: Theme, layout: Layout, card: Card) -> None:
    _fill(out, card.rect, theme.card, 2.0 if layout.shape == "square" else 6.0)
    if card.heading:
        room = (card.rect.width - 2 * card.pad) // text_width(" ", "heading")
        heading = card.heading.upper()[:room].rstrip()
        x, y = card.rect.x + card.pad, card.rect.y + card.pad // 2
        _write(out, heading, "heading", x, y, theme.muted)


def _draw_status_bar(out: Pixels, theme: Theme, bar: Rect) -> None:
    _window(out, bar)[:] = theme.page
    edge = bar.y if bar.y else bar.height - 1
    out[edge] = theme.border


def _draw_canvas_border(out: Pixels, theme: Theme, layout: Layout, canvas: Rect) -> None:
    wide = layout.border
    for reach, share in reversed(list(enumerate(theme.glow, wide + 1))):
        _window(out, _around(canvas, reach))[:] = _mix(theme.panel, theme.canvas_border, share)
    _window(out, _around(canvas, wide))[:] = theme.canvas_border
    _window(out, canvas)[:] = 0


def _around(rect: Rect, reach: int) -> Rect:
    return Rect(rect.x - reach, rect.y - reach, rect.width + 2 * reach, rect.height + 2 * reach)


def _draw_button(
    out: Pixels, layout: Layout, rect: Rect, button: Button, state: ButtonState
) -> None:
    theme = THEMES[layout.theme]
    radius = RADII.get(layout.shape, rect.height / 2)
    color = theme.tones[button.tone]
    lit = state.enabled and (state.active or button.tone in theme.filled)
    line = color if state.enabled else _mix(theme.face, color, DIMMED_LINE)
    ink = color if state.enabled else _mix(theme.face, color, DIMMED_TEXT)
    _fill(out, rect, line, radius)
    if not lit:
        _fill(out, rect, theme.face, radius, inset=1.5)
    x = rect.x + (rect.width - text_width(button.label, "label") + 1) // 2
    y = rect.y + (rect.height - ROW) // 2
    _write(out, button.label, "label", x, y, theme.lit_text if lit else ink)
    if state.ticked:
        _tick(out, rect, theme.lit_text if lit else ink)


def _tick(out: Pixels, rect: Rect, color: RGB) -> None:
    """A tick in the upper right corner of a button."""
    x, y = rect.x + rect.width - 11, rect.y + 7
    for dx, dy, across, down in ((0, 0, 2, 2), (2, 2, 4, -5)):
        left, top, coverage = stroke_mask(across, down, 1)
        height, width = coverage.shape
        window = Rect(x + dx + left, y + dy + top, width, height)
        blend(_window(out, window), np.array(color, dtype=np.uint8), coverage)


def _mix(ground: RGB, color: RGB, share: float) -> RGB:
    red, green, blue = (int(g + (c - g) * share + 0.5) for g, c in zip(ground, color, strict=True))
    return red, green, blue


@lru_cache(maxsize=2048)
def draw_status(theme_name: str, name: str, value: str) -> Pixels:
    """A counter of the status bar, name and value: uint8 [18, width, 3]."""
    theme = THEMES[theme_name]
    width = text_width(f"{name} {value}", "label")
    out = np.empty((ROW, width, 3), dtype=np.uint8)
    out[:] = theme.page
    _write(out, name, "label", 0, 0, theme.muted)
    _write(out, value, "label", text_width(name + " ", "label"), 0, theme.text)
    return out


def status_places(bar: Rect, widths: Sequence[int]) -> list[int]:
    """Left edges (px) of the counters: the first at the left, the last at the right."""
    room = bar.width - 2 * MARGIN - sum(widths)
    gap = room / max(1, len(widths) - 1)
    return [int(bar.x + MARGIN + sum(widths[:place]) + gap * place) for place in range(len(widths))]
