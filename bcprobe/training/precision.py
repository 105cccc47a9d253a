"""In which numbers a training step multiplies matrices."""

from __future__ import annotations

import torch

from bcprobe.errors import check_name

PRECISIONS = ("auto", "bf16", "fp32")


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Type of matrix products: bfloat16 by default wherever the device multiplies it natively.

    That is a GPU, or a CPU with AVX512-BF16 or AMX, where a step takes half as long
    (``benchmarks/training.md``). Weights, norms and the residual stream stay in float32. Raises
    `InputError` for a name not in `PRECISIONS`.
    """
    check_name("precision", name, PRECISIONS)
    if name == "auto":
        name = "bf16" if device.type == "cuda" or cpu_multiplies_bf16() else "fp32"
    return torch.bfloat16 if name == "bf16" else torch.float32


def cpu_multiplies_bf16() -> bool:
    """Whether this processor has instructions for products in bfloat16."""
    known: dict[str, bool] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # torch 2.11 does not say
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def products_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """Context in which matrix products run in that type."""
    lower = precision != torch.float32
    return torch.autocast(device.type, torch.bfloat16, enabled=lower)
