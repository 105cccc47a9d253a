"""FlexAttention over blocks of frames against scaled_dot_product_attention over the band.

Forward and backward of one layer's attention at a preset's shape, both compiled, in bfloat16.
The model uses FlexAttention on CUDA only, and only there is it timed.

    python benchmarks/attention.py --presets small base large huge
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bcprobe.model.attention import FLEX_TOKENS, Band, Blocks
from bcprobe.model.config import PRESETS, get_preset

#: Presets whose frames have as many tokens as a tile of FlexAttention.
FINE = [name for name, config in PRESETS.items() if config.tokens_per_frame == FLEX_TOKENS]


def inputs(name: str, rows: int, frames: int, device: torch.device) -> list[Tensor]:
    config = get_preset(name)
    shape = (rows, frames, config.tokens_per_frame, config.n_heads, config.d_head)
    generator = torch.Generator(device).manual_seed(0)
    return [
        torch.randn(
            shape,
            generator=generator,
            device=device,
            dtype=torch.bfloat16,
            requires_grad=True,
        )
        for _ in range(3)
    ]


def milliseconds(window: type, name: str, parts: list[Tensor], repeats: int) -> float:
    """Median time of building the window's mask and attending once."""
    config, device = get_preset(name), parts[0].device
    segments = torch.zeros(parts[0].shape[:2], dtype=torch.long, device=device)
    segments[:, parts[0].shape[1] // 2 :] = 1

    @torch.compile
    def attend(q: Tensor, k: Tensor, v: Tensor, segments: Tensor) -> Tensor:
        return window(segments, config.context, config.tokens_per_frame).attend(q, k, v)

    times = []
    for _ in range(repeats + 3):
        torch.cuda.synchronize()
        began = time.perf_counter()
        attend(*parts, segments).sum().backward()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times[3:]))


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    parts = inputs(name, options.rows, options.frames, torch.device("cuda"))
    flex, band = (milliseconds(kind, name, parts, options.repeats) for kind in (Blocks, Band))
    return {"preset": name, "flex_ms": flex, "band_ms": band, "speedup": band / flex}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="*", default=["small"], choices=FINE)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        return print("nothing to time: there is no CUDA device here")
    rows = [measure(name, options) for name in options.presets]
    if options.json:
        return print(json.dumps(rows, indent=1))
    print("| preset | FlexAttention, ms | banded SDPA, ms | speed-up |\n|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['preset']} | {row['flex_ms']:.2f} | {row['band_ms']:.2f} "
            f"| {row['speedup']:.2f} |"
        )


if __name__ == "__main__":
    main()
