"""Attention over frames: everything within a frame, and the frames before it in a window."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformer_lens.hook_points import HookPoint

from bcprobe.model.config import ClickTransformerConfig

ROTARY_BASE = 100.0
#: Tokens a frame from which on a CPU attends frame by frame.
SPAN_TOKENS = 64
EPS = 1e-5


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
    """The frames each frame attends to, ready to be attended to by every layer."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mixed values, all [batch, frame, token, head, d_head]."""
        ...


class Band:
    """The frames each frame attends to, as a band: a few frames at a time with those before them.

    Built once a forward pass and shared by all layers, compiled or not. FlexAttention over the same
    blocks of frames is faster on an H200, but with torch 2.11 its gradients there were wrong and
    training diverged (``benchmarks/attention.md``).

    The frames of all rows stand in one line, so that every few has the same place relative
    to the last; what it sees of another row is masked like any other episode. Keys and values
    are views into that line, copied once and not once a chunk (``benchmarks/training.md``).

    On a CPU without gradients each frame's keys are cut out for it and nothing is masked, where its
    tokens are many enough to fill the products alone (``benchmarks/small.md``).
    """

    def __init__(self, segments: Tensor, context: int, tokens: int) -> None:
        self.batch, self.count = segments.shape
        self.spans: list[tuple[int, int]] | None = None
        large = tokens >= SPAN_TOKENS and not segments.is_cuda
        if large and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            self.spans = _spans(segments, context)
        if self.spans is not None:
            return
        self.few = -(-context // 2)  # fewer waste less on masked frames, more fill the products
        self.window = self.few + context - 1
        self.padding = -self.count % self.few
        padded = F.pad(segments, (context - 1, self.padding), value=-1)
        allowed = frame_mask(padded, context)  # (batch, frame, frame)
        first = torch.arange(0, self.count, self.few, device=segments.device)[:, None]
        query = first + context - 1 + torch.arange(self.few, device=segments.device)
        key = first + torch.arange(self.window, device=segments.device)
        mask = allowed[:, query[:, :, None], key[:, None, :]]  # (batch, chunk, few, window)
        mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, float("-inf"))
        mask = mask.repeat_interleave(tokens, 2).repeat_interleave(tokens, 3)
        self.mask = mask.flatten(0, 1)[:, None]  # (batch * chunk, 1, query token, key token)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mixed values, all [batch, frame, token, head, d_head]."""
        if self.spans is not None:
            return self._attend_spans(q, k, v, self.spans)
        q, k, v = (self._line(part) for part in (q, k, v))
        q = q.unflatten(0, (-1, self.few)).flatten(1, 2).transpose(1, 2)
        k, v = (_Windows.apply(x, self.few, self.window).transpose(1, 2) for x in (k, v))
        z = mix(q, k, v, self.mask.to(q.dtype))
        z = z.transpose(1, 2).unflatten(1, (self.few, -1))  # (chunk, few, token, head, d)
        return z.flatten(0, 1).unflatten(0, (self.batch, -1))[:, : self.count]

    def _attend_spans(
        self, q: Tensor, k: Tensor, v: Tensor, spans: list[tuple[int, int]]
    ) -> Tensor:
        tokens = q.shape[2]
        # (head, token of all rows, d_head), so that a span is one block of a head's keys
        q, k, v = (part.flatten(0, 2).transpose(0, 1).contiguous() for part in (q, k, v))
        z = torch.empty_like(q)
        for frame, (first, last) in enumerate(spans):
            own = slice(frame * tokens, (frame + 1) * tokens)
            seen = slice(first * tokens, last * tokens)
            z[:, own] = mix(q[:, own], k[:, seen], v[:, seen])
        return z.transpose(0, 1).unflatten(0, (self.batch, self.count, tokens))

    def _line(self, x: Tensor) -> Tensor:
        """[batch, frame, token, head, d] to [batch * padded frame, token, head, d]."""
        if self.padding:
            x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, self.padding))
        return x.flatten(0, 1)


def _spans(segments: Tensor, context: int) -> list[tuple[int, int]] | None:
    """First and last (exclusive) of the frames that each frame attends to, all rows in a line.

    None if an episode's frames do not stand together.
    """
    spans = []
    for row, own in enumerate(segments.tolist()):
        first = 0
        seen = set()
        for frame, segment in enumerate(own):
            if frame and segment != own[frame - 1]:
                first = frame
                if segment in seen:
                    return None
            seen.add(segment)
            start = row * len(own)
            spans.append((start + max(first, frame - context + 1), start + frame + 1))
    return spans


def mix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Values [..., head, query, d_head] mixed by their scores plus ``mask``.

    In bfloat16 on a CPU plain products are two to four times as fast as the fused kernel, forward
    and backward (torch 2.13, ``benchmarks/attention.md``).
    """
    if q.dtype == torch.bfloat16 and not q.is_cuda:
        return mix_by_products(q, k, v, mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def mix_by_products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """What scaled_dot_product_attention gives, by two matrix products and a softmax."""
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    return (scores if mask is None else scores + mask).softmax(-1) @ v


class _Windows(torch.autograd.Function):
    """Overlapping windows of a line of frames, one for each few frames, ending with them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, few: int, window: int) -> Tensor:
        """[frame, token, head, d] to [frame / few, window * token, head, d]."""
        ctx.few, ctx.window = few, window
        line = x.new_zeros(window - few + len(x), *x.shape[1:])
        line[window - few :] = x
        windows = line.unfold(0, window, few).movedim(-1, 1)  # (chunk, window, token, head, d)
        return windows.flatten(1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """Sum over the windows in which a frame stood."""
        few, window = ctx.few, ctx.window
        grad = grad.unflatten(1, (window, -1))  # (chunk, window, token, head, d)
        chunks = -(-window // few)
        line = grad.new_zeros(len(grad) + chunks - 1, few, *grad.shape[2:])
        for number in range(chunks):
            part = grad[:, number * few : (number + 1) * few]
            line[number : number + len(grad), : part.shape[1]] += part
        return line.flatten(0, 1)[window - few : window - few + len(grad) * few], None, None


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

    def ordered(self, x: Tensor) -> Tensor:
        """What `extend` gave with the oldest frame first, as it is."""
        return x

    def select(self, rows: Tensor) -> None:
        """Keep some rows of the batch."""
        if self.k is not None and self.v is not None:
            self.k, self.v = self.k[rows], self.v[rows]


class Ring(KeyValues):
    """The same in room for ``context`` frames: a new frame is written over the oldest one.

    What has been attended to is not copied again, which was a quarter of a step's time
    (``benchmarks/small.md``), and attention asks for no order. ``k`` and ``v`` are
    [batch, head, frame, token, d_head].
    """

    def __init__(self) -> None:
        super().__init__()
        self.frames = 0

    def extend(self, k: Tensor, v: Tensor, context: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the window with the new frame, in no order of its frames."""
        k, v = (part.permute(0, 3, 1, 2, 4) for part in (k, v))  # (batch, head, 1, token, d_head)
        if self.k is None or self.v is None:
            shape = (*k.shape[:2], context, *k.shape[3:])
            self.k, self.v = k.new_empty(shape), v.new_empty(shape)
        place = self.frames % context
        self.k[:, :, place : place + 1], self.v[:, :, place : place + 1] = k, v
        self.frames += 1
        held = min(self.frames, context)
        return self.k[:, :, :held].permute(0, 2, 3, 1, 4), self.v[:, :, :held].permute(
            0, 2, 3, 1, 4
        )

    def ordered(self, x: Tensor) -> Tensor:
        """What `extend` gave with the oldest frame first."""
        return x.roll(-(self.frames % x.shape[1]), 1)


def is_hooked(*points: HookPoint) -> bool:
    """Whether a hook, forward or backward, stands on one of them."""
    for point in points:  # noqa: SIM110, asked at every pass: a loop is twice as fast as any()
        if point.fwd_hooks or point.bwd_hooks:
            return True
    return False


class Norm(nn.Module):
    """Layer norm with TransformerLens's hooks on its scale and its result."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))
        self.hook_scale, self.hook_normalized = HookPoint(), HookPoint()

    def forward(self, x: Tensor) -> Tensor:
        """Normalised [..., d_model]; the scale is computed apart only while it is hooked."""
        if is_hooked(self.hook_scale):
            x = x - x.mean(-1, keepdim=True)
            x = x / self.hook_scale((x.square().mean(-1, keepdim=True) + EPS).sqrt())
            return self.hook_normalized(x * self.w + self.b)
        return self.hook_normalized(self.normalise(x))

    def normalise(self, x: Tensor) -> Tensor:
        """The same past the hooks."""
        return F.layer_norm(x, x.shape[-1:], self.w, self.b, EPS)


def attention_scores(
    q: Tensor, k: Tensor, segments: Tensor, config: ClickTransformerConfig
) -> Tensor:
    """Scores [batch, head, query, key] of rotated ``q`` and ``k`` [batch, pos, head, d_head].

    Minus infinity where a query does not look. The queries are those of the last frames of
    ``segments`` [batch, frame], the keys those of all.
    """
    tokens = config.tokens_per_frame
    allowed = frame_mask(segments, config.context)[:, -(q.shape[1] // tokens) :]
    allowed = allowed.repeat_interleave(tokens, 1).repeat_interleave(tokens, 2)[:, None]
    scores = q.transpose(1, 2) @ k.transpose(1, 2).mT / math.sqrt(config.d_head)
    return scores.masked_fill(~allowed, float("-inf"))


class Attention(nn.Module):
    """Multi-head attention with TransformerLens's hooks and weights; time is rotary over frames.

    What costs memory is made only while it is hooked: ``hook_attn_scores`` and ``hook_pattern``
    [batch, head, query, key] (otherwise the window's own attention runs), ``hook_result``, each
    head's share of the output [batch, pos, head, d_model], and the heads' own copies of the
    residual stream, [batch, pos, head, d_model]: ``hook_attn_in`` for queries, keys and values
    together, ``hook_q_input``, ``hook_k_input``, ``hook_v_input`` for each.
    """

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)
        self.hook_attn_in, self.hook_q_input = HookPoint(), HookPoint()
        self.hook_k_input, self.hook_v_input = HookPoint(), HookPoint()
        self._copies = self.hook_attn_in, self.hook_q_input, self.hook_k_input, self.hook_v_input
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        self.hook_rot_q, self.hook_rot_k = HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()
        self.hook_z, self.hook_result = HookPoint(), HookPoint()

    def forward(
        self,
        x: Tensor,
        norm: Norm,
        table: tuple[Tensor, Tensor],
        window: Window,
        segments: Tensor,
    ) -> Tensor:
        """Attend within windows: residual stream [batch, frame * token, d_model] to the same."""
        q, k, v = self._project(x, norm, table)
        if is_hooked(self.hook_attn_scores, self.hook_pattern):
            return self._write(self._whole(q, k, v, segments))
        z = window.attend(q, k, v).flatten(1, 2)  # (batch, frame * token, head, d_head)
        return self._write(z)

    def step(self, x: Tensor, norm: Norm, table: tuple[Tensor, Tensor], ring: KeyValues) -> Tensor:
        """Attend from one new frame [batch, token, d_model] to the ring and itself."""
        q, k, v = self._project(x, norm, table)
        k, v = ring.extend(k, v, self.config.context)
        if is_hooked(self.hook_attn_scores, self.hook_pattern):
            k, v = ring.ordered(k), ring.ordered(v)
            segments = torch.zeros(k.shape[:2], dtype=torch.long, device=x.device)
            return self._write(self._whole(q, k, v, segments))
        q, k, v = (part.flatten(1, 2).transpose(1, 2) for part in (q, k, v))
        return self._write(mix(q, k, v).transpose(1, 2))

    def _project(
        self, x: Tensor, norm: Norm, table: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, rotated keys, values: [batch, frame, token, head, d_head]."""
        tokens, heads = self.config.tokens_per_frame, self.config.n_heads
        q, k, v = self.qkv(norm(x)).unflatten(-1, (3, heads, -1)).unbind(2)
        if is_hooked(*self._copies):
            q, k, v = self._project_copies(x, norm)
        q, k, v = self.hook_q(q), self.hook_k(k), self.hook_v(v)  # (batch, pos, head, d_head)
        q, k, v = (part.unflatten(1, (-1, tokens)) for part in (q, k, v))
        q, k = rotate(q, table), rotate(k, table)
        if is_hooked(self.hook_rot_q, self.hook_rot_k):
            q = self.hook_rot_q(q.flatten(1, 2)).unflatten(1, (-1, tokens))
            k = self.hook_rot_k(k.flatten(1, 2)).unflatten(1, (-1, tokens))
        return q, k, v

    def _project_copies(self, x: Tensor, norm: Norm) -> list[Tensor]:
        """Queries, keys, values [batch, pos, head, d_head], each head from a copy of its own."""
        copies = x[:, :, None].expand(-1, -1, self.config.n_heads, -1)
        copies = self.hook_attn_in(copies.clone())
        weights = zip(
            (self.hook_q_input, self.hook_k_input, self.hook_v_input),
            (self.W_Q, self.W_K, self.W_V),
            (self.b_Q, self.b_K, self.b_V),
            strict=True,
        )
        return [
            torch.einsum("bphd,hdk->bphk", norm.normalise(hook(copies.clone())), weight) + bias
            for hook, weight, bias in weights
        ]

    def _whole(self, q: Tensor, k: Tensor, v: Tensor, segments: Tensor) -> Tensor:
        """Attend through the explicit pattern [batch, head, query, key]."""
        q, k, v = (part.flatten(1, 2) for part in (q, k, v))
        scores = self.hook_attn_scores(attention_scores(q, k, segments, self.config))
        return (self.hook_pattern(scores.softmax(-1)) @ v.transpose(1, 2)).transpose(1, 2)

    def _write(self, z: Tensor) -> Tensor:
        """Output [batch, pos, d_model] of the mixed values [batch, pos, head, d_head]."""
        z = self.hook_z(z)
        if is_hooked(self.hook_result):
            result = self.hook_result(torch.einsum("bphk,hkd->bphd", z, self.W_O))
            return result.sum(2) + self.b_O
        return self.out(z.flatten(-2))

    @property
    def W_Q(self) -> Tensor:
        """Query weights, a view: [head, d_model, d_head]."""
        return self._of_qkv(self.qkv.weight, 0).mT

    @property
    def W_K(self) -> Tensor:
        """Key weights, a view: [head, d_model, d_head]."""
        return self._of_qkv(self.qkv.weight, 1).mT

    @property
    def W_V(self) -> Tensor:
        """Value weights, a view: [head, d_model, d_head]."""
        return self._of_qkv(self.qkv.weight, 2).mT

    @property
    def W_O(self) -> Tensor:
        """Output weights, a view: [head, d_head, d_model]."""
        return self.out.weight.T.unflatten(0, (self.config.n_heads, -1))

    @property
    def b_Q(self) -> Tensor:
        """Query biases, a view: [head, d_head]."""
        return self._of_qkv(self.qkv.bias, 0)

    @property
    def b_K(self) -> Tensor:
        """Key biases, a view: [head, d_head]."""
        return self._of_qkv(self.qkv.bias, 1)

    @property
    def b_V(self) -> Tensor:
        """Value biases, a view: [head, d_head]."""
        return self._of_qkv(self.qkv.bias, 2)

    @property
    def b_O(self) -> Tensor:
        """Output bias [d_model]."""
        return self.out.bias

    def _of_qkv(self, parameter: Tensor, part: int) -> Tensor:
        """One of queries, keys and values: [head, d_head, ...]."""
        return parameter.unflatten(0, (3, self.config.n_heads, -1))[part]
