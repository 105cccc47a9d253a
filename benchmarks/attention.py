"""Attention over the window of frames, forward and backward, one layer of a preset.

On a CPU the band by plain products against the band by scaled_dot_product_attention, one core, in
bfloat16 and in float32; the model uses products in the first and the fused kernel in the second.
On CUDA the band (scaled_dot_product_attention) against FlashAttention over sequences of varying
length, both compiled, in bfloat16, with how far its values and gradients lie from the band's. The
model uses it where `attention_kernel` is ``varlen``.

    python benchmarks/attention.py --out benchmarks/attention.md
    python benchmarks/attention.py --presets small base large huge      # where there is a GPU
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from report import add_outputs, give
from torch import Tensor
from torch.nn import functional as F

from bcprobe.model.attention import Band, mix_by_products
from bcprobe.model.config import PRESETS, get_preset
from bcprobe.model.varlen import VaryingLengths

#: Presets with so many tokens in a frame are measured.
TOKENS = 128
FINE = [name for name, config in PRESETS.items() if config.tokens_per_frame == TOKENS]
#: Relative distance within which two kernels in bfloat16 agree.
CLOSE = 0.02


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


def compiled(window: type, name: str) -> Callable[..., Tensor]:
    config = get_preset(name)

    @torch.compile
    def attend(q: Tensor, k: Tensor, v: Tensor, segments: Tensor) -> Tensor:
        return window(segments, config.context, config.tokens_per_frame).attend(q, k, v)

    return attend


def two_episodes(parts: list[Tensor]) -> Tensor:
    """Segments of rows whose second half is another episode."""
    segments = torch.zeros(parts[0].shape[:2], dtype=torch.long, device=parts[0].device)
    segments[:, parts[0].shape[1] // 2 :] = 1
    return segments


def milliseconds(attend: Callable[..., Tensor], parts: list[Tensor], repeats: int) -> float:
    """Median time of building the window's mask and attending once."""
    segments, times = two_episodes(parts), []
    for _ in range(repeats + 3):
        torch.cuda.synchronize()
        began = time.perf_counter()
        attend(*parts, segments).sum().backward()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times[3:]))


def values_and_gradients(attend: Callable[..., Tensor], parts: list[Tensor]) -> list[Tensor]:
    for part in parts:
        part.grad = None
    z = attend(*parts, two_episodes(parts))
    z.backward(torch.ones_like(z) + z.detach())
    return [z.detach().float(), *(part.grad.float() for part in parts if part.grad is not None)]


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The band against sequences of varying length on CUDA, and how far apart they are."""
    parts = inputs(name, options.rows, options.frames, torch.device("cuda"))
    band, varlen = (compiled(kind, name) for kind in (Band, VaryingLengths))
    pairs = zip(*(values_and_gradients(one, parts) for one in (varlen, band)), strict=True)
    apart = max(float((a - b).norm() / b.norm()) for a, b in pairs)
    ours, theirs = (milliseconds(one, parts, options.repeats) for one in (band, varlen))
    return {
        "preset": name,
        "type": "bfloat16",
        "ours_ms": ours,
        "other_ms": theirs,
        "apart": apart,
        "agree": apart < CLOSE,
    }


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
    found, values = [], []
    for mix in (mix_by_products, F.scaled_dot_product_attention):
        times = []
        for _ in range(repeats + 2):
            began = time.perf_counter()
            z = mix(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask)
            z.sum().backward()
            times.append(time.perf_counter() - began)
        found.append(1e3 * float(np.median(times[2:])))
        values.append(z.detach().float())
    named = str(dtype).removeprefix("torch.")
    apart = float((values[0] - values[1]).norm() / values[1].norm())
    return {
        "preset": name,
        "type": named,
        "ours_ms": found[0],
        "other_ms": found[1],
        "apart": apart,
        "agree": apart < CLOSE,
    }


def markdown(rows: list[dict[str, Any]], names: tuple[str, str], command: str) -> str:
    lines = [
        "# Attention",
        "",
        f"`{command}`, torch {torch.__version__}",
        "",
        f"| preset | type | {names[0]}, ms | {names[1]}, ms | speed-up | apart |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['preset']} | {row['type']} | {row['ours_ms']:.2f} | {row['other_ms']:.2f} "
        f"| {row['other_ms'] / row['ours_ms']:.2f} | {row['apart']:.1e} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="*", default=["small"], choices=FINE)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=9)
    add_outputs(parser)
    options = parser.parse_args()
    if torch.cuda.is_available():
        names = ("the band", "varying lengths")
        rows = [measure(name, options) for name in options.presets]
    else:
        torch.set_num_threads(1)
        kinds = (torch.bfloat16, torch.float32)
        names = ("products", "scaled_dot_product_attention")
        rows = [measure_cpu("nano", kind, options.repeats) for kind in kinds]
    text = markdown(rows, names, " ".join(["python", *sys.argv]))
    give(rows, text, options)


if __name__ == "__main__":
    main()
