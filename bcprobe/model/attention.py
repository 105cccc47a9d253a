"""Attention over frames: everything within a frame, and the frames before it in a window."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformer_lens.hook_points import HookPoint

from bcprobe.model.config import ClickTransformerConfig

ROTARY_BASE = 100.0
#: Tokens of a frame from which the block mask of FlexAttention is exact: its tile's side.
FLEX_TOKENS = 128


def rotary_table(frames: Tensor, d_head: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [frame, d_head] of the rotary angles of frame numbers."""
    speeds = ROTARY_BASE ** -(torch.arange(0, d_head, 2, device=frames.device) / d_head)
    angles = torch.cat([frames[:, None] * speeds] * 2, dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate [batch, frame, token, head, d_head] by its frames' angles."""
    cos, sin = (part[:, None, None].to(x.dtype) for part in table)
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-high, low], dim=-1) * sin


def frame_mask(segments: Tensor, context: int) -> Tensor:
    """Whether frame i attends to frame j: bool [batch, frame, frame].

    ``segments`` int [batch, frame] keeps episodes apart.
    """
    number = torch.arange(segments.shape[1], device=segments.device)
    ago = number[:, None] - number[None, :]
    window = (ago >= 0) & (ago < context)
    return window & (segments[:, :, None] == segments[:, None, :])


class Window(Protocol):
    """The frames each frame attends to: built once a forward pass, shared by all layers."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mixed values, all [batch, frame, token, head, d_head]."""
        ...


def make_window(segments: Tensor, context: int, tokens: int) -> Window:
    """`Blocks` in a compiled pass on CUDA over frames of `FLEX_TOKENS` tokens, else a `Band`."""
    if torch.compiler.is_compiling() and segments.is_cuda and tokens == FLEX_TOKENS:
        return Blocks(segments, context, tokens)
    return Band(segments, context, tokens)


class Blocks:
    """The window as blocks of a frame by a frame, each wholly seen or not at all.

    For FlexAttention: no score is masked one by one. Uncompiled it computes every score.
    """

    def __init__(self, segments: Tensor, context: int, tokens: int) -> None:
        allowed = frame_mask(segments, context)
        self.tokens = tokens
        seen = allowed.sum(-1, dtype=torch.int32)[:, None]  # (batch, 1, frame)
        order = allowed.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
        order = order.to(torch.int32)[:, None]  # (batch, 1, frame, frame)
        self.mask = BlockMask.from_kv_blocks(
            torch.zeros_like(seen),
            order,
            seen,
            order,
            BLOCK_SIZE=tokens,
            mask_mod=lambda b, h, query, key: allowed[b, query // tokens, key // tokens],
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Window`."""
        q, k, v = (part.flatten(1, 2).transpose(1, 2) for part in (q, k, v))
        z = flex_attention(q, k, v, block_mask=self.mask)  # (batch, head, frame * token, d)
        return z.transpose(1, 2).unflatten(1, (-1, self.tokens))


class Band:
    """The window as a band: frames in chunks of ``context``, each with the chunk before it."""

    def __init__(self, segments: Tensor, context: int, tokens: int) -> None:
        self.count = segments.shape[1]
        self.context, self.tokens = context, tokens
        self.padding = -self.count % context
        self.chunks = (self.count + self.padding) // context
        padded = F.pad(segments, (context, self.padding), value=-1)  # one chunk of nothing first
        allowed = frame_mask(padded, context)
        own = torch.arange(context, device=segments.device)
        rows = context * (1 + torch.arange(self.chunks, device=segments.device))
        query = rows[:, None] + own  # (chunk, context)
        key = rows[:, None] - context + torch.arange(2 * context, device=segments.device)
        mask = allowed[:, query[:, :, None], key[:, None, :]]  # (batch, chunk, context, 2 context)
        mask = mask.repeat_interleave(tokens, 2).repeat_interleave(tokens, 3)
        self.mask = mask.flatten(0, 1)[:, None]  # (batch * chunk, 1, query token, key token)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Window`."""
        z = F.scaled_dot_product_attention(
            self.queries(q), self.keys(k), self.keys(v), attn_mask=self.mask
        )
        return self.back(z, len(q))

    def queries(self, x: Tensor) -> Tensor:
        """[batch, frame, token, head, d] to [batch * chunk, head, context * token, d]."""
        x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, self.padding))
        x = x.unflatten(1, (self.chunks, self.context)).flatten(2, 3).flatten(0, 1)
        return x.transpose(1, 2)

    def keys(self, x: Tensor) -> Tensor:
        """[batch, frame, token, head, d] to [batch * chunk, head, 2 * context * token, d]."""
        x = F.pad(x, (0, 0, 0, 0, 0, 0, self.context, self.padding))
        x = x.unflatten(1, (self.chunks + 1, self.context)).flatten(2, 3)
        return torch.cat([x[:, :-1], x[:, 1:]], dim=2).flatten(0, 1).transpose(1, 2)

    def back(self, z: Tensor, batch: int) -> Tensor:
        """[batch * chunk, head, context * token, d] to [batch, frame, token, head, d]."""
        z = z.transpose(1, 2).unflatten(0, (batch, self.chunks))
        z = z.unflatten(2, (self.context, self.tokens)).flatten(1, 2)
        return z[:, : self.count]


class KeyValues:
    """Keys and values of one layer's last frames: a ring of ``context - 1`` frames.

    ``k`` and ``v`` are [batch, frame, token, head, d_head], oldest first.
    """

    def __init__(self) -> None:
        self.k: Tensor | None = None
        self.v: Tensor | None = None

    def extend(self, k: Tensor, v: Tensor, context: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the window with the new frame; the oldest frame drops out."""
        if self.k is not None and self.v is not None:
            k, v = torch.cat([self.k, k], dim=1), torch.cat([self.v, v], dim=1)
        start = max(0, k.shape[1] - (context - 1))
        self.k, self.v = k[:, start:], v[:, start:]
        return k, v

    def select(self, rows: Tensor) -> None:
        """Keep some rows of the batch."""
        if self.k is not None and self.v is not None:
            self.k, self.v = self.k[rows], self.v[rows]


class Attention(nn.Module):
    """Multi-head attention with TransformerLens's hook names; time is rotary over frames.

    While a hook stands on ``hook_attn_scores`` or ``hook_pattern`` the whole pattern is
    computed; otherwise the window's own attention runs.
    """

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()
        self.hook_z = HookPoint()

    def forward(
        self, x: Tensor, table: tuple[Tensor, Tensor], window: Window, segments: Tensor
    ) -> Tensor:
        """Attend within windows: [batch, frame * token, d_model] to the same."""
        q, k, v = self._project(x, table)
        if self._explicit():
            z = self._whole(q, k, v, segments)
        else:
            z = window.attend(q, k, v).flatten(1, 2)  # (batch, frame * token, head, d_head)
        return self.out(self.hook_z(z).flatten(-2))

    def step(self, x: Tensor, table: tuple[Tensor, Tensor], ring: KeyValues) -> Tensor:
        """Attend from one new frame [batch, token, d_model] to the ring and itself."""
        q, k, v = self._project(x, table)
        k, v = ring.extend(k, v, self.config.context)
        if self._explicit():
            segments = torch.zeros(k.shape[:2], dtype=torch.long, device=x.device)
            z = self._whole(q, k, v, segments)
        else:
            q, k, v = (part.flatten(1, 2).transpose(1, 2) for part in (q, k, v))
            z = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.out(self.hook_z(z).flatten(-2))

    def _explicit(self) -> bool:
        return self.hook_attn_scores.has_hooks() or self.hook_pattern.has_hooks()

    def _project(self, x: Tensor, table: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, rotated keys, values: [batch, frame, token, head, d_head]."""
        tokens, heads = self.config.tokens_per_frame, self.config.n_heads
        q, k, v = self.qkv(x).unflatten(-1, (3, heads, -1)).unbind(2)
        q, k, v = self.hook_q(q), self.hook_k(k), self.hook_v(v)  # (batch, pos, head, d_head)
        q, k, v = (part.unflatten(1, (-1, tokens)) for part in (q, k, v))
        return rotate(q, table), rotate(k, table), v

    def _whole(self, q: Tensor, k: Tensor, v: Tensor, segments: Tensor) -> Tensor:
        """Attend through the explicit pattern [batch, head, query, key]."""
        tokens, frames = q.shape[2], q.shape[1]
        allowed = frame_mask(segments, self.config.context)[:, -frames:]
        allowed = allowed.repeat_interleave(tokens, 1).repeat_interleave(tokens, 2)[:, None]
        q, k, v = (part.flatten(1, 2).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.mT / math.sqrt(self.config.d_head)
        scores = self.hook_attn_scores(scores.masked_fill(~allowed, float("-inf")))
        pattern = self.hook_pattern(scores.softmax(-1))
        return (pattern @ v).transpose(1, 2)
