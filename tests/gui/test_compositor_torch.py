from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bcprobe.episodes.record import display_lists, generate
from bcprobe.gui.compositor import compose
from bcprobe.gui.compositor_torch import Screens
from bcprobe.gui.display import DisplayList, display_list
from bcprobe.gui.layouts import LAYOUTS
from bcprobe.gui.packing import pack
from bcprobe.gui.view import Label, Mark, Overlay, Stroke, View
from bcprobe.gui.widgets import ButtonState
from bcprobe.tasks import TASKS, get_task

GPU = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
)
every_device = pytest.mark.parametrize("device", ["cpu", GPU])
BUTTONS = get_task("colored_dot_tracking").buttons
STATES = (ButtonState(),) * len(BUTTONS)
EDGES = (-300, -4, 0, 1, 128, 250, 255, 259)
STATUS = (("Z", "3/15"), ("Points", "16"))


@lru_cache(maxsize=1)
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)


def composed(displays: list[DisplayList], stack: NDArray[np.uint8], device: str) -> Screens:
    return Screens(pack(displays), torch.from_numpy(stack.copy()).to(device), painter="torch")


def assert_same(
    displays: list[DisplayList], stack: NDArray[np.uint8], device: str, size: int = 24
) -> None:
    """Torch gives NumPy's bytes, in batches of ``size`` into a dirty buffer."""
    screens = composed(displays, stack, device)
    for index in np.split(np.arange(len(displays)), range(size, len(displays), size)):
        out = torch.full((len(index), 360, 480, 3), 77, dtype=torch.uint8, device=device)
        found = screens.compose(screens.plan(index), out).cpu().numpy()
        for number, frame in zip(index, found, strict=True):
            np.testing.assert_array_equal(frame, compose(displays[number], stack))


@every_device
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("task", TASKS)
def test_an_episode_has_the_bytes_of_numpy(task: str, layout: str, device: str) -> None:
    stack, displays = display_lists(generate(task, 3, layout=layout, max_steps=120))
    assert_same(displays[:: max(1, len(displays) // 10)], stack, device)


def views() -> list[View]:
    kinds = ("ring", "dot", "cross", "square")
    points = [(x, y) for x in EDGES for y in EDGES]
    marks = tuple(Mark(kinds[i % 4], x, y, 9, (255, 3 * i, 0)) for i, (x, y) in enumerate(points))
    heap = tuple(Mark(kinds[i % 4], 100 + i, 90, 8, (9 * i, 255, 90), i % 3) for i in range(20))
    lines = tuple(Stroke(*a, *b, (0, 255, 9), 4) for a in points[::9] for b in points[::7])
    labels = tuple(Label(f"{i}", x, y, (200, i, 255)) for i, (x, y) in enumerate(points))
    turned = Overlay(2, (50000, -40000, 3_000_000, 40000, 50000, -900_000))
    return [
        View(0),
        View(1, marks, status=STATUS),
        View(2, heap, lines[:30]),
        View(0, heap, (), STATUS, labels),
        View(1, marks, lines, STATUS, labels, Overlay(0)),
        View(0, heap, overlay=turned),
    ]


@every_device
def test_everything_a_view_can_show_in_all_layouts_at_once(device: str) -> None:
    displays = [
        display_list(layout, BUTTONS, STATES, view)
        for layout in LAYOUTS.values()
        for view in views()
    ]
    order = np.random.default_rng(2).permutation(len(displays))
    assert_same([displays[number] for number in order], images(), device)


@every_device
def test_a_frame_may_be_asked_for_twice_and_in_any_order(device: str) -> None:
    displays = [display_list(LAYOUTS["original"], BUTTONS, STATES, view) for view in views()]
    screens, index = composed(displays, images(), device), np.array([3, 1, 3, 0])
    out = torch.empty((4, 360, 480, 3), dtype=torch.uint8, device=device)
    found = screens.compose(screens.plan(index), out).cpu().numpy()
    for number, frame in zip(index, found, strict=True):
        np.testing.assert_array_equal(frame, compose(displays[number], images()))
