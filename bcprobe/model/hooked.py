"""What TransformerLens's tools and its users ask of a model: settings, weights, hooks, caches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformer_lens import FactoredMatrix, HookedRootModule
from transformer_lens.config import TransformerLensConfig
from transformer_lens.utilities import Slice

from bcprobe.errors import InputError, check_name
from bcprobe.model import html
from bcprobe.model.attention import EPS, is_hooked
from bcprobe.model.cache import ClickCache
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.heads import Clicks
from bcprobe.model.inputs import Inputs, Watched, check_inputs, make_inputs

Metric = Callable[[Clicks], Tensor]
#: Activations too large to keep unasked, each by the setting that asks for it. Scores and
#: patterns, [query, key] over all frames, `ClickCache` works out from queries and keys.
LARGE = {
    "attn.hook_attn_scores": "",
    "attn.hook_pattern": "",
    "attn.hook_result": "use_attn_result",
    "attn.hook_attn_in": "use_attn_in",
    "attn.hook_q_input": "use_split_qkv_input",
    "attn.hook_k_input": "use_split_qkv_input",
    "attn.hook_v_input": "use_split_qkv_input",
    "hook_mlp_in": "use_hook_mlp_in",
}
#: Hooks on [batch, pos, head, ...]; on others positions stand last but one.
BY_HEAD = (
    *("hook_q", "hook_k", "hook_v", "hook_rot_q", "hook_rot_k", "hook_z", "hook_result"),
    *("hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input"),
)


@dataclass(repr=False)
class LensConfig(TransformerLensConfig):  # type: ignore[misc]
    """A model's shape under TransformerLens's names.

    ``n_ctx`` is the number of positions that one attends to at most (frames of the window times
    tokens of a frame), ``d_vocab`` the number of patches among which a click chooses.
    """

    model_name: str = ""
    original_architecture: str = "ClickTransformer"
    attention_dir: str = "causal"
    parallel_attn_mlp: bool = False
    use_attn_in: bool = False
    use_hook_mlp_in: bool = False


def _stacked(part: str, name: str, shape: str) -> Any:
    """Property: a weight of every block, stacked."""

    def stack(self: HookedModel) -> Tensor:
        return torch.stack([getattr(getattr(block, part), name) for block in self.blocks])

    return property(stack, doc=f"``blocks[layer].{part}.{name}`` of all layers, a copy: {shape}.")


def _none(reason: str) -> Any:
    """Property of language models that this one cannot have: refused in one line."""

    def refuse(self: HookedModel) -> Any:
        raise InputError(reason)

    return property(refuse, doc=f"Refused: {reason}.")


NO_UNEMBEDDING = (
    "the model has no unembedding: its head points at the screen's patches (see "
    "cache.logit_attrs and cache.logit_lens, and docs/from_transformer_lens.md)"
)
NO_EMBEDDING = "the model has no token embedding: it looks at pixels (see encoder.see)"


class HookedModel(HookedRootModule):  # type: ignore[misc]
    """A `HookedRootModule` as TransformerLens 4 knows it, that looks at screens.

    ``blocks``, ``ln_final``, ``head`` and ``encoder`` are the subclass's. Rotary time cancels
    within a frame, so that there ``QK`` is what its tokens ask of each other.
    """

    blocks: nn.ModuleList
    ln_final: Any
    head: Any
    encoder: Any

    W_Q = _stacked("attn", "W_Q", "[layer, head, d_model, d_head]")
    W_K = _stacked("attn", "W_K", "[layer, head, d_model, d_head]")
    W_V = _stacked("attn", "W_V", "[layer, head, d_model, d_head]")
    W_O = _stacked("attn", "W_O", "[layer, head, d_head, d_model]")
    b_Q = _stacked("attn", "b_Q", "[layer, head, d_head]")
    b_K = _stacked("attn", "b_K", "[layer, head, d_head]")
    b_V = _stacked("attn", "b_V", "[layer, head, d_head]")
    b_O = _stacked("attn", "b_O", "[layer, d_model]")
    W_in = _stacked("mlp", "W_in", "[layer, d_model, d_mlp]")
    W_out = _stacked("mlp", "W_out", "[layer, d_mlp, d_model]")
    b_in = _stacked("mlp", "b_in", "[layer, d_mlp]")
    b_out = _stacked("mlp", "b_out", "[layer, d_model]")

    W_U = b_U = unembed = _none(NO_UNEMBEDDING)
    W_E = W_pos = embed = tokenizer = _none(NO_EMBEDDING)

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.metadata: dict[str, Any] = {}
        self._wants_gradients = False
        self._lens = LensConfig(
            d_model=config.d_model,
            d_head=config.d_head,
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            n_ctx=config.context * config.tokens_per_frame,
            d_mlp=config.mlp_ratio * config.d_model,
            d_vocab=config.n_patches,
            act_fn="gelu",
            normalization_type="LN",
            positional_embedding_type="rotary",
            default_prepend_bos=False,
            eps=EPS,
        )

    # Settings and weights

    @property
    def cfg(self) -> LensConfig:
        """The model's shape, device and type, as TransformerLens asks for them."""
        self._lens.device, self._lens.dtype = str(self.device), self.ln_final.w.dtype
        self._lens.model_name = html.name_of(self)
        return self._lens

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        found: torch.device = self.ln_final.w.device
        return found

    @property
    def QK(self) -> FactoredMatrix:
        """What queries ask of keys, apart from time: [layer, head, d_model, d_model]."""
        return FactoredMatrix(self.W_Q, self.W_K.mT)

    @property
    def OV(self) -> FactoredMatrix:
        """What each head writes of what it reads: [layer, head, d_model, d_model]."""
        return FactoredMatrix(self.W_V, self.W_O)

    def accumulated_bias(
        self, layer: int, mlp_input: bool = False, include_mlp_biases: bool = True
    ) -> Tensor:
        """What biases alone have added to the stream before a layer, or its MLP: [d_model]."""
        total: Tensor = self.b_O[: layer + mlp_input].sum(0)
        return total + self.b_out[:layer].sum(0) if include_mlp_biases else total

    def all_head_labels(self) -> list[str]:
        """``L0H0`` and so on, in the order of `ClickCache.stack_head_results`."""
        heads = range(self.config.n_heads)
        return [f"L{layer}H{head}" for layer in range(self.config.n_layers) for head in heads]

    def blocks_with(self, part: str) -> list[tuple[int, nn.Module]]:
        """Number and block of the layers that have an ``attn`` or ``mlp``: all of them."""
        return [(number, block) for number, block in enumerate(self.blocks) if hasattr(block, part)]

    def set_use_attn_result(self, use: bool) -> None:
        """Whether a cache of everything keeps ``attn.hook_result`` too."""
        self._lens.use_attn_result = use

    def set_use_attn_in(self, use: bool) -> None:
        """Whether a cache of everything keeps ``attn.hook_attn_in`` too."""
        self._lens.use_attn_in = use

    def set_use_split_qkv_input(self, use: bool) -> None:
        """Whether a cache of everything keeps ``attn.hook_q_input`` and its like too."""
        self._lens.use_split_qkv_input = use

    def set_use_hook_mlp_in(self, use: bool) -> None:
        """Whether a cache of everything keeps ``hook_mlp_in`` too."""
        self._lens.use_hook_mlp_in = use

    def cls_positions(self, frames: int) -> Tensor:
        """Positions of [cls] in the residual stream of so many frames: int64 [frame]."""
        per_frame = self.config.tokens_per_frame
        return torch.arange(frames, device=self.device) * per_frame + self.config.cls_index

    # Inputs

    def inputs(self, watched: Watched | Sequence[Watched], which: slice = slice(None)) -> Inputs:
        """Batch of what an episode, or each of a list, shows, on the model's device.

        One episode a row, shorter ones filled up at the end (see `Inputs`); ``which`` chooses
        frames of each. Raises `InputError` for anything that is no episode.
        """
        return make_inputs(watched, self.device, which)

    def prepare(
        self, frames: Any, previous: Any = None, segments: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Frames, previous clicks and segments of all that `forward` takes, checked."""
        if isinstance(frames, Inputs):
            frames, previous, segments = frames
        elif not isinstance(frames, Tensor) and previous is None:
            frames, previous, segments = self.inputs(frames)
        if not torch.compiler.is_compiling():
            check_inputs(frames, previous, segments, self.encoder.seen, self.device)
        if segments is None:
            segments = torch.zeros(frames.shape[:2], dtype=torch.long, device=frames.device)
        return frames, previous, segments

    # Hooks

    @property
    def hooked(self) -> bool:
        """Whether a hook is set."""
        return is_hooked(*self.hook_dict.values())

    @property
    def takes_gradients(self) -> bool:
        """Whether somebody wants gradients at activations; frozen weights alone give none."""
        if not torch.is_grad_enabled():
            return False
        return self._wants_gradients or any(point.bwd_hooks for point in self.hook_dict.values())

    def add_hook(self, name: Any, *hook: Any, **options: Any) -> None:
        """Add a hook. Raises `InputError` with the nearest name if there is no such hook."""
        self._check_hooks(name)
        super().add_hook(name, *hook, **options)

    def hooks(self, fwd_hooks: Any = (), bwd_hooks: Any = (), *a: Any, **k: Any) -> Any:
        """Context with temporary hooks; `run_with_hooks` uses it. Raises as `add_hook`."""
        for name, _ in (*fwd_hooks, *bwd_hooks):
            self._check_hooks(name)
        return super().hooks(fwd_hooks, bwd_hooks, *a, **k)

    def get_caching_hooks(
        self,
        names_filter: Any = None,
        incl_bwd: bool = False,
        device: Any = None,
        remove_batch_dim: bool = False,
        cache: dict[str, Tensor] | None = None,
        pos_slice: Any = None,
    ) -> tuple[dict[str, Tensor], list[Any], list[Any]]:
        """The dictionary that hooks will fill, the forward and the backward ones, not yet set.

        As TransformerLens's own, but ``pos_slice`` finds the positions of every activation
        (``hook_cells``, which has frames and not positions, is kept whole), and the default leaves
        out what `LARGE` lists.
        """
        kept: dict[str, Tensor] = {} if cache is None else cache
        positions = Slice.unwrap(pos_slice)

        def keep(x: Tensor, hook: Any, suffix: str = "") -> None:
            x = x.detach().to(device)
            if hook.name != "hook_cells":
                x = positions.apply(x, dim=-3 if hook.name.endswith(BY_HEAD) else -2)
            kept[hook.name + suffix] = x[0] if remove_batch_dim and len(x) == 1 else x

        names = self.choose_hooks(names_filter)
        backward = [(name, partial(keep, suffix="_grad")) for name in names if incl_bwd]
        return kept, [(name, keep) for name in names], backward

    def choose_hooks(self, names_filter: Any = None) -> list[str]:
        """Names of the hooks that a filter keeps, in order. Raises `InputError` if it keeps none.

        ``names_filter`` is a name, a list of names or a function of a name; none keeps all but what
        `LARGE` lists; of those a setting named there (``cfg.use_attn_result``...) keeps its own.
        """
        if names_filter is None:
            return [name for name in self.hook_dict if self._kept_unasked(name)]
        self._check_hooks(names_filter)
        if callable(names_filter):
            return [name for name in self.hook_dict if names_filter(name)]
        wanted = [names_filter] if isinstance(names_filter, str) else list(names_filter)
        return [name for name in self.hook_dict if name in wanted]

    def _kept_unasked(self, name: str) -> bool:
        settings = [setting for end, setting in LARGE.items() if name.endswith(f".{end}")]
        return all(setting and getattr(self._lens, setting) for setting in settings)

    def _check_hooks(self, names: Any) -> None:
        """Raise `InputError` if a name is no hook, or a filter keeps none."""
        if callable(names):
            found = any(names(name) for name in self.hook_dict)
        else:
            names = [names] if isinstance(names, str) else list(names)
            found = all(check_name("hook", name, self.hook_dict) for name in names) and names
        if not found:
            raise InputError(f"the filter keeps none of the model's {len(self.hook_dict)} hooks")

    def run_with_cache(
        self,
        *inputs: Any,
        names_filter: Any = None,
        incl_bwd: bool = False,
        metric: Metric | None = None,
        pos_slice: Any = None,
        device: Any = None,
        remove_batch_dim: bool = False,
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> tuple[Clicks, ClickCache]:
        """Distribution and the activations named by ``names_filter``.

        ``inputs`` are those of `forward`. The filter is a hook name, a list of names, or a function
        of a name (default: see `choose_hooks`). With ``incl_bwd`` the cache also holds, under
        ``NAME_grad``, the gradient of ``metric(clicks)``, one number, by each of them; parameters
        are given none. ``pos_slice`` keeps some positions (TransformerLens's `Slice`), ``device``
        is where activations are kept. Raises `InputError` for a name that is no hook, a filter that
        keeps nothing, a metric that is missing or no number, gradients that are switched off, and
        ``remove_batch_dim`` of several rows.
        """
        if incl_bwd and metric is None:
            raise InputError("incl_bwd needs metric=, a function of the clicks that gives a number")
        if incl_bwd and not torch.is_grad_enabled():
            raise InputError("incl_bwd needs gradients; leave torch.no_grad or inference_mode")
        given = self.prepare(*inputs)
        if remove_batch_dim and len(given[0]) > 1:
            raise InputError(f"remove_batch_dim needs a batch of one; this has {len(given[0])}")
        options = {"device": device, "remove_batch_dim": remove_batch_dim, "pos_slice": pos_slice}
        cache, hooks, _ = self.get_caching_hooks(names_filter, **options)
        live: dict[str, Tensor] = {}
        if incl_bwd:
            hooks += [(name, partial(_note, live)) for name, _ in hooks]
        with (
            self.hooks(hooks, reset_hooks_end=reset_hooks_end, clear_contexts=clear_contexts),
            self._with_gradients(incl_bwd),
        ):
            clicks = self(*given)
        if metric is not None and incl_bwd:
            grads = _gradients(metric(clicks), live)
            stored, keepers, _ = self.get_caching_hooks(list(grads), **options)
            for name, keep in keepers:
                keep(grads[name], hook=self.hook_dict[name])
            cache |= {f"{name}_grad": grad for name, grad in stored.items()}
        return clicks, ClickCache(cache, self, not remove_batch_dim, given[2], pos_slice)

    @contextmanager
    def _with_gradients(self, wanted: bool) -> Iterator[None]:
        before, self._wants_gradients = self._wants_gradients, wanted or self._wants_gradients
        try:
            yield
        finally:
            self._wants_gradients = before

    # How it shows itself

    def __repr__(self) -> str:
        """One line; ``model.blocks`` prints the layers."""
        return html.one_line(self)

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        return html.to_html(self)


def _note(live: dict[str, Tensor], x: Tensor, hook: Any) -> None:
    live[hook.name] = x


def _gradients(value: Tensor, live: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gradient of one number by each activation that it depends on, and zero by the others."""
    if not isinstance(value, Tensor) or value.ndim:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"the metric gives {shape}; with incl_bwd it gives one number")
    found: Iterable[Tensor | None] = torch.autograd.grad(
        value, list(live.values()), allow_unused=True
    )
    pairs = zip(live.items(), found, strict=True)
    return {name: torch.zeros_like(x) if grad is None else grad for (name, x), grad in pairs}
