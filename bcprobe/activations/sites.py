"""Where activations may be read: which tensor, at which tokens of a frame. Needs no torch."""

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


#: Groups of a frame's tokens. ``placed`` is the patch under the last click that placed or
#: classified (`bcprobe.types.PLACING`); ``previous`` the token of the previous click.
TOKENS = ("cls", "placed", "previous", "patches", "registers", "all")
#: Those of one token a frame, at which a probe reads one vector.
SINGLE_TOKENS = ("cls", "placed", "previous")


def token_positions(
    config: ClickTransformerConfig, tokens: str, placed: tuple[int, int] | None = None
) -> tuple[int, ...]:
    """Positions of a token group among the tokens of one frame.

    ``placed`` is the point (x, y) in px of the last placement, or None before there is any:
    the group ``placed`` is then empty. Raises `InputError` for an unknown group.
    """
    check_name("tokens", tokens, TOKENS)
    patches, last = config.n_patches, config.cls_index
    if tokens == "placed":
        return () if placed is None else (patch_at(config, *placed),)
    groups = {
        "cls": (last,),
        "previous": (patches,),
        "patches": tuple(range(patches)),
        "registers": tuple(range(patches + 1, last)),
        "all": tuple(range(config.tokens_per_frame)),
    }
    return groups[tokens]


def patch_at(config: ClickTransformerConfig, x: int, y: int) -> int:
    """Number of the patch that holds a point of the screen, in reading order."""
    width, height = config.patch
    return y // height * config.grid[0] + x // width


def check_tokens(tokens: Iterable[str]) -> tuple[str, ...]:
    """Token groups of one token each. Raises `InputError` with the nearest name, or for none."""
    found = tuple(dict.fromkeys((tokens,) if isinstance(tokens, str) else tokens))
    if not found:
        raise InputError("no token to read; name one, such as 'cls'")
    for name in found:
        check_name("token", name, SINGLE_TOKENS)
    return found


def site_at(config: ClickTransformerConfig, site: str, layer: int | None = None) -> str:
    """Hook name of a site: itself, or a short name such as ``resid_post`` with a layer.

    ``layer`` counts blocks from 0, or from -1 backwards. Raises `InputError` for unknown names,
    and for layers that are not there.
    """
    if layer is None or site in site_names(config):
        return check_name("site", site, site_names(config))
    if not -config.n_layers <= layer < config.n_layers:
        raise InputError(f"layer {layer} is not one of the model's {config.n_layers}")
    short = {name.split(".")[-1].removeprefix("hook_"): name for name in _IN_BLOCK}
    short |= {name.removeprefix("hook_"): name for name in _IN_BLOCK} | {n: n for n in _IN_BLOCK}
    return f"blocks.{layer % config.n_layers}.{short[check_name('site', site, short)]}"


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
