"""Where things are on the screen: eight layouts to train on, three held out.

A layout is data. `arrange` turns it and a task's buttons into rectangles; no task holds a
pixel coordinate of a button.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from bcprobe.errors import check_name
from bcprobe.gui.panels import side_panel
from bcprobe.gui.rects import LEAST_HEIGHT, Card, Group, Parts, Rect
from bcprobe.gui.text import text_width
from bcprobe.gui.toolbars import split_toolbars, toolbar
from bcprobe.gui.widgets import Button
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

__all__ = [
    "HELD_OUT_LAYOUTS",
    "LAYOUTS",
    "TRAINING_LAYOUTS",
    "Arrangement",
    "Layout",
    "Rect",
    "arrange",
    "get_layout",
]

STATUS_HEIGHT = 26
#: A label keeps so much room at both ends together, px.
LABEL_ROOM = 8


@dataclass(frozen=True)
class Layout:
    """Looks of the tool.

    ``side``: where the buttons stand (left, right, top, bottom, split). ``theme``: dark,
    light or retro. ``shape``: rounded, pill or square. ``panel``: the least width of a side
    panel in px. ``button``: the most a button's height may be, in px. ``border``: width of
    the canvas border in px. ``status``: top or bottom.
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
    Layout("bottom_toolbar", side="bottom", shape="pill", button=30, status="top"),
    Layout("left_panel", side="left", button=34),
    Layout("light_right", theme="light", shape="square", button=34),
    Layout("minimal_left", side="left", shape="square", panel=112, button=26, border=0),
    Layout("retro", theme="retro", shape="square", border=2),
    Layout("split", side="split", button=26),
    Layout("top_toolbar", side="top", shape="pill", button=30),
    Layout("light_left", side="left", theme="light", shape="pill", button=34),
    Layout("light_split", side="split", theme="light", shape="square", button=26),
    Layout("retro_top", side="top", theme="retro", button=30, border=2),
)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _LAYOUTS}
TRAINING_LAYOUTS = tuple(LAYOUTS)[:8]
HELD_OUT_LAYOUTS = tuple(LAYOUTS)[8:]


def get_layout(name: str) -> Layout:
    """The layout of that name. Raises `InputError` with the nearest name."""
    return LAYOUTS[check_name("layout", name, LAYOUTS)]


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
    """Where everything is: inside the screen, disjoint, in the buttons' order.

    Twelve buttons in five groups, with labels of eight characters, always find room; raises
    ``ValueError`` for buttons that do not.
    """
    top = STATUS_HEIGHT if layout.status == "top" else 0
    status = Rect(0, 0 if top else SCREEN_HEIGHT - STATUS_HEIGHT, SCREEN_WIDTH, STATUS_HEIGHT)
    room = Rect(0, top, SCREEN_WIDTH, SCREEN_HEIGHT - STATUS_HEIGHT)
    canvas, found, cards = _parts(layout, room, _groups(buttons))
    rects = tuple(found[index] for index in range(len(buttons)))
    for rect, button in zip(rects, buttons, strict=True):
        if rect.height < LEAST_HEIGHT or rect.width < _label_room(button):
            raise ValueError(f"layout '{layout.name}' has no room for button '{button.name}'")
    return Arrangement(canvas, rects, cards, status)


def _parts(layout: Layout, room: Rect, groups: list[Group]) -> Parts:
    highest = layout.button
    if layout.side == "split":
        return split_toolbars(room, groups, highest=highest)
    if layout.side in ("top", "bottom"):
        return toolbar(room, groups, top=layout.side == "top", highest=highest)
    left = layout.side == "left"
    return side_panel(room, groups, left=left, least_width=layout.panel, highest=highest)


def _groups(buttons: tuple[Button, ...]) -> list[Group]:
    """Neighbouring buttons under one heading."""
    runs = groupby(range(len(buttons)), lambda index: buttons[index].group)
    members = [(heading, tuple(run)) for heading, run in runs]
    return [
        Group(heading, run, max(_label_room(buttons[index]) for index in run))
        for heading, run in members
    ]


def _label_room(button: Button) -> int:
    """The least width in px of a button that shows its label whole."""
    return text_width(button.label, "label") + LABEL_ROOM


def button_rect(layout: str, buttons: tuple[Button, ...], name: str) -> Rect:
    """Where the button ``name`` stands in a layout. Raises `InputError` for unknown names."""
    names = [button.name for button in buttons]
    check_name("button", name, names)
    return arrange(get_layout(layout), buttons).buttons[names.index(name)]
