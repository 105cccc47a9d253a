from __future__ import annotations

import os
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bcprobe.episodes.record import display_lists, generate
from bcprobe.gui.compositor import compose
from bcprobe.gui.compositor_torch import Screens, builds_triton
from bcprobe.gui.display import DisplayList, display_list
from bcprobe.gui.layouts import LAYOUTS
from bcprobe.gui.packing import pack
from bcprobe.tasks import TASKS
from tests.gui.test_compositor_torch import BUTTONS, STATES, views

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
needs_triton = pytest.mark.skipif(
    find_spec("triton") is None or not (INTERPRETED or torch.cuda.is_available()),
    reason="Triton needs a GPU, or TRITON_INTERPRET=1",
)
Images = NDArray[np.uint8]


def by_triton(displays: list[DisplayList], stack: Images, index: NDArray[np.int64]) -> Images:
    """Frames of a batch, composed into a dirty buffer."""
    images = torch.from_numpy(stack.copy()).to(DEVICE)
    screens = Screens(pack(displays), images, painter="triton")
    out = torch.full((len(index), 360, 480, 3), 77, dtype=torch.uint8, device=DEVICE)
    return screens.compose(screens.plan(index), out).cpu().numpy()


def assert_same(displays: list[DisplayList], stack: Images, index: NDArray[np.int64]) -> None:
    for number, frame in zip(index, by_triton(displays, stack, index), strict=True):
        np.testing.assert_array_equal(frame, compose(displays[number], stack))


@needs_triton
@pytest.mark.parametrize("task", TASKS)
def test_an_episode_has_the_bytes_of_numpy(task: str) -> None:
    layout = list(LAYOUTS)[list(TASKS).index(task) % len(LAYOUTS)]
    stack, displays = display_lists(generate(task, 3, layout=layout, max_steps=120))
    few = displays[:: max(1, len(displays) // 4)]
    assert_same(few, stack, np.arange(len(few)))


def everything() -> tuple[list[DisplayList], Images]:
    """Sprites over every edge, heaps of them, overlays turned and not, of three images."""
    shown = [view for number, view in enumerate(views()) if number in (0, 4, 5)]
    stack = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    layouts = LAYOUTS.values()
    return [display_list(at, BUTTONS, STATES, view) for at in layouts for view in shown], stack


@needs_triton
def test_everything_a_view_can_show_in_all_layouts_at_once() -> None:
    displays, stack = everything()
    assert_same(displays, stack, np.random.default_rng(2).permutation(len(displays)))


@needs_triton
@pytest.mark.parametrize("left", [17, 18, 19, 20, 224])
def test_a_canvas_may_start_at_any_byte_of_a_word(left: int) -> None:
    displays, stack = everything()
    moved = [DisplayList(display.base, 1, (left, 104), (), (), ()) for display in displays[:1]]
    assert_same(moved, stack, np.array([0]))


@needs_triton
def test_a_frame_may_be_asked_for_twice_and_no_frame_at_all() -> None:
    displays, stack = everything()
    assert_same(displays, stack, np.array([2, 1, 2]))
    assert by_triton(displays, stack, np.zeros(0, dtype=np.int64)).shape == (0, 360, 480, 3)


def test_nothing_but_a_gpu_is_left_to_triton() -> None:
    assert not builds_triton(torch.device("cpu"))


class Kernels:
    """Stands for Triton's: composes by torch, then changes a corner by ``off``."""

    def __init__(self, screens: Screens, off: int) -> None:
        self.screens, self.off = screens, off

    def compose(self, index: torch.Tensor, out: torch.Tensor) -> None:
        screens = self.screens
        screens.compose(screens._layered(index.numpy()), out)
        out[-1, 0, 0] += self.off


@pytest.mark.parametrize("off", [0, 1])
def test_kernels_are_used_if_they_give_the_pixels_of_torch(
    off: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    displays, stack = everything()
    monkeypatch.setattr("bcprobe.gui.compositor_torch.builds_triton", lambda device: True)
    monkeypatch.setattr(Screens, "_kernels", lambda screens: Kernels(screens, off))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        screens = Screens(pack(displays[:9]), torch.from_numpy(stack.copy()))
    assert (screens.kernels is None) == bool(off)
    assert len(said) == off
