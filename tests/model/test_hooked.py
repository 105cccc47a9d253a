"""What TransformerLens's users ask of a model, against sums written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bcprobe.errors import InputError
from bcprobe.model.checkpoint import load_checkpoint, save_checkpoint
from bcprobe.model.transformer import ClickTransformer

MakeModel = Callable[..., ClickTransformer]
MakeInputs = Callable[..., tuple[Tensor, Tensor]]


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Every head's product, by hand: [batch, pos, head, ...] of [head, in, out]."""
    return torch.stack([x @ w + b for w, b in zip(weight, bias, strict=True)], dim=2)


# Settings and weights


def test_the_settings_are_those_of_the_config(model: ClickTransformer) -> None:
    cfg, config = model.cfg, model.config
    assert (cfg.n_layers, cfg.n_heads, cfg.d_model) == (2, 2, 32)
    assert (cfg.d_head, cfg.d_mlp, cfg.d_vocab) == (16, 128, config.n_patches)
    assert cfg.n_ctx == config.context * config.tokens_per_frame
    assert (cfg.act_fn, cfg.normalization_type) == ("gelu", "LN")
    assert cfg.positional_embedding_type == "rotary"
    assert (cfg.device, cfg.dtype) == ("cpu", torch.float32)
    assert model.double().cfg.dtype == torch.float64


@pytest.mark.parametrize("layer", [0, 1])
def test_weights_do_by_hand_what_the_layer_does(
    model: ClickTransformer, make_inputs: MakeInputs, layer: int
) -> None:
    _, cache = model.run_with_cache(*make_inputs(2, 4))
    attn, mlp = model.blocks[layer].attn, model.blocks[layer].mlp
    x = cache["normalized", layer, "ln1"]
    for name in "QKV":
        weight, bias = getattr(attn, f"W_{name}"), getattr(attn, f"b_{name}")
        assert weight.shape == (2, 32, 16)
        close(linear(x, weight, bias), cache[name.lower(), layer])
        assert torch.equal(getattr(model, f"W_{name}")[layer], weight)
        assert torch.equal(getattr(model, f"b_{name}")[layer], bias)
    written = torch.einsum("bphk,hkd->bpd", cache["z", layer], attn.W_O) + attn.b_O
    close(written, cache["attn_out", layer])
    x = cache["normalized", layer, "ln2"]
    close(F.gelu(x @ mlp.W_in + mlp.b_in) @ mlp.W_out + mlp.b_out, cache["mlp_out", layer])
    assert model.W_in.shape == (2, 32, 128)
    assert model.W_out.shape == (2, 128, 32)
    assert model.W_O.shape == (2, 2, 16, 32)
    assert torch.equal(model.b_in[layer], mlp.b_in)
    assert torch.equal(model.b_out[layer], mlp.b_out)
    assert torch.equal(model.b_O[layer], attn.b_O)


def test_weights_of_a_block_are_views_of_the_parameters(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    inputs = make_inputs(1, 2)
    model.blocks[1].attn.W_O[0] = 0
    model.blocks[1].attn.b_V[1] = 0
    _, cache = model.run_with_cache(*inputs, names_filter=lambda name: "hook_result" in name)
    assert (cache["result", 1][:, :, 0] == 0).all()
    assert (cache["result", 0][:, :, 0] != 0).any()
    assert (model.b_V[1, 1] == 0).all()


def test_circuits_are_products_of_the_weights(model: ClickTransformer) -> None:
    ov, qk = model.OV.AB, model.QK.AB
    close(ov[1, 0], model.W_V[1, 0] @ model.W_O[1, 0])
    close(qk[0, 1], model.W_Q[0, 1] @ model.W_K[0, 1].T)


def test_names_of_a_checkpoint_are_as_before(model: ClickTransformer, tmp_path: Any) -> None:
    names = set(model.state_dict())
    assert "blocks.0.attn.qkv.weight" in names
    assert not any("W_" in name for name in names)
    save_checkpoint(model, tmp_path / "mine", dtype=torch.float32)
    loaded = load_checkpoint(tmp_path / "mine")
    assert torch.equal(loaded.W_Q, model.W_Q)
    assert loaded.cfg.model_name == "mine"


@pytest.mark.parametrize("name", ["W_U", "b_U", "unembed", "W_E", "W_pos", "tokenizer"])
def test_what_only_language_models_have_is_refused_in_a_line(
    model: ClickTransformer, name: str
) -> None:
    with pytest.raises(InputError, match="the model has no") as told:
        getattr(model, name)
    assert "\n" not in str(told.value)


def test_an_untrained_model_has_the_shape_and_other_weights(model: ClickTransformer) -> None:
    made = model.untrained(0)
    assert made.config == model.config
    assert not torch.equal(made.W_Q, model.W_Q)
    assert torch.equal(made.W_Q, model.untrained(0).W_Q)
    assert not made.training


# Hooks of what is made on demand


def test_results_of_heads_add_up_to_the_output(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    inputs = make_inputs(2, 4)
    names = ["blocks.1.attn.hook_result", "blocks.1.attn.hook_z", "blocks.1.hook_attn_out"]
    _, cache = model.run_with_cache(*inputs, names_filter=names)
    assert cache["result", 1].shape == (2, 4 * model.config.tokens_per_frame, 2, 32)
    for head in range(2):
        wanted = cache["z", 1][:, :, head] @ model.blocks[1].attn.W_O[head]
        close(cache["result", 1][:, :, head], wanted)
    close(cache["result", 1].sum(2) + model.blocks[1].attn.b_O, cache["attn_out", 1])


@pytest.mark.parametrize("names", [("q",), ("k",), ("v",), ("q", "k", "v")])
def test_an_input_of_its_own_reaches_one_head_and_one_part(
    model: ClickTransformer, make_inputs: MakeInputs, names: tuple[str, ...]
) -> None:
    inputs = make_inputs(1, 3)
    kept = [f"blocks.1.attn.hook_{part}" for part in "qkv"]
    _, before = model.run_with_cache(*inputs, names_filter=kept)

    def shift(x: Tensor, hook: Any) -> Tensor:
        x[:, :, 1] += torch.linspace(-1, 1, 32)
        return x

    hooks = [(f"blocks.1.attn.hook_{part}_input", shift) for part in names]
    with model.hooks(fwd_hooks=hooks):
        _, after = model.run_with_cache(*inputs, names_filter=kept)
    for part in "qkv":
        close(before[part, 1][:, :, 0], after[part, 1][:, :, 0])
        moved = (before[part, 1][:, :, 1] - after[part, 1][:, :, 1]).abs().amax() > 1e-3
        assert bool(moved) == (part in names)


def test_the_heads_common_input_reaches_all_three_parts(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    inputs = make_inputs(1, 3)
    names = [*(f"blocks.0.attn.hook_{part}" for part in "qkv"), "blocks.0.hook_resid_pre"]
    _, before = model.run_with_cache(*inputs, names_filter=names)
    double = ("blocks.0.attn.hook_attn_in", lambda x, hook: x + x.roll(1, -1))
    with model.hooks(fwd_hooks=[double]):
        _, after = model.run_with_cache(*inputs, names_filter=names)
    stream = before["resid_pre", 0]
    normed = model.blocks[0].ln1.normalise(stream + stream.roll(1, -1))
    close(after["v", 0], linear(normed, model.W_V[0], model.b_V[0]))
    assert all((before[part, 0] != after[part, 0]).any() for part in "qkv")
    assert torch.equal(before["resid_pre", 0], after["resid_pre", 0])


def test_the_mlps_own_input_leaves_the_stream_alone(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    names = ["blocks.0.hook_mlp_out", "blocks.0.hook_resid_mid", "blocks.0.hook_resid_post"]

    def clear(x: Tensor, hook: Any) -> Tensor:
        return x.zero_()

    with model.hooks(fwd_hooks=[("blocks.0.hook_mlp_in", clear)]):
        _, cache = model.run_with_cache(*make_inputs(1, 2), names_filter=names)
    silent = model.blocks[0].mlp(model.blocks[0].ln2.b.expand(1, 1, -1))
    close(cache["mlp_out", 0], silent.expand_as(cache["mlp_out", 0]))
    assert (cache["resid_mid", 0] != 0).any()
    close(cache["resid_post", 0], cache["resid_mid", 0] + cache["mlp_out", 0])


@pytest.mark.parametrize(
    ("switch", "names"),
    [
        ("use_attn_result", ["attn.hook_result"]),
        ("use_attn_in", ["attn.hook_attn_in"]),
        ("use_split_qkv_input", [f"attn.hook_{part}_input" for part in "qkv"]),
        ("use_hook_mlp_in", ["hook_mlp_in"]),
    ],
)
def test_a_setting_keeps_what_is_large(
    model: ClickTransformer, make_inputs: MakeInputs, switch: str, names: list[str]
) -> None:
    inputs = make_inputs(1, 2)
    plain, before = model.run_with_cache(*inputs)
    getattr(model, f"set_{switch}")(True)
    assert getattr(model.cfg, switch)
    clicks, after = model.run_with_cache(*inputs)
    wanted = {f"blocks.{layer}.{name}" for layer in range(2) for name in names}
    assert set(after.keys()) - set(before.keys()) == wanted
    close(plain.patches, clicks.patches)
    getattr(model, f"set_{switch}")(False)
    assert set(model.run_with_cache(*inputs)[1].keys()) == set(before.keys())


# Gradients


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_of_a_metric_are_those_of_small_steps(
    model: ClickTransformer, make_inputs: MakeInputs, frozen: bool
) -> None:
    model, inputs = model.requires_grad_(not frozen), make_inputs(1, 3)
    names = ["hook_embed", "hook_cells", "blocks.0.hook_resid_post", "blocks.1.attn.hook_pattern"]

    def metric(clicks: Any) -> Tensor:
        return clicks.patches[0, -1, 7] - clicks.patches[0, -1, 3]

    with torch.enable_grad():
        _, cache = model.run_with_cache(*inputs, names_filter=names, incl_bwd=True, metric=metric)
    assert all(parameter.grad is None for parameter in model.parameters())
    direction = torch.linspace(-1, 1, 32)
    for name in ("hook_embed", "blocks.0.hook_resid_post"):
        found = []
        for step in (3e-3, -3e-3):
            hook = (name, lambda x, hook, step=step: x + step * direction)
            found.append(metric(model.run_with_hooks(*inputs, fwd_hooks=[hook])))
        slope = (found[0] - found[1]) / 6e-3
        torch.testing.assert_close(
            (cache[f"{name}_grad"] * direction).sum(), slope, atol=2e-3, rtol=1e-2
        )
    assert cache["blocks.1.attn.hook_pattern_grad"].shape == cache["pattern", 1].shape
    assert (cache["hook_cells_grad"] == 0).all()  # this head reads no cell
    assert not model.takes_gradients


def test_gradients_are_sliced_as_their_activations(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    name, inputs = "blocks.1.attn.hook_z", make_inputs(1, 3)
    options: dict[str, Any] = {"names_filter": name, "incl_bwd": True}
    options["metric"] = lambda clicks: clicks.patches[0, -1, 0]
    with torch.enable_grad():
        _, whole = model.run_with_cache(*inputs, **options)
        _, part = model.run_with_cache(*inputs, **options, pos_slice=-1)
    assert torch.equal(part[f"{name}_grad"], whole[f"{name}_grad"][:, -1:])
    assert (part[f"{name}_grad"] != 0).any()


def test_gradients_that_cannot_be_had_are_refused(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    inputs = make_inputs(1, 1)
    with pytest.raises(InputError, match="needs metric="):
        model.run_with_cache(*inputs, incl_bwd=True)
    with pytest.raises(InputError, match="needs gradients"):
        model.run_with_cache(*inputs, incl_bwd=True, metric=lambda clicks: clicks.patches.sum())
    with (
        torch.enable_grad(),
        pytest.raises(InputError, match=r"the metric gives \[1, 1, 24\]"),
    ):
        model.run_with_cache(*inputs, incl_bwd=True, metric=lambda clicks: clicks.patches)


# Positions


def test_a_slice_keeps_the_same_positions_of_every_activation(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    inputs, places = make_inputs(2, 3), [1, 7, 30]
    _, whole = model.run_with_cache(*inputs, names_filter=lambda name: True)
    _, part = model.run_with_cache(*inputs, names_filter=lambda name: True, pos_slice=places)
    for name in whole:
        axis = 2 if name.endswith(("pattern", "attn_scores")) else 1
        wanted = whole[name]
        if name != "hook_cells":  # has frames, not positions
            wanted = wanted.index_select(axis, torch.tensor(places))
        assert torch.equal(part[name], wanted), name


def test_a_batch_of_one_loses_its_axis(model: ClickTransformer, make_inputs: MakeInputs) -> None:
    inputs = make_inputs(1, 3)
    _, whole = model.run_with_cache(*inputs)
    _, bare = model.run_with_cache(*inputs, remove_batch_dim=True)
    assert not bare.has_batch_dim
    assert all(torch.equal(bare[name], whole[name][0]) for name in whole)
    assert torch.equal(bare["pattern", 1], whole["pattern", 1][0])
    with pytest.raises(InputError, match="needs a batch of one; this has 2"):
        model.run_with_cache(*make_inputs(2, 1), remove_batch_dim=True)


# Compiled


@pytest.mark.filterwarnings("ignore")
def test_a_hook_set_after_compiling_takes_effect(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    torch._dynamo.reset()
    inputs = make_inputs(1, 3)
    compiled = torch.compile(model, backend="eager")
    before = compiled(*inputs).patches
    seen: list[tuple[int, ...]] = []
    with model.hooks(fwd_hooks=[("hook_embed", lambda x, hook: seen.append(tuple(x.shape)))]):
        compiled(*inputs)
    assert seen == [(1, 3 * model.config.tokens_per_frame, 32)]
    model.add_hook("blocks.0.hook_resid_post", lambda x, hook: x * 0)
    after = compiled(*inputs).patches
    close(after, model(*inputs).patches)
    assert (before - after).abs().max() > 1e-3
    model.reset_hooks()
    close(compiled(*inputs).patches, before)


# How things print


def test_models_caches_and_answers_print_as_one_short_line(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    clicks, cache = model.run_with_cache(*make_inputs(2, 3))
    texts = [repr(model), repr(clicks), repr(cache), str(model)]
    assert all(len(text) < 120 and "\n" not in text for text in texts)
    assert "2 layers" in texts[0]
    assert texts[1] == "PointerClicks: 2 x 3 frames"
    page = cache._repr_html_()
    assert page.count("<tr>") < 40
    assert "blocks.*.hook_resid_post" in page
    assert not any(word in page for word in ("color", "background"))  # the theme's own


def test_nothing_moves_or_changes_the_model(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    before = {name: (p.data_ptr(), p.requires_grad) for name, p in model.named_parameters()}
    inputs = make_inputs(1, 2)
    with torch.enable_grad():
        metric: dict[str, Any] = {"metric": lambda clicks: clicks.patches[0, 0, 0]}
        _, cache = model.run_with_cache(*inputs, incl_bwd=True, **metric, device="meta")
    assert cache["resid_post", 1].device.type == "meta"
    after = {name: (p.data_ptr(), p.requires_grad) for name, p in model.named_parameters()}
    assert before == after
    assert not model.hooked
