"""Buttons in a column of cards beside the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bcprobe.gui.rects import (
    GAP,
    HEADING,
    LEAST_HEIGHT,
    MARGIN,
    PAD,
    Card,
    Group,
    Parts,
    Rect,
    centred_canvas,
)


@dataclass(frozen=True)
class Spacing:
    """How a panel is filled: groups of ``two_columns`` buttons and more stand in two columns."""

    two_columns: int
    pad: int = PAD
    gap: int = GAP
    heading: int = HEADING

    def columns(self, group: Group) -> int:
        """Columns of buttons in a group."""
        return 2 if len(group.members) >= self.two_columns else 1

    def lines(self, group: Group) -> int:
        """Rows of buttons in a group."""
        return -(-len(group.members) // self.columns(group))

    def card_height(self, group: Group, button: int) -> int:
        """Height of a group's card in px with buttons that high; no heading, no card."""
        inner = self.lines(group) * (button + self.gap) - self.gap
        return inner + (2 * self.pad + self.heading if group.heading else 0)

    def panel_height(self, groups: Sequence[Group], button: int) -> int:
        """Height of all cards in px."""
        return sum(self.card_height(group, button) + self.gap for group in groups) - self.gap

    def panel_width(self, group: Group) -> int:
        """The least width in px in which a group's labels show whole."""
        columns = self.columns(group)
        inner = columns * (group.label_room + self.gap) - self.gap
        return inner + (2 * self.pad if group.heading else 0)


#: From the airiest to the tightest; the first that leaves the buttons high enough is taken.
SPACINGS = (Spacing(4), Spacing(2), Spacing(2, pad=5, gap=4, heading=13))


def side_panel(
    room: Rect, groups: Sequence[Group], *, left: bool, least_width: int, highest: int
) -> Parts:
    """Canvas beside a panel at least so wide, with buttons at most so high (px)."""
    spacing, height = _fit(room.height - 2 * MARGIN, groups, highest)
    width = max(least_width, *(spacing.panel_width(group) for group in groups))
    panel_x = MARGIN if left else room.width - MARGIN - width
    free = Rect(panel_x + width if left else 0, room.y, room.width - width - MARGIN, room.height)
    y = room.y + (room.height - spacing.panel_height(groups, height)) // 2
    rects: dict[int, Rect] = {}
    cards = []
    for group in groups:
        tall = spacing.card_height(group, height)
        card = Card(Rect(panel_x, y, width, tall), group.heading, spacing.pad)
        rects |= _fill_card(card, spacing, group, height)
        cards.append(card)
        y += tall + spacing.gap
    return centred_canvas(free), rects, tuple(card for card in cards if card.heading)


def _fit(free: int, groups: Sequence[Group], highest: int) -> tuple[Spacing, int]:
    """The airiest spacing for a panel of ``free`` px, and the height of its buttons."""
    for spacing in SPACINGS:
        lines = sum(spacing.lines(group) for group in groups)
        height = min(highest, (free - spacing.panel_height(groups, 0)) // lines)
        if height >= LEAST_HEIGHT:
            break
    return spacing, height


def _fill_card(card: Card, spacing: Spacing, group: Group, height: int) -> dict[int, Rect]:
    """A group's buttons on its card, row by row."""
    columns, gap = spacing.columns(group), spacing.gap
    inset = spacing.pad if group.heading else 0
    width = (card.rect.width - 2 * inset - gap * (columns - 1)) // columns
    top = card.rect.y + (spacing.pad + spacing.heading if group.heading else 0)
    rects = {}
    for place, index in enumerate(group.members):
        row, column = divmod(place, columns)
        x = card.rect.x + inset + column * (width + gap)
        rects[index] = Rect(x, top + row * (height + gap), width, height)
    return rects
