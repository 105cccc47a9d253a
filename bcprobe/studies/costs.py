"""What training and inference are estimated to take, in seconds of one CPU core or one GPU.

Rates are those of a server core with products in bfloat16 (one without takes twice as long;
``benchmarks/training.md``) and, for a GPU, of an H100 whose frames are composed where they are
learned from; a plan is an estimate, not a promise.
"""

from __future__ import annotations

from dataclasses import dataclass

from bcprobe.model.config import ClickTransformerConfig
from bcprobe.training.flops import frame_flops


@dataclass(frozen=True)
class Rate:
    """``frame``: seconds to make a frame and feed it to the network; ``flops``: FLOP/s of the
    network; ``start``: seconds before the first step."""

    frame: float
    flops: float
    start: float

    def training(self, config: ClickTransformerConfig, frames: int) -> float:
        """Seconds to learn from so many frames."""
        return self.start + frames * (self.frame + 3 * frame_flops(config) / self.flops)

    def inference(self, config: ClickTransformerConfig, frames: int) -> float:
        """Seconds to answer so many frames, which a CPU core makes."""
        return frames * (CPU.frame + frame_flops(config) / self.flops)


CPU = Rate(frame=1.0e-3, flops=2.0e11, start=15.0)
GPU = Rate(frame=4e-4, flops=2.0e13, start=60.0)
RATES = {"cpu": CPU, "gpu": GPU}
