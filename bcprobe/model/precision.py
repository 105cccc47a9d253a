"""The type of matrix products: float32, or bfloat16 where a device multiplies it natively."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def own_precision(name: str, metadata: Mapping[str, Any], device: torch.device) -> torch.dtype:
    """Type of the products of a trained model; ``auto`` is what its checkpoint asks for.

    A checkpoint that was trained with products in bfloat16 may ask for them (``products`` in its
    metadata): it gets them where the device has them, else float32. Raises `InputError` as
    `pick_precision`.
    """
    if name == "auto" and metadata.get("products") != "bf16":
        name = "fp32"
    return pick_precision(name, device)


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
