"""The processes that train one model together; one alone is the same with nobody to ask."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.distributed.nn  # imported later its functions would keep the group as a default
from torch import Tensor

from bcprobe.errors import InputError


@dataclass(frozen=True)
class Processes:
    """This process, number ``rank`` of ``count``; number 0 is the main one, which writes."""

    rank: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
        """Whether this process writes, validates and reports."""
        return self.rank == 0

    def rows(self, total: int) -> slice:
        """This process's share of a batch's rows."""
        share = total // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, rows: Tensor) -> Tensor:
        """All rows of a batch, from each process's share."""
        if self.count == 1:
            return rows
        shares = [torch.empty_like(rows) for _ in range(self.count)]
        dist.all_gather(shares, rows.contiguous())
        return torch.cat(shares)

    def highest(self, number: int) -> int:
        """The highest of the processes' numbers; a GPU is not waited for."""
        if self.count == 1:
            return number
        found = torch.tensor(number)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def main_first(self, work: Callable[[], None]) -> None:
        """Let the main process work while the others wait. What it refuses, all refuse."""
        refusal: list[str | None] = [None]
        if self.main:
            try:
                work()
            except InputError as error:
                refusal = [str(error)]
        if self.count > 1:
            dist.broadcast_object_list(refusal, device=torch.device("cpu"))
        if refusal[0] is not None:
            raise InputError(refusal[0])


def launched_as_main() -> bool:
    """Whether a launcher made this process number 0, or there was none."""
    return os.environ.get("RANK", "0") == "0"


def join_processes(device: torch.device) -> Processes:
    """The processes that ``accelerate launch`` or ``torchrun`` started, or this one alone.

    Once joined they stay so until the interpreter ends.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes()
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        atexit.register(_end_group)
    return Processes(dist.get_rank(), count)


def _end_group() -> None:
    """End the process group with its threads, which must not outlive the interpreter.

    A thread that lets go of a tensor of Python's while the interpreter ends aborts the process.
    The group ends with its last holder, and trained models are holders.
    """
    gc.collect()
    dist.destroy_process_group()
