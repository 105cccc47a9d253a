from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from bcprobe.gui.compositor import compose
from bcprobe.gui.display import DisplayList, display_list
from bcprobe.gui.layouts import LAYOUTS, arrange
from bcprobe.gui.view import Mark, Stroke, View
from bcprobe.gui.widgets import ButtonState
from bcprobe.tasks import get_task

BUTTONS = get_task("colored_dot_tracking").buttons
STATES = (
    ButtonState(),
    ButtonState(enabled=False),
    ButtonState(active=True),
    ButtonState(enabled=False),
    ButtonState(),
)
KINDS = ("ring", "dot", "cross", "square")
STATUS = (("Z", "3/15"), ("Points", "16"))
ORIGINAL = "b815951d4de3214d039a1f656dd34847d7979315e4bed90115012df5e48050fb"
every_layout = pytest.mark.parametrize("name", LAYOUTS)


@lru_cache(maxsize=1)
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)


def busy_view() -> View:
    """Sixteen marks, some of them at the canvas's edge, and lines between them."""
    places = [((83 * i) % 256, (47 * i * i) % 256) for i in range(14)] + [(0, 0), (255, 255)]
    marks = tuple(
        Mark(KINDS[i % 4], x, y, 7, (255, 240, 12 * i)) for i, (x, y) in enumerate(places)
    )
    strokes = tuple(Stroke(*a, *b, (255, 255, 255)) for a, b in itertools.pairwise(places))
    return View(1, marks, strokes, STATUS)


def busy_display(name: str) -> DisplayList:
    return display_list(LAYOUTS[name], BUTTONS, STATES, busy_view())


@every_layout
def test_a_dirty_buffer_gives_the_same_pixels(name: str) -> None:
    fresh = compose(busy_display(name), images())
    dirty = np.random.default_rng(1).integers(0, 256, fresh.shape, dtype=np.uint8)
    assert compose(busy_display(name), images(), dirty) is dirty
    np.testing.assert_array_equal(fresh, dirty)


@every_layout
def test_composing_leaves_the_caches_alone(name: str) -> None:
    first = compose(busy_display(name), images())
    compose(busy_display(name), images())[:] = 7
    np.testing.assert_array_equal(compose(busy_display(name), images()), first)


def screens_hash() -> str:
    digest = hashlib.sha256()
    for name in LAYOUTS:
        digest.update(compose(busy_display(name), images()).data)
    return digest.hexdigest()


def test_the_original_layout_keeps_its_bytes() -> None:
    """A changed hash makes every recorded frame another one: raise `GENERATOR_VERSION`."""
    screen = compose(busy_display("original"), images())
    assert hashlib.sha256(screen.data).hexdigest() == ORIGINAL


def test_another_process_gives_the_same_bytes() -> None:
    code = "import test_compositor; print(test_compositor.screens_hash())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "123"},
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == screens_hash()


@every_layout
def test_the_canvas_shows_the_image_pixel_by_pixel(name: str) -> None:
    display = display_list(LAYOUTS[name], BUTTONS, STATES, View(2))
    x, y = display.canvas
    screen = compose(display, images())
    np.testing.assert_array_equal(screen[y : y + 256, x : x + 256], images()[2])


@every_layout
@pytest.mark.parametrize("kind", KINDS)
def test_marks_never_paint_outside_the_canvas(name: str, kind: str) -> None:
    edge = (-4, 0, 1, 128, 255, 259)
    marks = tuple(Mark(kind, x, y, 9, (255, 0, 255)) for x in edge for y in edge)
    check_outside(name, View(0, marks=marks))


@every_layout
def test_strokes_never_paint_outside_the_canvas(name: str) -> None:
    ends = ((0, 0), (255, 0), (255, 255), (0, 255), (-6, 128), (260, 100))
    strokes = tuple(Stroke(*a, *b, (255, 0, 255), width=5) for a in ends for b in ends)
    check_outside(name, View(0, strokes=strokes))


def check_outside(name: str, view: View) -> None:
    """What a view draws lies inside the canvas, and it draws something."""
    display = display_list(LAYOUTS[name], BUTTONS, STATES, view)
    bare = replace(display, marks=(), strokes=())
    changed = (compose(display, images()) != compose(bare, images())).any(-1)
    canvas = arrange(LAYOUTS[name], BUTTONS).canvas
    inside = np.zeros_like(changed)
    inside[canvas.y : canvas.y + canvas.height, canvas.x : canvas.x + canvas.width] = True
    assert changed[inside].any()
    assert not changed[~inside].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_clipped_mark_is_a_part_of_the_whole_one(kind: str) -> None:
    black = np.zeros((1, 256, 256, 3), dtype=np.uint8)
    canvases = []
    for x, y in ((2, 254), (102, 154)):
        view = View(0, (Mark(kind, x, y, 9, (255, 255, 255)),))
        display = display_list(LAYOUTS["original"], BUTTONS, STATES, view)
        left, top = display.canvas
        canvases.append(compose(display, black)[top : top + 256, left : left + 256])
    at_edge, in_middle = canvases
    np.testing.assert_array_equal(at_edge[100:256, 0:50], in_middle[0:156, 100:150])


@every_layout
def test_a_state_changes_its_button_and_nothing_else(name: str) -> None:
    places = arrange(LAYOUTS[name], BUTTONS)
    idle = (ButtonState(),) * len(BUTTONS)
    screen = compose(display_list(LAYOUTS[name], BUTTONS, idle, View(0)), images())
    for index, rect in enumerate(places.buttons):
        for state in (ButtonState(active=True), ButtonState(enabled=False)):
            states = (*idle[:index], state, *idle[index + 1 :])
            other = compose(display_list(LAYOUTS[name], BUTTONS, states, View(0)), images())
            changed = (screen != other).any(-1)
            done = BUTTONS[index].tone == "done" and state.active
            assert changed.any() != done
            changed[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] = False
            assert not changed.any()


@every_layout
def test_the_status_stands_in_its_bar(name: str) -> None:
    shown = display_list(LAYOUTS[name], BUTTONS, STATES, View(0, status=STATUS))
    bare = display_list(LAYOUTS[name], BUTTONS, STATES, View(0))
    changed = (compose(shown, images()) != compose(bare, images())).any(-1)
    bar = arrange(LAYOUTS[name], BUTTONS).status
    assert changed[bar.y : bar.y + bar.height].any()
    changed[bar.y : bar.y + bar.height] = False
    assert not changed.any()


@every_layout
def test_a_display_list_is_small_and_comes_back_equal(name: str) -> None:
    display = busy_display(name)
    content = pickle.dumps(display)
    assert len(display.marks) == 16
    assert len(content) < 4096
    assert pickle.loads(content) == display
    assert hash(pickle.loads(content)) == hash(display)
