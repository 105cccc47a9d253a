"""Patch tokens from a frozen DINOv2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcprobe.errors import InputError
from bcprobe.model.config import ClickTransformerConfig

#: Mean and standard deviation of the pixels (0-255) DINOv2 was trained on, by channel.
MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
#: Its patches, across and down, that are averaged into one of ours.
POOL = 2


class DinoEncoder(nn.Module):
    """Frames through a frozen DINOv2, its patches pooled to the grid and projected.

    Its weights are in no checkpoint: a checkpoint names them (``encoder_weights``), and they
    are read from there. Raises `InputError` if there are none.
    """

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.grid = config.grid
        self.backbone = load_backbone(config.encoder_weights)
        self.project = nn.Linear(self.backbone.config.hidden_size, config.d_model)
        columns, rows = config.grid
        self.position = nn.Parameter(0.02 * torch.randn(rows * columns, config.d_model))
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_pre_hook(_put_back)

    def train(self, mode: bool = True) -> DinoEncoder:
        """Set the mode of everything but the backbone, which stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens [n, patch, d_model] of uint8 frames [n, 3, 360, 480], and no cells."""
        (columns, rows), side = self.grid, self.backbone.config.patch_size * POOL
        mean, deviation = (
            torch.tensor(values, device=frames.device)[:, None, None]
            for values in (MEAN, DEVIATION)
        )
        with torch.no_grad():
            x = (frames.to(mean.dtype) - mean) / deviation
            x = F.interpolate(x, (rows * side, columns * side), mode="bilinear", antialias=True)
            x = self.backbone(x).last_hidden_state[:, -rows * columns * POOL**2 :]
            x = x.mT.unflatten(2, (rows * POOL, columns * POOL))  # (n, width, rows, columns)
            x = F.avg_pool2d(x, POOL).flatten(2).mT  # (n, patch, width)
        tokens = self.project(x) + self.position
        return tokens, tokens[..., :0]


def load_backbone(name: str) -> Any:
    """Frozen DINOv2 of a hub id or a local folder. Raises `InputError` if it cannot be had."""
    try:
        from transformers import Dinov2Model
    except ImportError as error:
        raise InputError("encoder dinov2 needs transformers; install bcprobe[dinov2]") from error
    try:
        model = Dinov2Model.from_pretrained(name)
    except Exception as error:
        raise InputError(
            f"no DINOv2 weights at '{name}' ({type(error).__name__}); "
            "set encoder_weights to a hub id that can be reached or a local folder"
        ) from error
    return model.requires_grad_(False).eval()


def _leave_out(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}backbone.")]:
        del state[name]


def _put_back(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    backbone: Any = module.backbone
    state.update({f"{prefix}backbone.{name}": t for name, t in backbone.state_dict().items()})
