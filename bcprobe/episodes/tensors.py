"""Episodes as a model takes them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bcprobe.episodes.record import frames
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Episode


def as_tensors(episode: Episode) -> tuple[Tensor, Tensor]:
    """Frames uint8 [1, frame, 3, 360, 480] and previous clicks int64 [1, frame, 2] in px.

    The previous click of the first frame is (-1, -1). Frames lie channels last in memory.
    """
    pixels = np.empty((1, len(episode), SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)
    for t, frame in enumerate(frames(episode)):
        pixels[0, t] = frame
    clicks = [(-1, -1), *(step.click for step in episode.steps[:-1])]
    return torch.from_numpy(pixels).permute(0, 1, 4, 2, 3), torch.tensor([clicks])
