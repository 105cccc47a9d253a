"""Arithmetic that a step needs, counted from the shape of the network."""

from __future__ import annotations

import math
from itertools import pairwise

from bcprobe.model.config import ClickTransformerConfig
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

#: Dense bfloat16 peak in FLOP/s, by a part of the device's name; the first that fits counts.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}


def frame_flops(config: ClickTransformerConfig) -> float:
    """FLOPs of one frame's forward pass in a full window: matrix products and attention.

    A multiplication with its addition counts two. Norms, softmax and the GELU are left out,
    and so are a frozen encoder and the pointer's offsets, which are computed where they are
    asked for.
    """
    d, tokens = config.d_model, config.tokens_per_frame
    linear = tokens * d * d * (4 + 2 * config.mlp_ratio)
    attention = 2 * tokens * tokens * config.context * d
    head = config.n_patches * 2 * d * d + 2 * d * d
    if config.cell_channels:
        cells = config.n_patches * math.prod(config.split)
        head += cells * (config.cell_channels + 1) * d
    if config.head == "independent":
        head = d * (SCREEN_WIDTH + SCREEN_HEIGHT)
    return 2.0 * (config.n_layers * (linear + attention) + head + _stem(config))


def _stem(config: ClickTransformerConfig) -> int:
    """Multiplications of the convolutional stem; those of a frozen encoder are not counted."""
    if config.encoder != "patch":
        return 0
    pixels, total = SCREEN_WIDTH * SCREEN_HEIGHT, 0
    channels = [3, *(stage[2] for stage in config.stem)]
    for (width, height, _), (before, after) in zip(config.stem, pairwise(channels), strict=True):
        total += pixels * before * after
        pixels //= width * height
    return total


def step_flops(config: ClickTransformerConfig, frames: int) -> float:
    """FLOPs to learn from so many frames: forward, and twice that backward."""
    return 3 * frames * frame_flops(config)


def peak_flops(device_name: str) -> float:
    """Peak of a device in bfloat16, FLOP/s; nan where it is not known."""
    return next((peak for part, peak in PEAKS.items() if part in device_name), math.nan)
