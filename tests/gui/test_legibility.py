"""Contrast as WCAG 2 defines it, measured on what is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from bcprobe.gui.layouts import LAYOUTS, arrange
from bcprobe.gui.screen import draw_base, draw_status
from bcprobe.gui.themes import THEMES
from bcprobe.gui.view import RGB
from bcprobe.gui.widgets import Button, ButtonState

TONES = tuple(THEMES["dark"].tones)
#: A label whose strokes are wide enough to reach its full colour.
BUTTONS = tuple(Button(tone, "HHHH", "select", f"HHHH {tone}", tone) for tone in TONES)
IDLE, ACTIVE, DISABLED = ButtonState(), ButtonState(active=True), ButtonState(enabled=False)
LEGIBLE, VISIBLE = 4.5, 1.5
every_layout = pytest.mark.parametrize("name", LAYOUTS)


def luminance(color: Sequence[int] | NDArray[np.uint8]) -> float:
    value = np.asarray(color, dtype=float) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(a: Sequence[int], b: Sequence[int]) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def text_contrast(window: NDArray[np.uint8]) -> float:
    """Contrast of the text on an even ground: the most frequent colour against the farthest."""
    colors, counts = np.unique(window.reshape(-1, 3), axis=0, return_counts=True)
    ground = colors[counts.argmax()]
    return max(contrast(color, ground) for color in colors)


def label_contrasts(name: str, state: ButtonState) -> list[float]:
    screen = draw_base(LAYOUTS[name], BUTTONS, (state,) * len(BUTTONS))
    rects = arrange(LAYOUTS[name], BUTTONS).buttons
    return [
        text_contrast(screen[r.y + 3 : r.y + r.height - 3, r.x + 12 : r.x + r.width - 12])
        for r in rects
    ]


@every_layout
@pytest.mark.parametrize("state", [IDLE, ACTIVE], ids=["idle", "active"])
def test_labels_are_legible(name: str, state: ButtonState) -> None:
    assert min(label_contrasts(name, state)) >= LEGIBLE


@every_layout
def test_disabled_labels_are_dimmer_and_still_visible(name: str) -> None:
    idle, disabled = label_contrasts(name, IDLE), label_contrasts(name, DISABLED)
    assert min(disabled) >= VISIBLE
    assert all(dim < 0.7 * lit for dim, lit in zip(disabled, idle, strict=True))


@every_layout
def test_idle_active_and_disabled_look_different(name: str) -> None:
    idle, active, disabled = (
        draw_base(LAYOUTS[name], BUTTONS, (state,) * len(BUTTONS))
        for state in (IDLE, ACTIVE, DISABLED)
    )
    for rect, button in zip(arrange(LAYOUTS[name], BUTTONS).buttons, BUTTONS, strict=True):
        window = slice(rect.y, rect.y + rect.height), slice(rect.x, rect.x + rect.width)
        assert shift(idle[window], disabled[window]) > 3
        if button.tone not in THEMES[LAYOUTS[name].theme].filled:
            assert shift(idle[window], active[window]) > 30


def shift(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@every_layout
def test_headings_are_legible(name: str) -> None:
    screen = draw_base(LAYOUTS[name], BUTTONS, (IDLE,) * len(BUTTONS))
    for card in arrange(LAYOUTS[name], BUTTONS).cards:
        if card.heading:
            x, y = card.rect.x + card.pad, card.rect.y + card.pad // 2
            assert text_contrast(screen[y + 5 : y + 14, x : x + 60]) >= LEGIBLE


@pytest.mark.parametrize("theme", THEMES)
def test_the_status_is_legible(theme: str) -> None:
    assert text_contrast(draw_status(theme, "HHHH", "")) >= LEGIBLE
    assert text_contrast(draw_status(theme, "", "HHHH")) >= LEGIBLE


@pytest.mark.parametrize("theme", THEMES)
def test_theme_colours_are_legible(theme: str) -> None:
    colors = THEMES[theme]
    pairs: list[tuple[RGB, RGB]] = [
        (colors.text, colors.page),
        (colors.muted, colors.page),
        (colors.muted, colors.card),
        *((tone, colors.face) for tone in colors.tones.values()),
        *((tone, colors.lit_text) for tone in colors.tones.values()),
    ]
    assert min(contrast(*pair) for pair in pairs) >= LEGIBLE
    assert set(colors.tones) == set(TONES)
