from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcprobe.model.attention import ROTARY_BASE, Band, frame_mask, rotary_table, rotate
from bcprobe.model.transformer import ClickTransformer
from bcprobe.model.varlen import KERNELS, VaryingLengths

MakeModel = Callable[..., ClickTransformer]
MakeInputs = Callable[..., tuple[Tensor, Tensor]]
SEGMENTS = {
    "one episode": [[0] * 8, [4] * 8],
    "several": [[0, 0, 0, 1, 1, 1, 1, 1], [5, 5, 5, 5, 5, 5, 6, 7]],
}
segments = pytest.mark.parametrize("rows", SEGMENTS.values(), ids=list(SEGMENTS))


def allowed_frames(rows: list[list[int]], context: int) -> np.ndarray:
    """Whether frame i sees frame j, written out: bool [batch, frame, frame]."""
    count = len(rows[0])
    seen = np.zeros((len(rows), count, count), dtype=bool)
    for b, row in enumerate(rows):
        for i in range(count):
            for j in range(max(0, i - context + 1), i + 1):
                seen[b, i, j] = row[i] == row[j]
    return seen


def turned(x: np.ndarray) -> np.ndarray:
    """Rotary embedding of [frame, token, d] as complex numbers."""
    half = x.shape[-1] // 2
    speed = ROTARY_BASE ** -(np.arange(half) / half)
    turn = np.exp(1j * np.arange(len(x))[:, None, None] * speed)
    z = (x[..., :half] + 1j * x[..., half:]) * turn
    return np.concatenate([z.real, z.imag], axis=-1)


def reference(attention: Any, x: np.ndarray, rows: list[list[int]]) -> np.ndarray:
    """Attention with a dense mask in float64: [batch, frame * token, d] to the same."""
    config = attention.config
    tokens, heads, d = config.tokens_per_frame, config.n_heads, config.d_head
    weight, bias = (p.double().numpy() for p in (attention.qkv.weight, attention.qkv.bias))
    out_weight, out_bias = (p.double().numpy() for p in (attention.out.weight, attention.out.bias))
    mask = allowed_frames(rows, config.context).repeat(tokens, 1).repeat(tokens, 2)
    result = np.empty_like(x)
    for b in range(len(x)):
        q, k, v = np.split(x[b] @ weight.T + bias, 3, axis=-1)
        z = np.empty_like(q)
        for h in range(heads):
            part = slice(h * d, (h + 1) * d)
            query, key = (turned(y[:, part].reshape(-1, tokens, d)).reshape(-1, d) for y in (q, k))
            scores = np.where(mask[b], query @ key.T / np.sqrt(d), -np.inf)
            pattern = np.exp(scores - scores.max(-1, keepdims=True))
            z[:, part] = pattern / pattern.sum(-1, keepdims=True) @ v[:, part]
        result[b] = z @ out_weight.T + out_bias
    return result


def attend(model: ClickTransformer, x: Tensor, rows: list[list[int]]) -> Tensor:
    attention, config, ids = model.blocks[0].attn, model.config, torch.tensor(rows)
    table = rotary_table(torch.arange(len(rows[0])), config.d_head)
    window = Band(ids, config.context, config.tokens_per_frame)
    return attention(x, nn.Identity(), table, window, ids)


def stream(model: ClickTransformer, frames: int) -> Tensor:
    x = np.random.default_rng(1).normal(size=(2, frames * model.config.tokens_per_frame, 32))
    return torch.from_numpy(x).float()


@segments
@pytest.mark.parametrize("context", [1, 3, 8, 20])
@pytest.mark.parametrize("explicit", [False, True])
def test_attention_equals_a_dense_reference(
    make_model: MakeModel, rows: list[list[int]], context: int, explicit: bool
) -> None:
    model = make_model(context=context)
    x = stream(model, 8)
    wanted = reference(model.blocks[0].attn, x.double().numpy(), rows)
    hooks = [("blocks.0.attn.hook_pattern", lambda pattern, hook: pattern)] if explicit else []
    with model.hooks(fwd_hooks=hooks):
        found = attend(model, x, rows)
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5)


@pytest.mark.parametrize("context", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("frames", [1, 7, 12])
@pytest.mark.parametrize(
    ("dtype", "far"),
    [(torch.float64, {"atol": 1e-7, "rtol": 1e-7}), (torch.bfloat16, {"atol": 0.06, "rtol": 0.05})],
)
def test_gradients_of_every_kernel_are_those_of_a_masked_product(
    context: int, frames: int, dtype: torch.dtype, far: dict[str, float]
) -> None:
    generator = torch.Generator().manual_seed(0)
    segments = torch.tensor([[0] * frames, [0] * (frames // 2) + [1] * (frames - frames // 2)])
    shape = (2, frames, 3, 2, 4)
    inputs = [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(4)]
    mask = frame_mask(segments, context).repeat_interleave(3, 1).repeat_interleave(3, 2)[:, None]

    def dense(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        flat = (x.double().flatten(1, 2).transpose(1, 2) for x in (q, k, v))
        z = F.scaled_dot_product_attention(*flat, attn_mask=mask)
        return z.transpose(1, 2).unflatten(1, (frames, 3))

    found = []
    for mix in (*(kernel(segments, context, 3).attend for kernel in KERNELS.values()), dense):
        leaves = [x.clone().requires_grad_() for x in inputs[:3]]
        with torch.enable_grad():
            z = mix(*leaves)
            (z * inputs[3]).sum().backward()
        found.append([z.detach(), *(x.grad for x in leaves)])
    for kernel in found[:-1]:
        for one, other in zip(kernel, found[-1], strict=True):
            torch.testing.assert_close(one, other, check_dtype=False, **far)


@segments
def test_the_model_answers_the_same_by_every_kernel(
    model: ClickTransformer, make_inputs: MakeInputs, rows: list[list[int]]
) -> None:
    inputs = (*make_inputs(2, 8), torch.tensor(rows))
    plain = model(*inputs)
    model.attention_kernel = "varlen"
    other = model(*inputs)
    torch.testing.assert_close(plain.patches, other.patches, atol=1e-5, rtol=0)
    torch.testing.assert_close(plain.hidden, other.hidden, atol=1e-5, rtol=0)


def test_sequences_without_queries_hold_what_is_not_seen() -> None:
    window = VaryingLengths(torch.tensor([[0, 0, 0, 1]]), context=3, tokens=5)
    assert window.starts_q.diff().tolist() == [0, 5] * 4
    assert window.starts_k.diff().tolist() == [10, 5, 5, 10, 0, 15, 10, 5]


@segments
@pytest.mark.parametrize("site", ["hook_pattern", "hook_attn_scores"])
def test_the_explicit_pattern_gives_the_same_answer(
    model: ClickTransformer, make_inputs: MakeInputs, rows: list[list[int]], site: str
) -> None:
    inputs = (*make_inputs(2, 8), torch.tensor(rows))
    plain = model(*inputs)
    hook = (f"blocks.1.attn.{site}", lambda value, hook: value)
    hooked = model.run_with_hooks(*inputs, fwd_hooks=[hook])
    torch.testing.assert_close(plain.patches, hooked.patches, atol=1e-5, rtol=0)
    torch.testing.assert_close(plain.hidden, hooked.hidden, atol=1e-5, rtol=0)


@segments
def test_patterns_are_distributions_over_what_is_allowed(
    model: ClickTransformer, make_inputs: MakeInputs, rows: list[list[int]]
) -> None:
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(2)]
    inputs = (*make_inputs(2, 8), torch.tensor(rows))
    _, cache = model.run_with_cache(*inputs, names_filter=names)
    tokens = model.config.tokens_per_frame
    allowed = allowed_frames(rows, model.config.context).repeat(tokens, 1).repeat(tokens, 2)
    for name in names:
        pattern = cache[name]
        torch.testing.assert_close(pattern.sum(-1), torch.ones(pattern.shape[:-1]))
        mask = torch.from_numpy(allowed)[:, None].expand_as(pattern)
        assert (pattern[~mask] == 0).all()
        assert (pattern[mask] > 0).all()


@segments
def test_the_mask_is_the_written_out_one(rows: list[list[int]]) -> None:
    found = frame_mask(torch.tensor(rows), 3)
    np.testing.assert_array_equal(found.numpy(), allowed_frames(rows, 3))


def test_only_the_distance_in_time_counts() -> None:
    q, k = (
        torch.from_numpy(np.random.default_rng(i).normal(size=(1, 1, 1, 1, 16))) for i in (0, 1)
    )
    products = []
    for shift in (0, 5, 40):
        tables = [rotary_table(torch.tensor([t + shift]), 16) for t in (2, 9)]
        products.append((rotate(q, tables[0]) * rotate(k, tables[1])).sum())
    torch.testing.assert_close(torch.stack(products), products[0].expand(3), atol=1e-5, rtol=0)
