"""Display lists to pixels, many at once and on any device, in torch.

The same bytes as `bcprobe.gui.compositor.compose`, by the same whole-number rule. Base
screens, canvas images and sprites lie on the device; a batch is gathered and scattered in
layers, the first sprite of every frame, then every second one, so that overlapping sprites
blend in order. Nothing here waits for the device. On a GPU with Triton, the kernels of
`bcprobe.gui.compositor_triton` do it in one pass.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.gui.compositor import draw_base_screen
from bcprobe.gui.packing import Packed
from bcprobe.types import CANVAS_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH

if TYPE_CHECKING:
    from bcprobe.gui.compositor_triton import Kernels

Painter = Literal["auto", "torch", "triton"]
_PIXELS = SCREEN_HEIGHT * SCREEN_WIDTH
#: Frames whose overlays are looked up at once: a lookup takes some MB a frame.
_CHUNK = 64
#: Frames by which Triton's kernels are tried.
_TRIED = 6


@dataclass(frozen=True)
class Canvases:
    """Frames whose canvas stands at (``x``, ``y``): their numbers and images, int64 [frame]."""

    x: int
    y: int
    frames: Tensor
    images: Tensor


@dataclass(frozen=True)
class Overlays:
    """Frames with an overlay: numbers int64 [frame], (x, y, image, a..f) int64 [frame, 9]."""

    frames: Tensor
    values: Tensor


@dataclass(frozen=True)
class Layer:
    """At most one sprite of each frame, covering ``pixels`` in all.

    ``first`` is each sprite's first pixel in the atlas less its first in the layer, ``counts``
    its pixels, ``frames`` its frame, all int64 [sprite]; ``shown`` int64 [sprite, 6] its point
    and bounds.
    """

    pixels: int
    first: Tensor
    counts: Tensor
    frames: Tensor
    shown: Tensor


@dataclass(frozen=True)
class Plan:
    """What a batch of frames shows, on the device."""

    base: Tensor
    canvases: tuple[Canvases, ...]
    overlays: Overlays
    layers: tuple[Layer, ...]


class Screens:
    """Frames of packed display lists, composed on a device.

    ``images`` uint8 [image, 256, 256, 3] on that device are those that ``packed`` numbers.
    ``painter`` says by what: torch's own operations, Triton's kernels, or (``auto``) Triton's
    if the device is a GPU for which they can be built, and a few of these frames come out as by
    torch. The pixels are the same.
    """

    def __init__(self, packed: Packed, images: Tensor, painter: Painter = "auto") -> None:
        self.packed, self.device = packed, images.device
        self.images = images.reshape(-1, CANVAS_SIZE, CANVAS_SIZE, 3)
        self.bases = torch.stack([_base(key, self.device) for key in packed.bases])
        self.places = self._send(packed.atlas.places)
        self.weighted = self._send(packed.atlas.weighted)
        self.rest = self._send(packed.atlas.rest)
        by_triton = builds_triton(self.device) if painter == "auto" else painter == "triton"
        self.kernels = self._kernels() if by_triton else None
        if self.kernels and painter == "auto" and not self._agrees(self.kernels):
            warnings.warn("Triton composes other pixels here than torch: torch it is", stacklevel=2)
            self.kernels = None

    def _agrees(self, kernels: Kernels) -> bool:
        """Whether some frames, from the first to the last, come out the same both ways."""
        frames = len(self.packed.base)
        index = np.unique(np.linspace(0, frames - 1, _TRIED).astype(np.int64))[:frames]
        shape = (len(index), SCREEN_HEIGHT, SCREEN_WIDTH, 3)
        mine, theirs = (
            torch.full(shape, value, dtype=torch.uint8, device=self.device) for value in (1, 2)
        )
        self._compose_layered(self._layered(index), mine)
        kernels.compose(self._send(index), theirs)
        return torch.equal(mine, theirs)

    def _kernels(self) -> Kernels:
        from bcprobe.gui.compositor_triton import Kernels

        atlas = self.places, self.weighted, self.rest
        return Kernels(self.packed, self.bases, self.images, atlas)

    def _send(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def plan(self, index: NDArray[np.int64]) -> Plan | Tensor:
        """Plan of those frames, int64 [frame]; for Triton the same numbers on the device."""
        return self._send(index) if self.kernels else self._layered(index)

    def _layered(self, index: NDArray[np.int64]) -> Plan:
        packed = self.packed
        overlay = np.concatenate([packed.canvas[index], packed.overlay[index]], axis=1)
        laid = np.flatnonzero(overlay[:, 2] >= 0)
        return Plan(
            base=self._send(packed.base[index]),
            canvases=self._canvases(index),
            overlays=Overlays(self._send(laid), self._send(overlay[laid])),
            layers=self._layers(index),
        )

    def _canvases(self, index: NDArray[np.int64]) -> tuple[Canvases, ...]:
        corners, which = np.unique(self.packed.canvas[index], axis=0, return_inverse=True)
        found = []
        for number, (x, y) in enumerate(corners):
            frames = np.flatnonzero(which.ravel() == number)
            images = self.packed.image[index[frames]]
            found.append(Canvases(int(x), int(y), self._send(frames), self._send(images)))
        return tuple(found)

    def _layers(self, index: NDArray[np.int64]) -> tuple[Layer, ...]:
        starts, atlas = self.packed.starts, self.packed.atlas.starts
        counts = starts[index + 1] - starts[index]
        found = []
        for rank in range(counts.max(initial=0)):
            frames = np.flatnonzero(counts > rank)
            shown = self.packed.shown[starts[index[frames]] + rank]
            sizes = atlas[shown[:, 0] + 1] - atlas[shown[:, 0]]
            first = atlas[shown[:, 0]] - (np.cumsum(sizes) - sizes)
            columns = (self._send(part) for part in (first, sizes, frames, shown[:, 1:]))
            found.append(Layer(int(sizes.sum()), *columns))
        return tuple(found)

    def compose(self, plan: Plan | Tensor, out: Tensor) -> Tensor:
        """Pixels of the planned frames, into contiguous ``out`` uint8 [frame, 360, 480, 3]."""
        if isinstance(plan, Plan):
            self._compose_layered(plan, out)
        elif self.kernels:
            self.kernels.compose(plan, out)
        return out

    def _compose_layered(self, plan: Plan, out: Tensor) -> None:
        torch.index_select(self.bases, 0, plan.base, out=out)
        for at in plan.canvases:
            window = out[:, at.y : at.y + CANVAS_SIZE, at.x : at.x + CANVAS_SIZE]
            window[at.frames] = self.images[at.images]
        pixels = out.view(-1, 3)
        for first in range(0, len(plan.overlays.frames), _CHUNK):
            part = slice(first, first + _CHUNK)
            self._lay_over(pixels, plan.overlays.frames[part], plan.overlays.values[part])
        for layer in plan.layers:
            self._paint(pixels, layer)

    def _lay_over(self, pixels: Tensor, frames: Tensor, values: Tensor) -> None:
        left, top, image, a, b, c, d, e, f = values.T[..., None, None]
        axis = torch.arange(CANVAS_SIZE, device=self.device)
        x, y = axis[None, None], axis[None, :, None]
        column, row = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
        inside = (column >= 0) & (column < CANVAS_SIZE) & (row >= 0) & (row < CANVAS_SIZE)
        end = CANVAS_SIZE - 1
        shown = self.images[image, row.clamp(0, end), column.clamp(0, end)] * inside[..., None]
        at = frames[:, None, None] * _PIXELS + (top + y) * SCREEN_WIDTH + left + x
        pixels[at] = torch.maximum(pixels[at], shown)

    def _paint(self, pixels: Tensor, layer: Layer) -> None:
        """Blend a layer; pixels out of bounds rewrite a corner of the screen as it is."""
        numbers = torch.arange(len(layer.counts), device=self.device)
        owner = numbers.repeat_interleave(layer.counts, output_size=layer.pixels)
        source = torch.arange(layer.pixels, device=self.device) + layer.first[owner]
        x, y, x0, y0, x1, y1 = layer.shown[owner].unbind(1)
        place = self.places[source]
        x, y = x + place[:, 0], y + place[:, 1]
        inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        at = layer.frames[owner] * _PIXELS + torch.where(inside, y * SCREEN_WIDTH + x, 0)
        under = pixels[at]
        value = under * self.rest[source] + self.weighted[source]
        value = value.div(255, rounding_mode="floor").to(torch.uint8)
        pixels[at] = torch.where(inside[:, None], value, under)


@lru_cache(maxsize=1024)
def _base(key: str, device: torch.device) -> Tensor:
    return torch.from_numpy(draw_base_screen(key)).to(device)


@lru_cache
def builds_triton(device: torch.device) -> bool:
    """Whether the device is a GPU and Triton is there and can build kernels for it."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    try:
        from bcprobe.gui.compositor_triton import check

        check(device)
    except (ImportError, OSError, RuntimeError, SubprocessError) as error:
        warnings.warn(f"frames are composed without Triton, which fails: {error}", stacklevel=2)
        return False
    return True
