"""From pixels and the previous click to the tokens of a frame."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.dino import DinoEncoder
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

Size = tuple[int, int]
OCTAVES = 7
#: Grey levels per unit of the network's input.
SCALE = 64.0


class PatchEncoder(nn.Module):
    """Non-overlapping convolutions from pixels to patch tokens, trained along.

    Each stage is written as a matrix product over its own pixels, since the stages do not
    overlap and the frames lie in memory channels last.
    """

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.config = config
        channels = [3, *(stage[2] for stage in config.stem)]
        self.stages = nn.ModuleList(
            nn.Linear(width * height * before, after)
            for (width, height, _), (before, after) in zip(
                config.stem, pairwise(channels), strict=True
            )
        )
        columns, rows = config.grid
        self.position = nn.Parameter(0.02 * torch.randn(rows * columns, config.d_model))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens [n, patch, d_model] of uint8 frames [n, 3, 360, 480], and their cells.

        Those are the features of the last stage but one, a patch's row by row:
        [n, patch, cell * channel].
        """
        sizes = [(width, height) for width, height, _ in self.config.stem]
        first, second = (cast(nn.Linear, stage) for stage in list(self.stages)[:2])
        weight, bias = first.weight / SCALE, first.bias - first.weight.sum(1)  # pixels / 64 - 1
        x = _PixelStages.apply(frames, weight, bias, second.weight, second.bias, *sizes[:2])
        cells = x[..., :0]
        for number in range(2, len(sizes)):
            cells = _blocks(x.relu(), *sizes[number])  # (n, rows, columns, cell * channel)
            x = self.stages[number](cells)
        return x.flatten(1, 2) + self.position, cells.flatten(1, 2)


class _PixelStages(torch.autograd.Function):
    """The first two stages: blocks of pixels through a matrix and a ReLU, and blocks of those.

    On the CPU a few frames at a time, so that pixels as floats and the gradient between the
    stages lie in the processor's cache only; the backward pass finds the pixels as bytes
    (``benchmarks/training.md``).
    """

    @staticmethod
    def forward(
        ctx: Any,
        frames: Tensor,
        weight: Tensor,
        bias: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        block: Size,
        block2: Size,
    ) -> Tensor:
        """[n, rows, columns, channels] of uint8 frames [n, 3, 360, 480]."""
        dtype = _product_dtype(weight)
        pixels, middle, out = [], [], []
        for some in frames.split(_few(frames)):
            pixels.append(_pixel_blocks(some, *block))
            x = F.linear(pixels[-1].to(dtype), weight, bias).relu_()
            middle.append(_blocks(x, *block2))
            out.append(F.linear(middle[-1], weight2, bias2))
        ctx.save_for_backward(weight2, *pixels, *middle)
        ctx.block2, ctx.shape = block2, weight.shape
        return torch.cat(out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Gradients of weights and biases; pixels have none."""
        weight2, *saved = ctx.saved_tensors
        pixels, middle = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        (width, height), second = ctx.block2, weight2.to(grad.dtype)
        outputs, inputs = ctx.shape
        weight, bias = grad.new_zeros(inputs, outputs), grad.new_zeros(outputs)
        by_weight2 = torch.zeros_like(second)
        for x, y, g in zip(pixels, middle, grad.split(len(pixels[0])), strict=True):
            g2 = g.flatten(0, 2)
            by_weight2.addmm_(g2.T, y.flatten(0, 2))
            g = torch.ops.aten.threshold_backward((g2 @ second).view(y.shape), y, 0)
            g = _spread(g, width, height, outputs).flatten(0, 2)
            weight.addmm_(x.to(g.dtype).flatten(0, 2).T, g)
            bias.add_(g.sum(0))
        return None, weight.T, bias, by_weight2, grad.sum((0, 1, 2)), None, None


def _product_dtype(weight: Tensor) -> torch.dtype:
    """Type in which matrix products run here; bfloat16 holds the pixels' 0-255 exactly."""
    kind = weight.device.type
    lower = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if lower else weight.dtype


def _few(frames: Tensor) -> int:
    """How many frames to work on at a time: their pixels fit into a processor's cache."""
    return len(frames) if frames.is_cuda else 2


def _pixel_blocks(frames: Tensor, width: int, height: int) -> Tensor:
    """Blocks of pixels, uint8 [n, rows, columns, block], of frames [n, 3, 360, 480].

    Where a block's row is a whole number of 8-byte words it is moved as words, three times
    as fast as byte by byte.
    """
    x = frames.permute(0, 2, 3, 1).flatten(2)[..., None]  # (n, 360, 480 * 3, 1)
    if width * 3 % 8:
        return _blocks(x, width * 3, height)
    words = x.squeeze(-1).view(torch.int64)[..., None]  # (n, 360, 480 * 3 / 8, 1)
    return _blocks(words, width * 3 // 8, height).view(torch.uint8)


def _blocks(x: Tensor, width: int, height: int) -> Tensor:
    """Gather blocks: [n, h, w, c] to [n, h / height, w / width, height * width * c]."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // height, height, w // width, width * c).transpose(2, 3)
    return x.reshape(n, h // height, w // width, height * width * c)


def _spread(x: Tensor, width: int, height: int, channels: int) -> Tensor:
    """Undo `_blocks`: [n, rows, columns, block] to [n, h, w, channels]."""
    n, rows, columns, _ = x.shape
    x = x.view(n, rows, columns, height, width * channels).transpose(2, 3)
    return x.reshape(n, rows * height, columns * width, channels)


class ClickEncoder(nn.Module):
    """The previous click as one token: Fourier features of its place, or a learned none."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.project = nn.Linear(4 * OCTAVES + 2, d_model)
        self.none = nn.Parameter(0.02 * torch.randn(d_model))

    def forward(self, clicks: Tensor) -> Tensor:
        """Tokens [..., d_model] of clicks int64 [..., 2] in px; (-1, -1) is no click."""
        dtype = self.none.dtype
        size = torch.tensor([SCREEN_WIDTH, SCREEN_HEIGHT], device=clicks.device)
        place = (clicks.to(dtype) + 0.5) / size.to(dtype)
        scales = math.pi * 2.0 ** torch.arange(OCTAVES, device=clicks.device, dtype=dtype)
        angles = (place[..., None] * scales).flatten(-2)  # (..., 2 * octaves)
        features = torch.cat([2 * place - 1, angles.sin(), angles.cos()], dim=-1)
        return torch.where(clicks[..., :1] < 0, self.none, self.project(features))


class FrameEncoder(nn.Module):
    """All tokens of a frame: patches, previous click, registers, [cls]."""

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.n_cells = math.prod(config.split) if config.cell_channels else 0
        #: Patches and width of a frame as `see` gives it.
        self.seen = config.n_patches, config.d_model + self.n_cells * config.cell_channels
        self.patches = DinoEncoder(config) if config.encoder == "dinov2" else PatchEncoder(config)
        self.click = ClickEncoder(config.d_model)
        self.extra = nn.Parameter(0.02 * torch.randn(config.n_registers + 1, config.d_model))

    def see(self, frames: Tensor) -> Tensor:
        """What is made of uint8 frames [n, 3, 360, 480], to be kept: [n, patch, width].

        A patch's token, d_model wide, and after it the features of its cells if the head reads
        them.
        """
        return torch.cat(self._look(frames), dim=-1)

    def forward(self, frames: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [batch, frame, token, d_model] of frames uint8 [batch, frame, 3, 360, 480].

        Second are the cells the head reads: [batch, frame, patch, cell, channel], of no channel if
        it reads none. Frames seen before may be given as what `see` made of them.
        """
        batch, count = frames.shape[:2]
        if frames.is_floating_point():
            width = self.extra.shape[-1]
            patches, cells = frames.split([width, frames.shape[-1] - width], dim=-1)
        else:
            seen = self._look(frames.flatten(0, 1))
            patches, cells = (part.unflatten(0, (batch, count)) for part in seen)
        click = self.click(previous)[:, :, None]  # (batch, frame, 1, d_model)
        extra = self.extra.expand(batch, count, -1, -1)
        tokens = torch.cat([patches, click, extra], dim=2)
        return tokens, cells.unflatten(-1, (max(1, self.n_cells), -1))

    def _look(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens [n, patch, d_model] and their cells [n, patch, cell * channel]."""
        tokens, cells = self.patches(frames)
        return tokens, cells if self.n_cells else cells[..., :0]
