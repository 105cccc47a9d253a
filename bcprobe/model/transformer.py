"""ClickTransformer: looks at screens and predicts the next click."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformer_lens import ActivationCache, HookedRootModule
from transformer_lens.hook_points import HookPoint

from bcprobe.errors import InputError, check_name
from bcprobe.model.attention import Attention, Band, KeyValues, rotary_table
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.encoder import FrameEncoder
from bcprobe.model.heads import IndependentClicks, PointerClicks, make_head

Clicks = PointerClicks | IndependentClicks
EPS = 1e-5


class Norm(nn.Module):
    """Layer norm with TransformerLens's hooks on its scale and its result."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))
        self.hook_scale, self.hook_normalized = HookPoint(), HookPoint()

    def forward(self, x: Tensor) -> Tensor:
        """Normalised [..., d_model]; the scale is computed apart only while it is hooked."""
        if self.hook_scale.has_hooks():
            x = x - x.mean(-1, keepdim=True)
            x = x / self.hook_scale((x.square().mean(-1, keepdim=True) + EPS).sqrt())
            return self.hook_normalized(x * self.w + self.b)
        return self.hook_normalized(F.layer_norm(x, x.shape[-1:], self.w, self.b, EPS))


class MLP(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        width = config.mlp_ratio * config.d_model
        self.into, self.out = nn.Linear(config.d_model, width), nn.Linear(width, config.d_model)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, x: Tensor) -> Tensor:
        """[..., d_model] to the same."""
        return self.out(self.hook_post(F.gelu(self.hook_pre(self.into(x)))))


class Block(nn.Module):
    """Pre-norm attention and MLP around the residual stream."""

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.ln1, self.attn = Norm(config.d_model), Attention(config)
        self.ln2, self.mlp = Norm(config.d_model), MLP(config)
        self.hook_resid_pre, self.hook_attn_out = HookPoint(), HookPoint()
        self.hook_resid_mid, self.hook_mlp_out = HookPoint(), HookPoint()
        self.hook_resid_post = HookPoint()

    def forward(self, x: Tensor, attend: Callable[[Attention, Tensor], Tensor]) -> Tensor:
        """Residual stream [batch, pos, d_model] after the block."""
        x = self.hook_resid_pre(x)
        x = self.hook_resid_mid(x + self.hook_attn_out(attend(self.attn, self.ln1(x))))
        return self.hook_resid_post(x + self.hook_mlp_out(self.mlp(self.ln2(x))))


class RingCache:
    """Keys and values of the frames seen last, for stepping through live episodes."""

    def __init__(self, n_layers: int) -> None:
        self.layers = [KeyValues() for _ in range(n_layers)]
        self.frames = 0

    def select(self, rows: Tensor) -> None:
        """Keep some episodes of the batch, by index."""
        for layer in self.layers:
            layer.select(rows)


class ClickTransformer(HookedRootModule):  # type: ignore[misc]
    """Transformer from screens and previous clicks to the next click.

    Activations stand under TransformerLens's names (``blocks.0.hook_resid_post``,
    ``blocks.0.attn.hook_pattern``, ``ln_final.hook_normalized``...), the residual stream as
    [batch, frame * token, d_model]; `cls_positions` names the [cls] tokens.
    """

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = FrameEncoder(config)
        self.hook_embed, self.hook_cells = HookPoint(), HookPoint()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_final = Norm(config.d_model)
        self.head = make_head(config)
        self._initialise()
        self.setup()

    def _initialise(self) -> None:
        """Normal weights by fan-in; residual outputs scaled down by depth."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and module.weight.requires_grad:
                into_stream = name.endswith((".attn.out", ".mlp.out"))
                scale = (2 * self.config.n_layers) ** -0.5 if into_stream else 1.0
                nn.init.normal_(module.weight, std=scale * module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def hooked(self) -> bool:
        """Whether a hook is set. A compiled pass would skip it silently: run eagerly then."""
        return any(point.has_hooks() for point in self.hook_dict.values())

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def cls_positions(self, frames: int) -> Tensor:
        """Positions of [cls] in the residual stream of so many frames: int64 [frame]."""
        per_frame = self.config.tokens_per_frame
        return torch.arange(frames, device=self.device) * per_frame + self.config.cls_index

    def forward(self, frames: Tensor, previous: Tensor, segments: Tensor | None = None) -> Clicks:
        """Distribution of the click after each frame.

        ``frames`` uint8 [batch, frame, 3, 360, 480], or what ``encoder.see`` made of them,
        [batch, frame, patch, width]; ``previous`` int64 [batch, frame, 2], the click that led
        to each frame in px, (-1, -1) for none; ``segments`` int64 [batch, frame] keeps several
        episodes in one row apart (default: one episode a row).
        """
        batch, count = frames.shape[:2]
        if segments is None:
            segments = torch.zeros(batch, count, dtype=torch.long, device=frames.device)
        x, cells = self._embed(frames, previous)
        table = rotary_table(torch.arange(count, device=x.device), self.config.d_head)
        window = Band(segments, self.config.context, self.config.tokens_per_frame)
        for block in self.blocks:
            x = block(x, lambda attention, h: attention(h, table, window, segments))
        return self.read(x, cells)

    def _embed(self, frames: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """First residual stream [batch, frame * token, d_model], and the cells the head reads."""
        tokens, cells = self.encoder(frames, previous)
        return self.hook_embed(tokens.flatten(1, 2)), self.hook_cells(cells)

    def read(self, residual: Tensor, cells: Tensor) -> Clicks:
        """Distribution read from a residual stream [batch, frame * token, d_model].

        ``cells`` [batch, frame, patch, cell, channel] is what stood at ``hook_cells``. From the
        last layer this is the model's answer; from an earlier one it is the *click lens*, the
        final norm and head applied before their time.
        """
        x = self.ln_final(residual).unflatten(1, (-1, self.config.tokens_per_frame))
        patches, cls = x[:, :, : self.config.n_patches], x[:, :, self.config.cls_index]
        return self.head(patches, cls, cells)

    def start_cache(self) -> RingCache:
        """Empty cache for `step`."""
        return RingCache(self.config.n_layers)

    def step(self, frames: Tensor, previous: Tensor, cache: RingCache) -> Clicks:
        """Distribution of the click after one more frame of each live episode.

        ``frames`` uint8 [batch, 3, 360, 480] (or [batch, patch, width], see `forward`),
        ``previous`` int64 [batch, 2]. Equal to the full pass over the whole episode; the cache
        moves on.
        """
        x, cells = self._embed(frames[:, None], previous[:, None])
        table = rotary_table(torch.tensor([cache.frames], device=x.device), self.config.d_head)
        for block, ring in zip(self.blocks, cache.layers, strict=True):
            x = block(x, lambda attention, h, ring=ring: attention.step(h, table, ring))
        cache.frames += 1
        return self.read(x, cells)

    def run_with_cache(
        self, *inputs: Any, names_filter: Any = None, **options: Any
    ) -> tuple[Clicks, ActivationCache]:
        """Distribution and the activations named by ``names_filter`` (default: all).

        ``names_filter`` is a hook name, a list of names, or a function of a name. Raises
        `InputError` for a name that is no hook, or a filter that keeps nothing.
        """
        if names_filter is not None:
            names_filter = self._check_hooks(names_filter)
        clicks, cache = super().run_with_cache(*inputs, names_filter=names_filter, **options)
        return clicks, ActivationCache(cache, self)

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        from bcprobe.model.html import to_html

        return to_html(self)

    def add_hook(self, name: Any, *hook: Any, **options: Any) -> None:
        """Add a hook. Raises `InputError` with the nearest name if there is no such hook."""
        self._check_hooks(name)
        super().add_hook(name, *hook, **options)

    def hooks(self, fwd_hooks: Any = (), bwd_hooks: Any = (), *a: Any, **k: Any) -> Any:
        """Context with temporary hooks; `run_with_hooks` uses it. Raises as `add_hook`."""
        for name, _ in (*fwd_hooks, *bwd_hooks):
            self._check_hooks(name)
        return super().hooks(fwd_hooks, bwd_hooks, *a, **k)

    def _check_hooks(self, names: Any) -> Any:
        """A filter as TransformerLens takes it; raises `InputError` if it names no hook."""
        if callable(names):
            found = any(names(name) for name in self.hook_dict)
        else:
            names = [names] if isinstance(names, str) else list(names)
            found = all(check_name("hook", name, self.hook_dict) for name in names) and names
        if not found:
            raise InputError(f"the filter keeps none of the model's {len(self.hook_dict)} hooks")
        return names
