"""Where things are on the screen: eight layouts to train on, three held out.

A layout is data. `arrange` turns it and a task's buttons into rectangles; no task holds a
pixel coordinate of a button.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from bcprobe.errors import check_name
from bcprobe.gui.widgets import Button
from bcprobe.types import CANVAS_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH

STATUS_HEIGHT = 26
PAD = 8
GAP = 6
HEADING = 14
MARGIN = 12


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
class Layout:
    """Looks of the tool.

    ``side``: where the buttons stand (left, right, top, bottom, split). ``theme``: dark,
    light or retro. ``shape``: rounded, pill or square. ``panel``: width of a side panel in
    px. ``button``: the most a button's height may be, in px. ``border``: width of the
    canvas border in px. ``status``: top or bottom.
    """

    name: str
    side: str = "right"
    theme: str = "dark"
    shape: str = "rounded"
    panel: int = 176
    button: int = 38
    border: int = 1
    status: str = "bottom"


_LAYOUTS = (
    Layout("original"),
    Layout("bottom_toolbar", side="bottom", shape="pill", button=26, status="top"),
    Layout("left_panel", side="left", button=34),
    Layout("light_right", theme="light", shape="square", button=34),
    Layout("minimal_left", side="left", shape="square", panel=112, button=26, border=0),
    Layout("retro", theme="retro", shape="square", border=2),
    Layout("split", side="split", button=28),
    Layout("top_toolbar", side="top", shape="pill", button=26),
    Layout("light_left", side="left", theme="light", shape="pill", button=34),
    Layout("light_split", side="split", theme="light", shape="square", button=28),
    Layout("retro_top", side="top", theme="retro", button=26, border=2),
)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _LAYOUTS}
TRAINING_LAYOUTS = tuple(LAYOUTS)[:8]
HELD_OUT_LAYOUTS = tuple(LAYOUTS)[8:]


def get_layout(name: str) -> Layout:
    """The layout of that name. Raises `InputError` with the nearest name."""
    return LAYOUTS[check_name("layout", name, LAYOUTS)]


@dataclass(frozen=True)
class Card:
    """Panel ground of a group of buttons, with its heading (may be empty)."""

    rect: Rect
    heading: str


@dataclass(frozen=True)
class Arrangement:
    """Rectangles of a layout for one set of buttons, in the buttons' order."""

    canvas: Rect
    buttons: tuple[Rect, ...]
    cards: tuple[Card, ...]
    status: Rect

    def hit(self, x: int, y: int) -> int | None:
        """Index of the button at a point, or None."""
        for index, rect in enumerate(self.buttons):
            if rect.contains(x, y):
                return index
        return None


@lru_cache(maxsize=256)
def arrange(layout: Layout, buttons: tuple[Button, ...]) -> Arrangement:
    """Where everything is: inside the screen, disjoint, in the buttons' order."""
    top = STATUS_HEIGHT if layout.status == "top" else 0
    status = Rect(0, 0 if top else SCREEN_HEIGHT - STATUS_HEIGHT, SCREEN_WIDTH, STATUS_HEIGHT)
    room = Rect(0, top, SCREEN_WIDTH, SCREEN_HEIGHT - STATUS_HEIGHT)
    groups = [list(items) for _, items in groupby(range(len(buttons)), lambda i: buttons[i].group)]
    headings = [buttons[group[0]].group for group in groups]
    if layout.side in ("left", "right"):
        canvas, rects, cards = _side_panel(layout, room, groups, headings)
    else:
        canvas, rects, cards = _toolbars(layout, room, groups)
    return Arrangement(canvas, tuple(rects[i] for i in range(len(buttons))), cards, status)


Parts = tuple[Rect, dict[int, Rect], tuple[Card, ...]]


def _side_panel(layout: Layout, room: Rect, groups: list[list[int]], headings: list[str]) -> Parts:
    """Canvas beside a column of cards; groups of four and more stand in two columns."""
    left = layout.side == "left"
    panel_x = MARGIN if left else SCREEN_WIDTH - MARGIN - layout.panel
    free_x = panel_x + layout.panel if left else 0
    free_width = SCREEN_WIDTH - layout.panel - MARGIN
    canvas = _centred(Rect(free_x, room.y, free_width, room.height))
    columns = [2 if len(group) > 3 and layout.panel >= 100 else 1 for group in groups]
    lines = [-(-len(group) // n) for group, n in zip(groups, columns, strict=True)]
    fixed = sum(_card_extra(heading) for heading in headings) + GAP * (len(groups) - 1)
    fixed += sum(GAP * (n - 1) for n in lines)
    height = min(layout.button, (room.height - 2 * MARGIN - fixed) // sum(lines))
    y = room.y + (room.height - fixed - height * sum(lines)) // 2
    rects: dict[int, Rect] = {}
    cards = []
    for group, heading, n, rows in zip(groups, headings, columns, lines, strict=True):
        inset = PAD if heading else 0
        ground = Rect(panel_x, y, layout.panel, rows * (height + GAP) - GAP + _card_extra(heading))
        cards.append(Card(ground, heading))
        width = (layout.panel - 2 * inset - GAP * (n - 1)) // n
        first = y + (PAD + HEADING if heading else 0)
        for place, index in enumerate(group):
            row, column = divmod(place, n)
            x = panel_x + inset + column * (width + GAP)
            rects[index] = Rect(x, first + row * (height + GAP), width, height)
        y += ground.height + GAP
    return canvas, rects, tuple(card for card in cards if card.heading)


def _card_extra(heading: str) -> int:
    return 2 * PAD + HEADING if heading else 0


def _toolbars(layout: Layout, room: Rect, groups: list[list[int]]) -> Parts:
    """Canvas with rows of buttons above, below, or (split) both."""
    spare = room.height - CANVAS_SIZE
    if layout.side == "split":
        half = _halves(groups)
        bars = [(room.y, spare // 2, groups[:half]), (room.y, spare - spare // 2, groups[half:])]
        canvas = Rect(
            (SCREEN_WIDTH - CANVAS_SIZE) // 2, room.y + spare // 2, CANVAS_SIZE, CANVAS_SIZE
        )
        bars[1] = (canvas.y + CANVAS_SIZE, *bars[1][1:])
    else:
        top = layout.side == "top"
        y = room.y + (spare - PAD if top else PAD)
        canvas = Rect((SCREEN_WIDTH - CANVAS_SIZE) // 2, y, CANVAS_SIZE, CANVAS_SIZE)
        bars = [(room.y if top else y + CANVAS_SIZE, spare - PAD, groups)]
    rects: dict[int, Rect] = {}
    cards: list[Card] = []
    for y, height, members in bars:
        found, grounds = _bar(layout, y, height, members)
        rects |= found
        cards += grounds
    return canvas, rects, tuple(cards)


def _halves(groups: list[list[int]]) -> int:
    """Number of leading groups whose buttons make about half of all."""
    total = sum(len(group) for group in groups)
    counts = [abs(2 * sum(len(g) for g in groups[:k]) - total) for k in range(1, len(groups))]
    return 1 + counts.index(min(counts)) if counts else 1


def _bar(
    layout: Layout, y: int, height: int, groups: list[list[int]]
) -> tuple[dict[int, Rect], list[Card]]:
    """Groups side by side in one row, or in two when the buttons would get too narrow."""
    count = sum(len(group) for group in groups)
    fits = height >= 2 * 18 + GAP + 2 * PAD
    rows = _two_rows(groups) if count > 7 and fits else [groups]
    tall = min(layout.button, (height - PAD - (GAP + PAD // 2) * (len(rows) - 1)) // len(rows) - 4)
    used = tall * len(rows) + (GAP + PAD // 2) * (len(rows) - 1)
    line = y + (height - used) // 2
    rects: dict[int, Rect] = {}
    cards = []
    for row in rows:
        members = sum(len(group) for group in row)
        space = SCREEN_WIDTH - 2 * MARGIN - 2 * PAD * (len(row) - 1) - GAP * (members - len(row))
        width = min(88, space // members)
        span = width * members + 2 * PAD * (len(row) - 1) + GAP * (members - len(row))
        x = (SCREEN_WIDTH - span) // 2
        for group in row:
            inner = width * len(group) + GAP * (len(group) - 1)
            cards.append(Card(Rect(x - 4, line - 4, inner + 8, tall + 8), ""))
            for place, index in enumerate(group):
                rects[index] = Rect(x + place * (width + GAP), line, width, tall)
            x += inner + 2 * PAD
        line += tall + GAP + PAD // 2
    return rects, cards


def _two_rows(groups: list[list[int]]) -> list[list[list[int]]]:
    half = _halves(groups)
    return [groups[:half], groups[half:]] if len(groups) > 1 else _split_group(groups[0])


def _split_group(group: list[int]) -> list[list[list[int]]]:
    middle = -(-len(group) // 2)
    return [[group[:middle]], [group[middle:]]]


def _centred(room: Rect) -> Rect:
    x = room.x + (room.width - CANVAS_SIZE) // 2
    y = room.y + (room.height - CANVAS_SIZE) // 2
    return Rect(x, y, CANVAS_SIZE, CANVAS_SIZE)
