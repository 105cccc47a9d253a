"""Display lists to pixels in a few Triton kernels, for GPUs.

The same bytes as `bcprobe.gui.compositor.compose`. Everything about the frames lies on the
device, so that a batch is planned by the numbers of its frames alone: one kernel writes base
screens and canvas images, one lays overlays over them, and one paints each frame's sprites in
order. Triton is imported here and nowhere else; without it this module cannot be.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.gui.packing import Packed
from bcprobe.types import CANVAS_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH

#: Bytes of a screen and its 32-bit words, those of one of its rows, and the same of a canvas.
_SCREEN_BYTES = tl.constexpr(SCREEN_HEIGHT * SCREEN_WIDTH * 3)
_SCREEN_WORDS = tl.constexpr(SCREEN_HEIGHT * SCREEN_WIDTH * 3 // 4)
_ROW_WORDS = tl.constexpr(SCREEN_WIDTH * 3 // 4)
_CANVAS_BYTES = tl.constexpr(CANVAS_SIZE * CANVAS_SIZE * 3)
_CANVAS_WORDS = tl.constexpr(CANVAS_SIZE * CANVAS_SIZE * 3 // 4)
_CANVAS_ROW_WORDS = tl.constexpr(CANVAS_SIZE * 3 // 4)
_WIDTH = tl.constexpr(SCREEN_WIDTH)
_SIZE = tl.constexpr(CANVAS_SIZE)
_ALL = tl.constexpr(0xFFFFFFFF)
#: Columns of `frame_table`.
_BASE, _IMAGE, _LEFT, _TOP = (tl.constexpr(number) for number in range(4))
_FIRST, _LAST, _OVERLAY, _MATRIX = (tl.constexpr(number) for number in range(4, 8))
_FIELDS = tl.constexpr(13)
#: Columns of `sprite_table`.
_SPRITE_FIELDS = tl.constexpr(8)
#: Words, bytes and bytes that a program of each kernel takes at once.
_LAID, _LAID_OVER, _PAINTED = 2048, 2048, 1024


def frame_table(packed: Packed) -> NDArray[np.int64]:
    """All about each frame but its sprites: int64 [frame, 13].

    Its base screen, image, canvas (x, y), its first shown sprite and the one after its last,
    and its overlay (image, a..f).
    """
    bounds = packed.starts[:-1], packed.starts[1:]
    columns = [packed.base[:, None], packed.image[:, None], packed.canvas]
    return np.concatenate([*columns, np.stack(bounds, axis=1), packed.overlay], axis=1)


def sprite_table(packed: Packed) -> NDArray[np.int32]:
    """The shown sprites: int32 [shown, 8].

    First pixel in the atlas, number of pixels, point (x, y) and bounds (x0, y0, x1, y1).
    """
    starts, number = packed.atlas.starts, packed.shown[:, 0]
    sizes = starts[number + 1] - starts[number]
    columns = [starts[number, None], sizes[:, None], packed.shown[:, 1:]]
    return np.concatenate(columns, axis=1).astype(np.int32)


class Kernels:
    """Frames of packed display lists, composed by Triton on the device of the images.

    ``bases`` uint8 [base, 360, 480, 3], ``images`` uint8 [image, 256, 256, 3], and the atlas's
    ``places``, ``weighted`` and ``rest`` (`bcprobe.gui.packing.Atlas`), all on that device.
    """

    def __init__(
        self,
        packed: Packed,
        bases: Tensor,
        images: Tensor,
        atlas: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        self.bases, self.images, self.atlas = bases, images.contiguous(), atlas
        self.frames = torch.from_numpy(frame_table(packed)).to(images.device)
        self.sprites = torch.from_numpy(sprite_table(packed)).to(images.device)
        self.overlaid = bool((packed.overlay[:, 0] >= 0).any())

    def compose(self, index: Tensor, out: Tensor) -> None:
        """Pixels of the frames ``index`` int64 [frame], into ``out`` uint8 [frame, 360, 480, 3]."""
        count, frames, images = len(index), self.frames, self.images
        if not count:
            return
        with torch.cuda.device_of(out):
            grid = count, triton.cdiv(_SCREEN_WORDS.value, _LAID)
            _lay[grid](_words(out), index, frames, _words(self.bases), _words(images), _LAID)
            if self.overlaid:
                grid = count, triton.cdiv(_CANVAS_BYTES.value, _LAID_OVER)
                _lay_over[grid](out, index, frames, images, _LAID_OVER)
            _paint[(count,)](out, index, frames, self.sprites, *self.atlas, _PAINTED, num_stages=1)


def check(device: torch.device) -> None:
    """Build and run a kernel on the device; raises whatever stands in the way."""
    done = torch.zeros(1, dtype=torch.int32, device=device)
    with torch.cuda.device_of(done):
        _touch[(1,)](done)


def _words(pixels: Tensor) -> Tensor:
    """The bytes of contiguous pixels, four in a word: uint32 [n]."""
    return pixels.view(-1).view(torch.uint32)


@triton.jit
def _touch(out):
    tl.store(out, 1)


@triton.jit
def _joined(low, high, shift):
    """The word that starts ``shift`` < 32 bits into two that follow each other, all uint32."""
    return (low >> shift) | ((high << 1) << (31 - shift))


@triton.jit
def _lay(out, index, frames, bases, images, block: tl.constexpr):
    """Write words of a frame: its base screen, and its image where the canvas lies.

    A canvas may start amid a word, at any of its bytes; all rows of it start at the same one.
    Program (frame, block of words); ``out``, ``bases`` and ``images`` uint32 words.
    """
    place = tl.program_id(0)
    frame = frames + tl.load(index + place) * _FIELDS
    left, top = tl.load(frame + _LEFT).to(tl.int32), tl.load(frame + _TOP).to(tl.int32)
    word = tl.program_id(1) * block + tl.arange(0, block)
    shown = word < _SCREEN_WORDS
    base = tl.load(bases + tl.load(frame + _BASE) * _SCREEN_WORDS + word, mask=shown, other=0)
    row, byte = word // _ROW_WORDS - top, (word % _ROW_WORDS) * 4 - left * 3
    column, shift = byte >> 2, ((left & 3) * 8).to(tl.uint32)
    inside = shown & (row >= 0) & (row < _SIZE)
    low = inside & (column >= 0) & (column < _CANVAS_ROW_WORDS)
    high = inside & (column >= -1) & (column < _CANVAS_ROW_WORDS - 1)
    source = images + tl.load(frame + _IMAGE) * _CANVAS_WORDS + row * _CANVAS_ROW_WORDS + column
    image = _joined(
        tl.load(source, mask=low, other=0), tl.load(source + 1, mask=high, other=0), shift
    )
    covered = _joined(
        tl.where(low, _ALL, 0).to(tl.uint32), tl.where(high, _ALL, 0).to(tl.uint32), shift
    )
    tl.store(
        out + place.to(tl.int64) * _SCREEN_WORDS + word, base ^ (base & covered) | image, mask=shown
    )


@triton.jit
def _lay_over(out, index, frames, images, block: tl.constexpr):
    """Raise bytes of a frame's canvas to those of its overlay, if it has one.

    Program (frame, block of the canvas's bytes); ``out`` and ``images`` uint8.
    """
    place = tl.program_id(0)
    frame = frames + tl.load(index + place) * _FIELDS
    number, matrix = tl.load(frame + _OVERLAY), frame + _MATRIX
    if number >= 0:
        byte = tl.program_id(1) * block + tl.arange(0, block)
        color, pixel = byte % 3, byte // 3
        x, y = pixel % _SIZE, pixel // _SIZE
        a, b, c = tl.load(matrix), tl.load(matrix + 1), tl.load(matrix + 2)
        d, e, f = tl.load(matrix + 3), tl.load(matrix + 4), tl.load(matrix + 5)
        column, row = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
        inside = (column >= 0) & (column < _SIZE) & (row >= 0) & (row < _SIZE) & (y < _SIZE)
        source = images + number * _CANVAS_BYTES + (row * _SIZE + column) * 3 + color
        x, y = x + tl.load(frame + _LEFT), y + tl.load(frame + _TOP)
        target = out + place.to(tl.int64) * _SCREEN_BYTES + (y * _WIDTH + x) * 3 + color
        over = tl.load(source, mask=inside, other=0).to(tl.int32)
        under = tl.load(target, mask=inside, other=0).to(tl.int32)
        tl.store(target, tl.maximum(over, under).to(tl.uint8), mask=inside)


@triton.jit
def _paint(
    out,
    index,
    frames,
    sprites,
    places,
    weighted,
    rest,
    block: tl.constexpr,
):
    """Blend a frame's sprites, one after another; a barrier parts those that may overlap.

    Program (frame); ``out`` uint8.
    """
    place = tl.program_id(0)
    frame = frames + tl.load(index + place) * _FIELDS
    pixels = out + place.to(tl.int64) * _SCREEN_BYTES
    number, last = tl.load(frame + _FIRST), tl.load(frame + _LAST)
    while number < last:
        sprite = sprites + number * _SPRITE_FIELDS
        first, count = tl.load(sprite).to(tl.int64), tl.load(sprite + 1) * 3
        left, top = tl.load(sprite + 2), tl.load(sprite + 3)
        x0, y0 = tl.load(sprite + 4), tl.load(sprite + 5)
        x1, y1 = tl.load(sprite + 6), tl.load(sprite + 7)
        start = 0
        while start < count:
            byte = start + tl.arange(0, block)
            shown, pixel = byte < count, byte // 3
            at = places + (first + pixel) * 2
            x = left + tl.load(at, mask=shown, other=0).to(tl.int32)
            y = top + tl.load(at + 1, mask=shown, other=0).to(tl.int32)
            inside = shown & (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
            target = pixels + (y * _WIDTH + x) * 3 + byte % 3
            under = tl.load(target, mask=inside, other=0).to(tl.int32)
            value = under * tl.load(rest + first + pixel, mask=inside, other=0)
            value += tl.load(weighted + first * 3 + byte, mask=inside, other=0)
            tl.store(target, (value // 255).to(tl.uint8), mask=inside)
            start += block
        tl.debug_barrier()
        number += 1
