"""Rectangles on the screen, and what stands in them."""

from __future__ import annotations

from dataclasses import dataclass

from bcprobe.types import CANVAS_SIZE

PAD = 8
GAP = 6
HEADING = 14
MARGIN = 12
#: The least a button's height may be, px.
LEAST_HEIGHT = 18


@dataclass(frozen=True)
class Rect:
    """Whole-pixel rectangle; the right and bottom edges are not part of it."""

    x: int
    y: int
    width: int
    height: int

    def contains(self, x: int, y: int) -> bool:
        """Whether a point lies inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


@dataclass(frozen=True)
class Group:
    """Buttons that stand together, by index.

    ``label_room`` is the width in px in which each of them shows its label whole.
    """

    heading: str
    members: tuple[int, ...]
    label_room: int


@dataclass(frozen=True)
class Card:
    """Panel ground of a group of buttons, with its heading (may be empty).

    ``pad`` is the distance in px from its edge to what it holds.
    """

    rect: Rect
    heading: str = ""
    pad: int = PAD


#: Canvas, the buttons' rectangles by index, and cards.
Parts = tuple[Rect, dict[int, Rect], tuple[Card, ...]]


def centred_canvas(room: Rect) -> Rect:
    """The canvas in the middle of a room."""
    x = room.x + (room.width - CANVAS_SIZE) // 2
    y = room.y + (room.height - CANVAS_SIZE) // 2
    return Rect(x, y, CANVAS_SIZE, CANVAS_SIZE)
