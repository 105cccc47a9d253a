"""ClickTransformer: looks at screens and predicts the next click."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformer_lens.hook_points import HookPoint

from bcprobe.model.attention import Attention, Norm, Ring, is_hooked, rotary_table
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.encoder import FrameEncoder
from bcprobe.model.heads import Clicks, make_head
from bcprobe.model.hooked import HookedModel
from bcprobe.model.inputs import Inputs, Watched
from bcprobe.model.varlen import KERNELS


class MLP(nn.Module):
    """Two layers with a GELU between, under TransformerLens's names."""

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        width = config.mlp_ratio * config.d_model
        self.into, self.out = nn.Linear(config.d_model, width), nn.Linear(width, config.d_model)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, x: Tensor) -> Tensor:
        """[..., d_model] to the same."""
        return self.out(self.hook_post(F.gelu(self.hook_pre(self.into(x)))))

    @property
    def W_in(self) -> Tensor:
        """Weights from the residual stream, a view: [d_model, d_mlp]."""
        return self.into.weight.T

    @property
    def W_out(self) -> Tensor:
        """Weights back to the residual stream, a view: [d_mlp, d_model]."""
        return self.out.weight.T

    @property
    def b_in(self) -> Tensor:
        """Biases of the neurons [d_mlp]."""
        return self.into.bias

    @property
    def b_out(self) -> Tensor:
        """Output bias [d_model]."""
        return self.out.bias


class Block(nn.Module):
    """Pre-norm attention and MLP around the residual stream.

    ``hook_mlp_in`` is the MLP's own copy of the stream, made only while it is hooked: an edit
    there reaches the MLP and nothing else.
    """

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.ln1, self.attn = Norm(config.d_model), Attention(config)
        self.ln2, self.mlp = Norm(config.d_model), MLP(config)
        self.hook_resid_pre, self.hook_attn_out = HookPoint(), HookPoint()
        self.hook_resid_mid, self.hook_mlp_in = HookPoint(), HookPoint()
        self.hook_mlp_out, self.hook_resid_post = HookPoint(), HookPoint()

    def forward(self, x: Tensor, attend: Callable[[Attention, Tensor, Norm], Tensor]) -> Tensor:
        """Residual stream [batch, pos, d_model] after the block."""
        x = self.hook_resid_pre(x)
        x = self.hook_resid_mid(x + self.hook_attn_out(attend(self.attn, x, self.ln1)))
        read = self.hook_mlp_in(x.clone()) if is_hooked(self.hook_mlp_in) else x
        return self.hook_resid_post(x + self.hook_mlp_out(self.mlp(self.ln2(read))))


class RingCache:
    """Keys and values of the frames seen last, for stepping through live episodes."""

    def __init__(self, n_layers: int) -> None:
        self.layers = [Ring() for _ in range(n_layers)]
        self.frames = 0

    def select(self, rows: Tensor) -> None:
        """Keep some episodes of the batch, by index."""
        for layer in self.layers:
            layer.select(rows)


class ClickTransformer(HookedModel):
    """Transformer from screens and previous clicks to the next click.

    Activations stand under TransformerLens's names (``blocks.0.hook_resid_post``,
    ``blocks.0.attn.hook_pattern``, ``ln_final.hook_normalized``...), the residual stream as
    [batch, frame * token, d_model]; `cls_positions` names the [cls] tokens. ``attention_kernel`` is
    one of `bcprobe.model.varlen.KERNELS`: how the window is computed, not what.
    """

    attention_kernel: str = "band"

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__(config)
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

    def forward(
        self,
        frames: Tensor | Inputs | Watched | Sequence[Watched],
        previous: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Clicks:
        """Distribution of the click after each frame.

        Either an episode, a list of episodes (one a row, the shorter ones filled up at the end)
        or what `inputs` made of them; or tensors: ``frames`` uint8 [batch, frame, 3, 360, 480], or
        what ``encoder.see`` made of them, [batch, frame, patch, width]; ``previous`` int64
        [batch, frame, 2], the click that led to each frame in px, (-1, -1) for none; ``segments``
        int64 [batch, frame] keeps several episodes in one row apart (default: one episode a row).
        Raises `InputError` for other shapes and types.
        """
        frames, previous, segments = self.prepare(frames, previous, segments)
        x, cells = self._embed(frames, previous)
        table = rotary_table(torch.arange(frames.shape[1], device=x.device), self.config.d_head)
        shape = self.config.context, self.config.tokens_per_frame
        window = KERNELS[self.attention_kernel](segments, *shape)
        for block in self.blocks:
            x = block(x, lambda attention, h, norm: attention(h, norm, table, window, segments))
        return self.read(x, cells)

    def _embed(self, frames: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """First residual stream [batch, frame * token, d_model], and the cells the head reads."""
        if torch.compiler.is_compiling() and self.hooked:
            pass  # having asked, the compiler guards the answer: hooks set later compile anew
        tokens, cells = self.encoder(frames, previous)
        if self.takes_gradients and not tokens.requires_grad:  # of frozen weights
            tokens, cells = tokens.requires_grad_(), cells.requires_grad_()
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
        moves on. Raises `InputError` for other shapes and types.
        """
        frames, previous, _ = self.prepare(frames[:, None], previous[:, None])
        x, cells = self._embed(frames, previous)
        table = rotary_table(torch.tensor([cache.frames], device=x.device), self.config.d_head)
        for block, ring in zip(self.blocks, cache.layers, strict=True):
            x = block(x, lambda attention, h, norm, ring=ring: attention.step(h, norm, table, ring))
        cache.frames += 1
        return self.read(x, cells)

    def untrained(self, seed: int) -> ClickTransformer:
        """Model of the same shape as it was before training, on the same device, frozen."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = ClickTransformer(self.config)
        return made.eval().requires_grad_(False).to(self.device)
