"""Colours of the annotation tool."""

from __future__ import annotations

from dataclasses import dataclass

from bcprobe.gui.view import RGB


@dataclass(frozen=True)
class Theme:
    """Colours as RGB 0-255. ``tones`` colours a button by its `Button.tone`.

    ``filled`` names the tones whose idle button is filled; ``lit_text`` is the text on a
    filled or active button. ``glow`` is how much of its colour the canvas border casts on
    each pixel around it (0-1), from the nearest on.
    """

    page: RGB
    panel: RGB
    card: RGB
    border: RGB
    canvas_border: RGB
    text: RGB
    muted: RGB
    face: RGB
    lit_text: RGB
    tones: dict[str, RGB]
    filled: tuple[str, ...] = ("done",)
    glow: tuple[float, ...] = ()


DARK = Theme(
    page=(8, 9, 12),
    panel=(20, 21, 27),
    card=(28, 29, 37),
    border=(42, 44, 54),
    canvas_border=(58, 61, 74),
    text=(236, 238, 244),
    muted=(150, 154, 168),
    face=(20, 21, 27),
    lit_text=(9, 12, 16),
    tones={
        "forward": (74, 222, 128),
        "back": (248, 113, 113),
        "view": (167, 139, 250),
        "select": (96, 165, 250),
        "undo": (251, 146, 107),
        "done": (0, 212, 170),
    },
)
LIGHT = Theme(
    page=(236, 238, 242),
    panel=(255, 255, 255),
    card=(236, 237, 242),
    border=(205, 208, 216),
    canvas_border=(178, 182, 194),
    text=(24, 27, 36),
    muted=(92, 97, 112),
    face=(255, 255, 255),
    lit_text=(255, 255, 255),
    tones={
        "forward": (13, 122, 62),
        "back": (196, 38, 38),
        "view": (109, 40, 217),
        "select": (29, 91, 200),
        "undo": (176, 66, 12),
        "done": (0, 118, 95),
    },
)
RETRO = Theme(
    page=(4, 10, 5),
    panel=(12, 24, 13),
    card=(18, 36, 20),
    border=(30, 74, 34),
    canvas_border=(51, 255, 51),
    text=(108, 255, 108),
    muted=(58, 176, 62),
    face=(8, 18, 9),
    lit_text=(4, 16, 5),
    tones={
        "forward": (51, 255, 51),
        "back": (255, 96, 82),
        "view": (170, 255, 60),
        "select": (92, 230, 200),
        "undo": (255, 140, 66),
        "done": (51, 255, 51),
    },
    glow=(0.36, 0.18, 0.07),
)
THEMES = {"dark": DARK, "light": LIGHT, "retro": RETRO}
