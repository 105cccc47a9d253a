from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcprobe.errors import InputError
from bcprobe.gui.layouts import (
    HELD_OUT_LAYOUTS,
    LAYOUTS,
    TRAINING_LAYOUTS,
    Arrangement,
    Rect,
    arrange,
    get_layout,
)
from bcprobe.gui.screen import draw_base
from bcprobe.gui.text import text_coverage
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.tasks import get_task
from bcprobe.types import CANVAS_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH

every_layout = pytest.mark.parametrize("name", LAYOUTS)
#: The nearest two things may come to each other, px.
CLEAR = 4


def make_buttons(sizes: list[int], labels: list[str], headed: list[bool]) -> tuple[Button, ...]:
    """Groups of those sizes; a group without a heading has one of blanks, to keep it apart."""
    names = [f"Group {i}" if head else "" for i, head in enumerate(headed)]
    groups = [name for name, size in zip(names, sizes, strict=True) for _ in range(size)]
    return tuple(
        Button(f"b{i}", label, "select", group, "done" if i + 1 == len(groups) else "select")
        for i, (group, label) in enumerate(zip(groups, labels, strict=True))
    )


@st.composite
def button_sets(draw: st.DrawFn) -> tuple[Button, ...]:
    count = draw(st.integers(3, 12))
    cuts = draw(st.sets(st.integers(1, count - 1), max_size=4))
    edges = [0, *sorted(cuts), count]
    sizes = [after - before for before, after in pairwise(edges)]
    labels = draw(st.lists(st.text("Aamg+-1 ", min_size=1, max_size=8), min_size=count,
                           max_size=count))  # fmt: skip
    headed = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    return make_buttons(sizes, labels, headed)


HARDEST = [
    make_buttons(sizes, ["Mitochon"] * 12, [True] * len(sizes))
    for sizes in ([12], [1, 1, 1, 1, 8], [8, 1, 1, 1, 1], [3, 3, 3, 2, 1], [3, 3, 3, 3], [1, 11])
]

ORIGINAL = (
    Rect(300, 52, 160, 38),
    Rect(300, 96, 160, 38),
    Rect(300, 170, 160, 38),
    Rect(292, 222, 176, 38),
    Rect(292, 266, 176, 38),
)


def overlap(a: Rect, b: Rect, apart: int = 0) -> bool:
    return (
        a.x < b.x + b.width + apart
        and b.x < a.x + a.width + apart
        and a.y < b.y + b.height + apart
        and b.y < a.y + a.height + apart
    )


def inside(a: Rect, b: Rect, margin: int = 0) -> bool:
    return (
        a.x >= b.x + margin
        and a.y >= b.y + margin
        and a.x + a.width <= b.x + b.width - margin
        and a.y + a.height <= b.y + b.height - margin
    )


def check_places(places: Arrangement) -> None:
    screen = Rect(0, 0, SCREEN_WIDTH, SCREEN_HEIGHT)
    assert (places.canvas.width, places.canvas.height) == (CANVAS_SIZE, CANVAS_SIZE)
    assert inside(places.canvas, screen, CLEAR)
    assert not overlap(places.canvas, places.status, CLEAR)
    for rect in places.buttons:
        assert inside(rect, screen, CLEAR)
        assert not overlap(rect, places.canvas, CLEAR)
        assert not overlap(rect, places.status, CLEAR)
        assert rect.height >= 18
    for a, b in combinations(places.buttons, 2):
        assert not overlap(a, b, CLEAR)
    for card in places.cards:
        assert inside(card.rect, screen)
        assert not overlap(card.rect, places.canvas, CLEAR)
        assert not overlap(card.rect, places.status)
    for a, b in combinations([card.rect for card in places.cards], 2):
        assert not overlap(a, b)


def check_hits(places: Arrangement) -> None:
    for index, rect in enumerate(places.buttons):
        right, bottom = rect.x + rect.width - 1, rect.y + rect.height - 1
        for x, y in ((rect.x, rect.y), (right, rect.y), (rect.x, bottom), (right, bottom)):
            assert places.hit(x, y) == index
        for x, y in ((rect.x - 1, rect.y), (right + 1, bottom), (right, bottom + 1)):
            assert places.hit(x, y) is None


@every_layout
@given(buttons=button_sets())
def test_everything_has_its_own_place(name: str, buttons: tuple[Button, ...]) -> None:
    places = arrange(LAYOUTS[name], buttons)
    check_places(places)
    check_hits(places)


@every_layout
@pytest.mark.parametrize("buttons", HARDEST, ids=lambda b: f"{len({x.group for x in b})} groups")
def test_twelve_long_labels_find_room(name: str, buttons: tuple[Button, ...]) -> None:
    places = arrange(LAYOUTS[name], buttons)
    check_places(places)
    check_hits(places)


@every_layout
def test_the_task_buttons_have_their_places(name: str) -> None:
    places = arrange(LAYOUTS[name], get_task("colored_dot_tracking").buttons)
    check_places(places)
    check_hits(places)


def ink(layout: str, buttons: tuple[Button, ...], blank: tuple[Button, ...]) -> np.ndarray:
    """Where the screens of two button sets in the same places differ: bool [360, 480]."""
    states = (ButtonState(),) * len(buttons)
    screens = [draw_base(LAYOUTS[layout], some, states) for some in (buttons, blank)]
    return (screens[0] != screens[1]).any(-1)


@every_layout
@pytest.mark.parametrize(
    "buttons", [HARDEST[1], HARDEST[3], get_task("colored_dot_tracking").buttons]
)
def test_labels_show_whole_inside_their_buttons(name: str, buttons: tuple[Button, ...]) -> None:
    blank = tuple(Button(b.name, " " * len(b.label), b.action, b.group, b.tone) for b in buttons)
    written = ink(name, buttons, blank)
    places = arrange(LAYOUTS[name], buttons)
    for rect, button in zip(places.buttons, buttons, strict=True):
        inner = written[rect.y + 2 : rect.y + rect.height - 2, rect.x + 3 : rect.x + rect.width - 3]
        strong = text_coverage(button.label, "label") > 8
        assert strong.sum() <= inner.sum() <= (text_coverage(button.label, "label") > 0).sum()
        written[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] &= False
    assert not written.any()


def test_the_original_layout_stays_where_it_was() -> None:
    places = arrange(LAYOUTS["original"], get_task("colored_dot_tracking").buttons)
    assert places.canvas == Rect(18, 39, 256, 256)
    assert places.buttons == ORIGINAL


def test_too_many_buttons_are_refused() -> None:
    buttons = make_buttons([30], ["Mitochon"] * 30, [True])
    with pytest.raises(ValueError, match="has no room for button"):
        arrange(LAYOUTS["top_toolbar"], buttons)


def test_a_long_label_is_refused() -> None:
    buttons = make_buttons([1, 6], ["A" * 40] + ["B"] * 6, [True, True])
    with pytest.raises(ValueError, match="has no room for button 'b0'"):
        arrange(LAYOUTS["split"], buttons)


def test_layouts_to_train_on_and_held_out() -> None:
    assert len(TRAINING_LAYOUTS) == 8
    assert len(HELD_OUT_LAYOUTS) == 3
    assert set(TRAINING_LAYOUTS) | set(HELD_OUT_LAYOUTS) == set(LAYOUTS)


def test_an_unknown_layout_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown layout 'retro_tap'; did you mean 'retro_top'"):
        get_layout("retro_tap")
