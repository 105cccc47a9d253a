"""Text as grey coverage, put together from a glyph atlas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ATLAS = Path(__file__).with_name("glyphs.png")
#: Printable ASCII in order.
CHARACTERS = "".join(chr(code) for code in range(32, 127))
#: Height of a font's row in the atlas, px.
ROW = 18


@dataclass(frozen=True)
class Font:
    """Fixed-width font: face size, width of a character and place of the baseline, in px."""

    size: int
    advance: int
    baseline: int


FONTS = {"heading": Font(9, 6, 13), "label": Font(12, 7, 14)}


@lru_cache(maxsize=1)
def _atlas() -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(ATLAS) as image:
        return np.array(image.convert("L"))


def text_width(text: str, font: str) -> int:
    """Width of a line of text in px."""
    return FONTS[font].advance * len(text)


@lru_cache(maxsize=2048)
def text_coverage(text: str, font: str) -> NDArray[np.uint8]:
    """Coverage 0-255 of a line of text: uint8 [18, width]; unknown characters show as '?'."""
    advance = FONTS[font].advance
    top = list(FONTS).index(font) * ROW
    cells = [
        CHARACTERS.find(character) if character in CHARACTERS else CHARACTERS.find("?")
        for character in text
    ]
    rows = _atlas()[top : top + ROW]
    parts = [rows[:, cell * advance : (cell + 1) * advance] for cell in cells]
    return np.concatenate(parts, axis=1) if parts else np.zeros((ROW, 0), np.uint8)
