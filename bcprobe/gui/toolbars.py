"""Buttons in rows above the canvas, below it, or both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bcprobe.gui.rects import GAP, MARGIN, PAD, Card, Group, Parts, Rect
from bcprobe.types import CANVAS_SIZE

#: The most a button's width may be, how far a card reaches around its buttons, and the least
#: distance of a card from anything else, px.
WIDEST, REACH, CLEAR = 88, 4, 5
#: Rows that stand together are so far apart, px.
BETWEEN = GAP + REACH
#: More buttons than this stand in two rows.
ONE_ROW = 7
Row = Sequence[Group]


def toolbar(room: Rect, groups: Row, *, top: bool, highest: int) -> Parts:
    """Canvas with one row or two of buttons at most so high (px) above or below it."""
    fits = _count(groups) <= ONE_ROW and _fit(room.width, [groups])
    rows = [groups] if fits else _halves(room.width, groups)
    spare = room.height - CANVAS_SIZE
    around = 2 * REACH + BETWEEN * (len(rows) - 1)
    height = min(highest, (spare - 3 * CLEAR - around) // len(rows))
    edge = (spare - around - height * len(rows)) // 3
    bar = spare - edge
    canvas = _canvas(room, room.y + (bar if top else edge))
    start = room.y if top else canvas.y + CANVAS_SIZE
    first = start + (bar - around - height * len(rows)) // 2 + REACH
    lines = [first + (height + BETWEEN) * number for number in range(len(rows))]
    rects = _fill_rows(room.width, rows, lines, height)
    return canvas, rects, tuple(_card(group, rects) for row in rows for group in row)


def split_toolbars(room: Rect, groups: Row, *, highest: int) -> Parts:
    """Canvas between two rows of buttons at most so high (px), with no cards."""
    bar = (room.height - CANVAS_SIZE) // 2
    height = min(highest, bar - 2 * GAP)
    canvas = _canvas(room, room.y + bar)
    above = room.y + (bar - height) // 2
    lines = [above, above + bar + CANVAS_SIZE]
    rows = _halves(room.width, groups) if _count(groups) > 1 else [groups]
    return canvas, _fill_rows(room.width, rows, lines[: len(rows)], height), ()


def _canvas(room: Rect, y: int) -> Rect:
    return Rect(room.x + (room.width - CANVAS_SIZE) // 2, y, CANVAS_SIZE, CANVAS_SIZE)


def _card(group: Group, rects: dict[int, Rect]) -> Card:
    first, last = rects[group.members[0]], rects[group.members[-1]]
    width = last.x + last.width - first.x + 2 * REACH
    return Card(Rect(first.x - REACH, first.y - REACH, width, first.height + 2 * REACH))


def _count(row: Row) -> int:
    return sum(len(group.members) for group in row)


def _gaps(row: Row) -> int:
    """Width in px between the buttons of a row."""
    return 2 * PAD * (len(row) - 1) + GAP * (_count(row) - len(row))


def _button_width(screen: int, rows: Sequence[Row]) -> int:
    """Width in px of every button in the rows."""
    return min(WIDEST, *((screen - 2 * MARGIN - _gaps(row)) // _count(row) for row in rows))


def _fit(screen: int, rows: Sequence[Row]) -> bool:
    """Whether every label in the rows shows whole."""
    longest = max(group.label_room for row in rows for group in row)
    return _button_width(screen, rows) >= longest


def _halves(screen: int, groups: Row) -> list[Row]:
    """Two rows of about equal length, broken between groups if the labels allow it."""
    ways = sorted(_breaks(groups), key=lambda way: abs(_count(way[0]) - _count(way[1])))
    whole = [way for way in ways if len(way[0]) + len(way[1]) == len(groups)]
    return next((way for way in whole + ways if _fit(screen, way)), ways[0])


def _breaks(groups: Row) -> Iterator[list[Row]]:
    """Every way to break a row of groups in two, inside groups too."""
    for place, group in enumerate(groups):
        for count in range(1, len(group.members) + 1):
            start = replace(group, members=group.members[:count])
            rest = replace(group, members=group.members[count:])
            after = [rest, *groups[place + 1 :]] if rest.members else groups[place + 1 :]
            if after:
                yield [[*groups[:place], start], after]


def _fill_rows(
    screen: int, rows: Sequence[Row], lines: Sequence[int], height: int
) -> dict[int, Rect]:
    """Rows of equally wide buttons, each in the middle of the screen."""
    width = _button_width(screen, rows)
    rects = {}
    for row, y in zip(rows, lines, strict=True):
        x = (screen - width * _count(row) - _gaps(row)) // 2
        for group in row:
            for index in group.members:
                rects[index] = Rect(x, y, width, height)
                x += width + GAP
            x += 2 * PAD - GAP
    return rects
