"""The forward pass of a training step: compiled on a GPU, shared among processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bcprobe.errors import InputError
from bcprobe.model.precision import products_in
from bcprobe.model.transformer import ClickTransformer
from bcprobe.training.batch import Batch
from bcprobe.training.processes import Processes


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
