"""Where activations may be read, known from a model's shape alone; needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bcprobe.errors import InputError, check_name
from bcprobe.model.config import ClickTransformerConfig

_IN_BLOCK = (
    "hook_resid_pre", "ln1.hook_normalized", "attn.hook_q", "attn.hook_k", "attn.hook_v",
    "attn.hook_z", "hook_attn_out", "hook_resid_mid", "ln2.hook_normalized", "mlp.hook_pre",
    "mlp.hook_post", "hook_mlp_out", "hook_resid_post",
)  # fmt: skip


def site_names(config: ClickTransformerConfig) -> list[str]:
    """Every hook with one vector per token, in the order of the forward pass."""
    blocks = [f"blocks.{i}.{name}" for i in range(config.n_layers) for name in _IN_BLOCK]
    return ["hook_embed", *blocks, "ln_final.hook_normalized"]


def residual_sites(config: ClickTransformerConfig) -> tuple[str, ...]:
    """The residual stream before the first block and after each."""
    after = (f"blocks.{i}.hook_resid_post" for i in range(config.n_layers))
    return ("blocks.0.hook_resid_pre", *after)


def check_sites(sites: Iterable[str], config: ClickTransformerConfig) -> tuple[str, ...]:
    """The sites, each once. Raises `InputError` with the nearest name, or for none at all."""
    found = tuple(dict.fromkeys(sites))
    if not found:
        raise InputError("no site to probe; name one, such as 'blocks.0.hook_resid_post'")
    for site in found:
        check_name("site", site, site_names(config))
    return found


def layer_of(site: str, config: ClickTransformerConfig) -> int:
    """Number of blocks whose work, whole or in part, a site has seen: 0 before the first."""
    block = re.match(r"blocks\.(\d+)\.(.+)", site)
    if block is None:
        return 0 if site == "hook_embed" else config.n_layers
    return int(block[1]) + (block[2] != "hook_resid_pre")
