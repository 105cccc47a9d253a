"""Attention over the window of frames, forward and backward, one layer of a preset.

On a CPU the band by plain products against the band by scaled_dot_product_attention, one core, in
bfloat16 and in float32; the model uses products in the first and the fused kernel in the second.
On CUDA FlexAttention over blocks of frames against scaled_dot_product_attention over the band,
both compiled, in bfloat16; the model uses FlexAttention there, and only there is it timed.

    python benchmarks/attention.py --out benchmarks/attention.md
    python benchmarks/attention.py --presets small base large huge      # where there is a GPU
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcprobe.files import atomic_file
from bcprobe.model.attention import FLEX_TOKENS, Band, Blocks, mix_by_products
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
    """FlexAttention against the band on CUDA."""
    parts = inputs(name, options.rows, options.frames, torch.device("cuda"))
    flex, band = (milliseconds(kind, name, parts, options.repeats) for kind in (Blocks, Band))
    return {"preset": name, "type": "bfloat16", "ours_ms": flex, "sdpa_ms": band}


def measure_cpu(name: str, dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    """Plain products against the fused kernel over the chunks of a band, four rows of 32 frames."""
    config = get_preset(name)
    band = Band(torch.zeros(4, 32, dtype=torch.long), config.context, config.tokens_per_frame)
    generator = torch.Generator().manual_seed(0)
    chunks, mask = len(band.mask), band.mask.to(dtype)
    q, k, v = (
        torch.randn(chunks, frames * config.tokens_per_frame, config.n_heads, config.d_head,
                    generator=generator).to(dtype).requires_grad_()
        for frames in (band.few, band.window, band.window)
    )  # fmt: skip
    found = []
    for mix in (mix_by_products, F.scaled_dot_product_attention):
        times = []
        for _ in range(repeats + 2):
            began = time.perf_counter()
            mix(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask).sum().backward()
            times.append(time.perf_counter() - began)
        found.append(1e3 * float(np.median(times[2:])))
    named = str(dtype).removeprefix("torch.")
    return {"preset": name, "type": named, "ours_ms": found[0], "sdpa_ms": found[1]}


def markdown(rows: list[dict[str, Any]], ours: str, command: str) -> str:
    lines = [
        "# Attention",
        "",
        f"`{command}`, torch {torch.__version__}",
        "",
        f"| preset | type | {ours}, ms | scaled_dot_product_attention, ms | speed-up |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['preset']} | {row['type']} | {row['ours_ms']:.2f} | {row['sdpa_ms']:.2f} "
        f"| {row['sdpa_ms'] / row['ours_ms']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="*", default=["small"], choices=FINE)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    if torch.cuda.is_available():
        ours, rows = "FlexAttention", [measure(name, options) for name in options.presets]
    else:
        torch.set_num_threads(1)
        kinds = (torch.bfloat16, torch.float32)
        ours, rows = "products", [measure_cpu("nano", kind, options.repeats) for kind in kinds]
    text = markdown(rows, ours, "python benchmarks/attention.py")
    print(json.dumps(rows, indent=1) if options.json else text)
    if options.out:
        with atomic_file(options.out) as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    main()
