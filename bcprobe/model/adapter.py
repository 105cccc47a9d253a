"""A model of screens in the place of a language model, for tools that pass tokens and logits on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.model.cache import ClickCache
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.heads import Clicks, PointerClicks
from bcprobe.model.hooked import HookedModel
from bcprobe.model.inputs import Inputs, Watched


class TokenAdapter:
    """A model whose input is a table of numbers and whose output is a table of logits.

    `to_tokens` takes in episodes and gives for each a row of *tokens*, int64 [row, pos]: the row's
    number, as often as the residual stream has positions. Called with rows of tokens, the adapter
    runs the model on what they stand for. The *logits* are `patch_log_probs`, [row, frame, patch],
    so that ``logits[:, -1]`` is the answer at the last frame; `to_single_token` numbers the patch
    under a click. Everything else (``cfg``, ``blocks``, ``hooks``, weights) is the model's.

    `transformer_lens.patching` and most of `transformer_lens.tools.analysis` run on it;
    ``docs/from_transformer_lens.md`` names what does not, and why.
    """

    def __init__(self, model: HookedModel) -> None:
        self.model = model
        self._rows: list[tuple[Tensor, Tensor]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "model":  # asked before the model is set, by copying
            raise AttributeError(name)
        return getattr(self.model, name)

    def __repr__(self) -> str:
        return f"TokenAdapter: {len(self._rows)} rows before {self.model!r}"

    def to_tokens(self, watched: Watched | Sequence[Watched], which: slice = slice(None)) -> Tensor:
        """Rows of tokens, int64 [row, frame * token], for an episode or a list of them.

        ``which`` chooses frames of each. The encoder looks at the screens once, here. Raises
        `InputError` for episodes of unequal length, for positions have to correspond, and for text.
        """
        if isinstance(watched, str):
            raise InputError("screens have no text; give episodes to to_tokens")
        return self.add(self.model.inputs(watched, which))

    @torch.no_grad()
    def add(self, inputs: Inputs) -> Tensor:
        """The same for inputs that are tensors already."""
        if (inputs.segments < 0).any():
            raise InputError("the episodes differ in length; choose as many frames of each")
        first, (frames, previous, _) = len(self._rows), self.model.prepare(inputs)
        for screens, clicks in zip(frames, previous, strict=True):
            pixels = screens.dtype == torch.uint8
            self._rows.append((self.model.encoder.see(screens) if pixels else screens, clicks))
        numbers = torch.arange(first, len(self._rows), device=self.model.device)
        positions = frames.shape[1] * self.model.config.tokens_per_frame
        return numbers[:, None].expand(-1, positions).contiguous()

    def to_single_token(self, click: Sequence[int]) -> int:
        """Number of the patch under a click (x, y) in px: its place among the logits."""
        x, y = click
        (width, height), (columns, _) = self.model.config.patch, self.model.config.grid
        return int(y // height * columns + x // width)

    def inputs(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What rows of tokens stand for: seen frames [row, frame, patch, width], clicks before."""
        if tokens.ndim != 2 or tokens.is_floating_point():
            raise InputError(f"tokens are int64 [row, pos], of to_tokens; got {list(tokens.shape)}")
        numbers = tokens[:, 0].tolist()
        if not numbers or not 0 <= min(numbers) <= max(numbers) < len(self._rows):
            raise InputError(f"rows {numbers} are none of the {len(self._rows)} of to_tokens")
        frames, previous = zip(*(self._rows[number] for number in numbers), strict=True)
        if len({part.shape for part in frames}) > 1:
            raise InputError("these rows differ in their number of frames")
        return torch.stack(frames), torch.stack(previous)

    def clicks(self, tokens: Tensor) -> Clicks:
        """The model's own answer to rows of tokens."""
        answer: Clicks = self.model(*self.inputs(tokens))
        return answer

    def __call__(self, tokens: Tensor, return_type: str = "logits") -> Tensor:
        """Logits [row, frame, patch] of rows of tokens."""
        if return_type != "logits":
            raise InputError(f"return_type '{return_type}' has no meaning here; use 'logits'")
        return patch_log_probs(self.clicks(tokens), self.model.config)

    forward = __call__

    def run_with_hooks(
        self, tokens: Tensor, *, fwd_hooks: Any = (), bwd_hooks: Any = (), **options: Any
    ) -> Tensor:
        """Logits while hooks are set."""
        with self.model.hooks(fwd_hooks, bwd_hooks, **options):
            return self(tokens)

    def run_with_cache(self, tokens: Tensor, **options: Any) -> tuple[Tensor, ClickCache]:
        """Logits and activations; ``options`` are those of the model's own."""
        if "metric" in options:
            metric = options["metric"]
            options["metric"] = lambda clicks: metric(patch_log_probs(clicks, self.model.config))
        clicks, cache = self.model.run_with_cache(*self.inputs(tokens), **options)
        return patch_log_probs(clicks, self.model.config), cache


def patch_log_probs(clicks: Clicks, config: ClickTransformerConfig) -> Tensor:
    """Log-probability that a click falls on each patch of the grid: [batch, frame, patch]."""
    if isinstance(clicks, PointerClicks):
        return clicks.patches
    width, height = config.patch
    across = clicks.x.unflatten(-1, (-1, width)).logsumexp(-1)  # (batch, frame, column)
    down = clicks.y.unflatten(-1, (-1, height)).logsumexp(-1)
    return (down[..., :, None] + across[..., None, :]).flatten(-2)
