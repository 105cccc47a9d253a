"""The forward pass of a training step: its precision, compiled on a GPU, shared among processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bcprobe.errors import InputError, check_name
from bcprobe.model.transformer import ClickTransformer
from bcprobe.training.batch import Batch
from bcprobe.training.processes import Processes

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


class ClickLoss(nn.Module):
    """NLL of the recorded clicks under a model."""

    def __init__(self, model: ClickTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        frames: Tensor,
        previous: Tensor,
        segments: Tensor,
        targets: Tensor,
        across: Tensor | None = None,
        down: Tensor | None = None,
    ) -> Tensor:
        """NLL [row, frame] in nats, of inputs shaped as in `Batch`.

        With ``across`` and ``down`` its mean over that distribution.
        """
        clicks = self.model(frames, previous, segments)
        if across is not None and down is not None:
            return clicks.cross_entropy(across, down)
        nll: Tensor = -clicks.click_log_prob(targets)
        return nll


class Forward:
    """NLL of a batch's rows, ready for the backward pass.

    Compiled on CUDA, eager elsewhere and while a hook is set; the gradients of several
    processes are averaged. On a CPU a compiled step is slower (``benchmarks/compiled.md``).
    """

    def __init__(
        self,
        model: ClickTransformer,
        processes: Processes,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.model, self.cuda = model, model.device.type == "cuda"
        self.precision = precision
        loss: Any = ClickLoss(model)
        loss = torch.compile(loss) if self.cuda else loss
        self.loss = DistributedDataParallel(loss) if processes.count > 1 else loss

    def __call__(self, batch: Batch) -> Tensor:
        """NLL [row, frame] in nats."""
        eager = self.cuda and self.model.hooked
        with (
            torch.compiler.set_stance("force_eager") if eager else nullcontext(),
            products_in(self.precision, self.model.device),
        ):
            inputs = (batch.frames, batch.previous, batch.segments, batch.targets)
            nll: Tensor = self.loss(*inputs, batch.across, batch.down)
        return nll

    def local(self, local: bool) -> AbstractContextManager[None]:
        """Context in which gradients stay in this process, if ``local``."""
        several = isinstance(self.loss, DistributedDataParallel)
        return self.loss.no_sync() if local and several else nullcontext()


#: Fields of a batch that hold no other process's rows.
_OWN = ("frames", "across", "down")


def parts(batch: Batch, rows: slice, number: int, device: torch.device) -> Iterator[Batch]:
    """The ``rows`` that a batch shows, in equal parts, one by one on the device."""
    size = (rows.stop - rows.start) // number
    held = {f.name: x for f in fields(Batch) if (x := getattr(batch, f.name)) is not None}
    own = {name: x if name in _OWN else x[rows] for name, x in held.items()}
    for start in range(0, rows.stop - rows.start, size):
        yield Batch(**{name: x[start : start + size] for name, x in own.items()}).to(device)


def check_parts(rows: int, count: int, accumulation: int) -> None:
    """Raise `InputError` unless ``rows`` divide among processes and parts of a step."""
    if rows % (count * accumulation):
        raise InputError(
            f"{rows} rows do not divide among {count} processes of {accumulation} parts; "
            "change accumulation or the number of processes"
        )
