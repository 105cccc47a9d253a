"""Activations of one pass, with TransformerLens's ways of taking them apart."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformer_lens import ActivationCache
from transformer_lens.utilities import Slice, get_act_name

from bcprobe.errors import InputError, check_name
from bcprobe.model.attention import EPS, attention_scores
from bcprobe.model.heads import Clicks
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

#: A click in px: (x, y), or int64 [..., 2] that broadcasts to [batch, frame, 2].
Target = Tensor | Sequence[int]
NO_STATE = "the model has no recurrent layers, and so no state: it attends over a window of frames"


class ClickCache(ActivationCache):  # type: ignore[misc]
    """Activations by hook name, or by TransformerLens's short forms: ``cache["resid_post", -1]``.

    Positions run over frames and tokens, [batch, frame * token, ...]; ``cfg`` and the config of the
    model name the tokens. Attention scores and patterns, unless they were asked for by name, are
    worked out from queries and keys whenever they are read. The methods of `ActivationCache` do
    what they do there, but for two that need an unembedding: `logit_attrs` and `logit_lens`.
    """

    def __init__(
        self,
        cache_dict: dict[str, Tensor],
        model: Any,
        has_batch_dim: bool = True,
        segments: Tensor | None = None,
        pos_slice: Any = None,
    ) -> None:
        super().__init__(cache_dict, model, has_batch_dim)
        self.segments, self.pos_slice = segments, pos_slice

    def __repr__(self) -> str:
        size = sum(x.nbytes for x in self.cache_dict.values())
        return f"ClickCache: {len(self)} activations, {size / 1e6:.1f} MB"

    def _repr_html_(self) -> str:
        """What Jupyter shows: names and shapes, those that all layers have stand once."""
        shapes: dict[tuple[str, str], int] = {}
        for name, x in self.cache_dict.items():
            key = re.sub(r"^blocks\.\d+", "blocks.*", name), " x ".join(map(str, x.shape))
            shapes[key] = shapes.get(key, 0) + 1
        rows = [
            f"<tr><td>{html.escape(name)}</td><td>{shape}</td><td>{count}</td></tr>"
            for (name, shape), count in shapes.items()
        ]
        head = "<tr><th>activation</th><th>shape</th><th>how many</th></tr>"
        return f"<b>{html.escape(repr(self))}</b><table>{head}{''.join(rows)}</table>"

    def __getitem__(self, key: Any) -> Tensor:
        """An activation by name, or by TransformerLens's short form (name, layer, part).

        Raises `InputError` if it was not kept, or with the nearest name if there is no such hook.
        """
        name = self._full_name(key)
        if name in self.cache_dict:
            return self.cache_dict[name]
        layer, _, end = name.removeprefix("blocks.").partition(".")
        if name.startswith("blocks.") and end in ("attn.hook_attn_scores", "attn.hook_pattern"):
            scores = self._scores(int(layer), slice(None), slice(None))
            found = scores if end.endswith("scores") else scores.softmax(-1)
            return found if self.has_batch_dim else found[0]
        check_name("activation", name.removesuffix("_grad"), self.model.hook_dict)
        asked = "incl_bwd=True" if name.endswith("_grad") else "it in names_filter"
        raise InputError(f"the cache holds no '{name}'; run with {asked}")

    def _full_name(self, key: Any) -> str:
        if isinstance(key, str):
            return key if key in self.cache_dict else get_act_name(key)
        name, layer, *rest = key
        if layer is not None and not -self.model.cfg.n_layers <= layer < self.model.cfg.n_layers:
            raise InputError(f"layer {layer} is none of the model's {self.model.cfg.n_layers}")
        layer = layer % self.model.cfg.n_layers if layer is not None else layer
        return get_act_name(name, layer, *rest)

    def apply_slice_to_batch_dim(self, batch_slice: Any) -> ClickCache:
        """Cache of some of the batch (TransformerLens's `Slice`)."""
        batch = batch_slice if isinstance(batch_slice, Slice) else Slice(batch_slice)
        made = super().apply_slice_to_batch_dim(batch)
        segments = None if self.segments is None else batch.apply(self.segments, dim=0)
        if segments is not None and batch.mode == "int":
            segments = segments[None]
        return ClickCache(made.cache_dict, self.model, made.has_batch_dim, segments, self.pos_slice)

    # Attention

    def attention_picture(
        self, layer: int, frame: int = -1, seen: int | None = None, row: int = 0
    ) -> Tensor:
        """Attention of one frame's tokens to one frame's tokens: [head, query, key], 0-1.

        Queries are the tokens of ``frame``, keys those of ``seen`` (the same frame unless named),
        both counted from the end if negative; ``model.config.token_names`` names them. A query's
        weights sum to 1 over all frames that it looks at. This is what CircuitsVis draws.
        """
        config, count = self.model.config, self._frames()
        seen = frame if seen is None else seen
        for number in (frame, seen):
            if not -count <= number < count:
                raise InputError(f"frame {number} is none of the {count} that were cached")
        per, first = config.tokens_per_frame, frame % count
        looked = seen % count
        name = get_act_name("pattern", layer % config.n_layers)
        if name in self.cache_dict:
            pattern = self._rows(self.cache_dict[name])[row, :, first * per : (first + 1) * per]
            return pattern[:, :, looked * per : (looked + 1) * per]
        start = max(0, first + 1 - config.context)
        if not start <= looked <= first:
            return self[get_act_name("rot_q", 0)].new_zeros(config.n_heads, per, per)
        scores = self._scores(layer % config.n_layers, slice(row, row + 1), slice(start, first + 1))
        pattern = scores[0, :, -per:].softmax(-1)
        return pattern[:, :, (looked - start) * per : (looked - start + 1) * per]

    def _frames(self) -> int:
        if self.segments is None or self.pos_slice is not None:
            raise InputError("attention needs all positions; run without pos_slice")
        return int(self.segments.shape[1])

    def _scores(self, layer: int, rows: slice, frames: slice) -> Tensor:
        """Scores [batch, head, query, key] of some frames to each other."""
        per, count = self.model.config.tokens_per_frame, self._frames()
        start, stop, _ = frames.indices(count)
        q, k = (
            self._rows(self[get_act_name(name, layer)])[rows, start * per : stop * per]
            for name in ("rot_q", "rot_k")
        )
        assert self.segments is not None
        segments = self.segments.to(q.device)[rows, start:stop]
        return attention_scores(q, k, segments, self.model.config)

    def _rows(self, x: Tensor) -> Tensor:
        """The same with a batch axis."""
        return x if self.has_batch_dim else x[None]

    # Clicks

    def logit_attrs(
        self,
        residual_stack: Tensor,
        tokens: Target,
        incorrect_tokens: Target | None = None,
        pos_slice: Any = None,
        batch_slice: Any = None,
        has_batch_dim: bool = True,
    ) -> Tensor:
        """What parts of the residual stream at [cls] add to the logit of a click: [part, *batch,
        frame].

        ``tokens`` is the click in px; its logit is that of the patch under it (for the
        ``independent`` head, the mean of the columns' and rows' logits in that patch), and with
        ``incorrect_tokens`` the difference of two. Patch p of a frame has the logit ``u_p . x +
        c_p``, with x the final normed [cls], ``x = w * (r - mean(r)) / s + b``, and ``u_p`` the
        head's direction (`bcprobe.model.heads.PointerHead.readers`). With the scale s and the
        patch's key held at their values it is linear in the stream r: a part v adds ``u_p . (w *
        (v - mean(v)) / s)``. The parts of a whole stream add up to the logit less ``u_p . b +
        c_p``, which no part makes. What a part does by way of keys, or of the place inside the
        patch, is not counted.

        ``residual_stack`` [part, *batch, pos, d_model] is any of the other methods'; positions that
        are no [cls] are passed over. ``pos_slice`` and ``batch_slice`` are those that the stack was
        taken with. Raises `InputError` where no [cls] is left, or for a click off the screen.
        """
        config, final = self.model.config, self._final_residual()
        chosen = batch_slice if isinstance(batch_slice, Slice) else Slice(batch_slice)
        where = pos_slice if isinstance(pos_slice, Slice) else Slice(pos_slice)
        places = torch.arange(final.shape[1], device=final.device)
        kept = torch.atleast_1d(where.apply(places, dim=0))
        is_cls = kept % config.tokens_per_frame == config.cls_index
        if not is_cls.any():
            raise InputError("clicks are read at [cls]; no position of the stack is one")
        frames = kept[is_cls] // config.tokens_per_frame
        directions = self._directions(final, tokens)[:, frames]  # (batch, frame, d)
        if incorrect_tokens is not None:
            directions = directions - self._directions(final, incorrect_tokens)[:, frames]
        scale = (final[:, kept[is_cls]].var(-1, correction=0, keepdim=True) + EPS).sqrt()
        readers = self.model.ln_final.w * directions / scale
        if not (self.has_batch_dim and has_batch_dim):
            readers = readers[0]
        elif chosen.mode != "identity":
            readers, residual_stack = chosen.apply(readers, 0), chosen.apply(residual_stack, 1)
        if where.mode == "int":
            readers = readers[..., 0, :]
        else:
            residual_stack = residual_stack[..., is_cls, :]
        centred = residual_stack - residual_stack.mean(-1, keepdim=True)
        return (centred * readers).sum(-1)

    def logit_lens(
        self, layers: Sequence[int] | None = None, incl_mid: bool = False
    ) -> dict[str, Clicks]:
        """The *click lens*: the distribution read from the stream before its time, by label.

        Labels are those of `accumulated_resid` (``0_pre`` ... ``final_post``, the model's answer);
        ``layers`` chooses some of them by number. Raises `InputError` without ``hook_cells``.
        """
        stack, labels = self.accumulated_resid(incl_mid=incl_mid, return_labels=True)
        wanted = range(len(labels)) if layers is None else [n % len(labels) for n in layers]
        cells = self._rows(self["hook_cells"])
        return {labels[n]: self.model.read(self._rows(stack[n]), cells) for n in wanted}

    def _final_residual(self) -> Tensor:
        """The stream that the head reads: [batch, pos, d_model]."""
        if self.pos_slice is not None:
            raise InputError("clicks need the patches of all frames; run without pos_slice")
        return self._rows(self["resid_post", -1])

    def _directions(self, final: Tensor, click: Target) -> Tensor:
        """Direction [batch, frame, d] that makes the logit of the patch under a click."""
        config = self.model.config
        normed = self.model.ln_final.normalise(final).unflatten(1, (-1, config.tokens_per_frame))
        readers, _ = self.model.head.readers(normed[:, :, : config.n_patches])
        patches = self._patches(click).to(final.device).expand(readers.shape[:2])
        index = patches[..., None, None].expand(*patches.shape, 1, readers.shape[-1])
        return readers.gather(2, index)[:, :, 0]

    def _patches(self, click: Target) -> Tensor:
        """Number of the patch under a click: int64 of its shape less the last axis."""
        xy = torch.as_tensor(click)
        if xy.shape[-1:] != (2,) or xy.is_floating_point():
            raise InputError(
                f"a click is (x, y) in whole px, or int64 [batch, frame, 2]; got {list(xy.shape)}"
            )
        if (xy < 0).any() or (xy >= xy.new_tensor([SCREEN_WIDTH, SCREEN_HEIGHT])).any():
            raise InputError(
                f"click {xy.tolist()} is off the {SCREEN_WIDTH} x {SCREEN_HEIGHT} screen"
            )
        (width, height), columns = self.model.config.patch, self.model.config.grid[0]
        return xy[..., 1] // height * columns + xy[..., 0] // width

    # What has no meaning here

    def compute_ssm_state(self, *_: Any, **__: Any) -> Any:
        """Refused: there are no recurrent layers."""
        raise InputError(NO_STATE)

    def compute_ssm_effective_attention(self, *_: Any, **__: Any) -> Any:
        """Refused: there are no recurrent layers."""
        raise InputError(NO_STATE)

    def ssm_layers(self, *_: Any, **__: Any) -> Any:
        """Refused: there are no recurrent layers."""
        raise InputError(NO_STATE)
