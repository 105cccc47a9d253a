"""The window of frames as attention over sequences of varying length: FlashAttention on a GPU.

Each frame is a sequence of queries, whose keys are the tokens of the frames that it sees, gathered
once a layer. The frames of its window that it does not see (those before its episode began) are
the keys of a sequence without queries, so that every shape stays the same from batch to batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bcprobe.model.attention import Band, Window, frame_mask

#: ``mix(q, k, v, starts_q, starts_k, longest_q, longest_k)``: values [query, head, d_head] of
#: sequences bounded by int32 [sequence + 1], from packed q, k, v [token, head, d_head].
Mix = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int], Tensor]


class VaryingLengths:
    """The frames each frame attends to, as sequences of their own; `Band` gives the same."""

    def __init__(self, segments: Tensor, context: int, tokens: int, mix: Mix | None = None) -> None:
        self.batch, self.count = segments.shape
        self.tokens, self.context = tokens, context
        self.mix = mix or (mix_on_gpu if segments.is_cuda else mix_by_loops)
        padded = F.pad(segments, (context - 1, 0), value=-1)
        number = torch.arange(self.count, device=segments.device)
        window = number[:, None] + torch.arange(context, device=segments.device)  # in the padded
        allowed = frame_mask(padded, context)[:, number + context - 1]  # (batch, frame, padded)
        seen = allowed.gather(2, window.expand(self.batch, -1, -1)).flatten(0, 1)
        order = seen.to(torch.uint8).argsort(dim=-1, stable=True)  # the unseen first
        frames = (window - (context - 1)).clamp(min=0)
        rows = torch.arange(self.batch, device=segments.device)[:, None, None] * self.count
        self.frames = (frames + rows).flatten(0, 1).gather(1, order)  # (batch * frame, context)
        count = seen.sum(-1)
        keys = torch.stack([context - count, count], dim=1) * tokens
        queries = torch.tensor([0, tokens], device=segments.device).expand_as(keys)
        self.starts_q, self.starts_k = (
            F.pad(lengths.flatten().cumsum(0), (1, 0)).to(torch.int32)
            for lengths in (queries, keys)
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mixed values, all [batch, frame, token, head, d_head]."""
        shape, heads = q.shape, q.shape[3:]
        k, v = (x.flatten(0, 1)[self.frames].reshape(-1, *heads) for x in (k, v))
        longest = self.tokens, self.context * self.tokens
        return self.mix(q.flatten(0, 2), k, v, self.starts_q, self.starts_k, *longest).view(shape)


def mix_by_loops(
    q: Tensor, k: Tensor, v: Tensor, starts_q: Tensor, starts_k: Tensor, *_: int
) -> Tensor:
    """The plain form of what the kernel does: one sequence after another, on any device."""
    found = []
    for sequence in range(len(starts_q) - 1):
        own = slice(int(starts_q[sequence]), int(starts_q[sequence + 1]))
        seen = slice(int(starts_k[sequence]), int(starts_k[sequence + 1]))
        scores = torch.einsum("qhd,khd->hqk", q[own], k[seen]) / math.sqrt(q.shape[-1])
        found.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[seen]))
    return torch.cat(found)


def mix_on_gpu(
    q: Tensor, k: Tensor, v: Tensor, starts_q: Tensor, starts_k: Tensor, *longest: int
) -> Tensor:
    """FlashAttention in bfloat16, by torch's ``varlen_attn``.

    Its first seven arguments are the same from torch 2.10 to 2.13; what follows them is not.
    """
    from torch.nn.attention.varlen import varlen_attn

    low = [x.to(torch.bfloat16) for x in (q, k, v)]
    arguments: list[Any] = [*low, starts_q, starts_k, *longest]
    found: Any = varlen_attn(*arguments)
    return found.to(q.dtype)


#: Kernels by name; they give the same numbers. The band is the reference and the CPU's way.
KERNELS: dict[str, Callable[[Tensor, int, int], Window]] = {"band": Band, "varlen": VaryingLengths}
