"""The cache's ways of taking a stream apart, each against a sum written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.model.cache import ClickCache
from bcprobe.model.heads import PointerClicks
from bcprobe.model.transformer import ClickTransformer

MakeModel = Callable[..., ClickTransformer]
MakeInputs = Callable[..., tuple[Tensor, Tensor]]
FINE = {"stem": ((20, 10, 16), (2, 3, 16), (2, 3, 32)), "head": "fine_pointer"}
HEADS: list[dict[str, Any]] = [{}, {"head": "independent"}, FINE]


@pytest.fixture
def lens(model: ClickTransformer, make_inputs: MakeInputs) -> ClickCache:
    return model.run_with_cache(*make_inputs(2, 4))[1]


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=3e-5, rtol=1e-5)


def test_short_forms_name_activations(lens: ClickCache) -> None:
    last = lens["blocks.1.hook_resid_post"]
    assert lens["resid_post", -1] is last
    assert lens["resid_post", 1] is last
    assert lens["k1"] is lens["blocks.1.attn.hook_k"]
    assert lens["embed"] is lens["hook_embed"]
    assert lens["scale"] is lens["ln_final.hook_scale"]
    assert lens["mlp_out", -2] is lens["blocks.0.hook_mlp_out"]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (("resid_pots", 0), "'blocks.0.hook_resid_pots'; did you mean 'blocks.0.hook_resid_post'"),
        ("blocks.0.hook_resid_post_grad", "holds no .* run with incl_bwd=True"),
        (("result", 0), "holds no 'blocks.0.attn.hook_result'; run with it in names_filter"),
        (("resid_post", 2), "layer 2 is none of the model's 2"),
        ("hook_nothing", "unknown activation 'hook_nothing'; did you mean"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(lens: ClickCache, key: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        lens[key]


# Streams


def test_accumulated_streams_are_the_residuals(model: ClickTransformer, lens: ClickCache) -> None:
    stack, labels = lens.accumulated_resid(incl_mid=True, return_labels=True)
    assert labels == ["0_pre", "0_mid", "1_pre", "1_mid", "final_post"]
    names = ["resid_pre", "resid_mid"]
    wanted = [lens[name, layer] for layer in range(2) for name in names]
    assert torch.equal(stack, torch.stack([*wanted, lens["resid_post", -1]]))
    normed = lens.accumulated_resid(apply_ln=True)
    close(normed[0], model.ln_final.normalise(lens["hook_embed"]))
    close(normed[-1], lens["ln_final.hook_normalized"])


def test_components_add_up_to_the_stream(lens: ClickCache) -> None:
    stack, labels = lens.decompose_resid(return_labels=True)
    assert labels == ["embed", "0_attn_out", "0_mlp_out", "1_attn_out", "1_mlp_out"]
    total = lens["hook_embed"].clone()
    for layer in range(2):
        total += lens["attn_out", layer] + lens["mlp_out", layer]
    close(stack.sum(0), total)
    close(total, lens["resid_post", -1])
    close(lens.decompose_resid(1, mlp_input=True).sum(0), lens["resid_mid", 1])
    part = lens.decompose_resid(mode="mlp", incl_embeds=False, pos_slice=-1)
    assert torch.equal(part[1], lens["mlp_out", 1][:, -1])


def test_heads_and_the_rest_add_up_to_the_stream(model: ClickTransformer, lens: ClickCache) -> None:
    stack, labels = lens.stack_head_results(incl_remainder=True, return_labels=True)
    assert labels == [*model.all_head_labels(), "remainder"]
    for number, (layer, head) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        close(stack[number], lens["z", layer][:, :, head] @ model.W_O[layer, head])
    rest = lens["hook_embed"] + model.b_O.sum(0) + lens["mlp_out", 0] + lens["mlp_out", 1]
    close(stack[-1], rest)
    close(stack.sum(0), lens["resid_post", -1])


def test_neurons_add_up_to_the_mlp(model: ClickTransformer, lens: ClickCache) -> None:
    stack, labels = lens.stack_neuron_results(2, pos_slice=5, return_labels=True)
    assert (len(labels), labels[128]) == (256, "L1N0")
    post = lens["post", 1][:, 5]
    close(stack[128 + 3], post[:, 3:4] * model.W_out[1, 3])
    close(stack[128:].sum(0) + model.b_out[1], lens["mlp_out", 1][:, 5])
    some = lens.get_neuron_results(0, neuron_slice=[2, 9], pos_slice=5)
    close(some[:, 1], lens["post", 0][:, 5, 9:10] * model.W_out[0, 9])


@pytest.mark.parametrize("neurons", [True, False])
def test_the_full_decomposition_adds_up_to_the_stream(
    model: ClickTransformer, lens: ClickCache, neurons: bool
) -> None:
    stack, labels = lens.get_full_resid_decomposition(
        expand_neurons=neurons, pos_slice=(3, 9), return_labels=True
    )
    assert len(labels) == len(stack) == 4 + (256 if neurons else 2) + 2
    close(stack.sum(0), lens["resid_post", -1][:, 3:9])
    bias = model.b_O.sum(0) + (model.b_out.sum(0) if neurons else 0)
    close(stack[labels.index("bias")][0, 0], bias)
    before_mlp = lens.get_full_resid_decomposition(1, mlp_input=True, expand_neurons=neurons)
    close(before_mlp.sum(0), lens["resid_mid", 1])


def test_projected_decompositions_are_products_with_the_direction(lens: ClickCache) -> None:
    direction = torch.linspace(-1, 1, 32)
    options: dict[str, Any] = {"pos_slice": -1, "apply_ln": True}
    whole = lens.get_full_resid_decomposition(**options)
    close(
        lens.get_full_resid_decomposition(**options, project_output_onto=direction),
        whole @ direction,
    )


@pytest.mark.parametrize(("layer", "mlp_input"), [(None, False), (0, False), (1, True)])
def test_the_norm_of_a_stack_is_its_share_of_the_norm(
    model: ClickTransformer, lens: ClickCache, layer: int | None, mlp_input: bool
) -> None:
    stack = lens.decompose_resid(layer, mlp_input=mlp_input)
    normed = lens.apply_ln_to_stack(stack, layer, mlp_input=mlp_input)
    whole = stack.sum(0)
    scale = (whole.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    close(normed[0], (stack[0] - stack[0].mean(-1, keepdim=True)) / scale)
    block = model.blocks[layer or 0]
    norm = model.ln_final if layer is None else block.ln2 if mlp_input else block.ln1
    close(normed.sum(0) * norm.w + norm.b, norm.normalise(whole))


def test_stacks_of_one_activation_have_a_layer_axis(lens: ClickCache) -> None:
    stack = lens.stack_activation("z")
    assert stack.shape == (2, *lens["z", 0].shape)
    assert torch.equal(stack[1], lens["z", 1])
    assert lens.stack_activation("pattern", 1).shape == (1, *lens["pattern", 0].shape)


def test_slices_of_the_batch_keep_what_a_cache_can_do(lens: ClickCache) -> None:
    one, last = lens.apply_slice_to_batch_dim(1), lens.apply_slice_to_batch_dim((1, 2))
    assert isinstance(one, ClickCache)
    assert torch.equal(one["resid_post", 0], lens["resid_post", 0][1])
    close(one["pattern", 1], lens["pattern", 1][1])
    close(last["pattern", 1], lens["pattern", 1][1:2])
    close(
        one.logit_attrs(one.decompose_resid(), (100, 50)),
        lens.logit_attrs(lens.decompose_resid(), (100, 50))[:, 1],
    )


def test_a_cache_moves_and_the_model_does_not(model: ClickTransformer, lens: ClickCache) -> None:
    assert lens.to("meta")["resid_post", 0].is_meta
    assert model.device.type == "cpu"


def test_a_batch_of_one_can_be_taken_off(model: ClickTransformer, make_inputs: MakeInputs) -> None:
    _, cache = model.run_with_cache(*make_inputs(1, 2))
    before = cache["resid_post", 1]
    assert torch.equal(cache.remove_batch_dim()["resid_post", 1], before[0])
    stack = cache.decompose_resid()
    close(stack.sum(0), before[0])
    assert cache.logit_attrs(stack, (3, 3)).shape == (5, 2)


@pytest.mark.parametrize(
    "name", ["compute_ssm_state", "compute_ssm_effective_attention", "ssm_layers"]
)
def test_what_has_no_meaning_is_refused_in_a_line(lens: ClickCache, name: str) -> None:
    with pytest.raises(InputError, match="no recurrent layers"):
        getattr(lens, name)()


# Attention


@pytest.mark.parametrize("segments", [None, torch.tensor([[0, 0, 1, 1], [3, 3, 3, 4]])])
def test_patterns_worked_out_are_those_of_the_pass(
    model: ClickTransformer, make_inputs: MakeInputs, segments: Tensor | None
) -> None:
    inputs = (*make_inputs(2, 4), segments)
    _, cache = model.run_with_cache(*inputs)
    assert "blocks.1.attn.hook_pattern" not in cache.keys()  # noqa: SIM118
    _, kept = model.run_with_cache(*inputs, names_filter=lambda name: True)
    close(cache["pattern", 1], kept["pattern", 1])
    close(cache["attn_scores", 0], kept["attn_scores", 0])


@pytest.mark.parametrize(("frame", "seen"), [(3, 3), (3, 2), (-1, -2), (1, 0), (0, 0)])
def test_a_picture_is_a_square_of_the_pattern(
    model: ClickTransformer, make_inputs: MakeInputs, frame: int, seen: int
) -> None:
    inputs, per = make_inputs(2, 4), model.config.tokens_per_frame
    _, cache = model.run_with_cache(*inputs)
    _, kept = model.run_with_cache(*inputs, names_filter=lambda name: True)
    whole = kept["pattern", 1][1].unflatten(-1, (4, per)).unflatten(1, (4, per))
    for one in (cache, kept):
        close(one.attention_picture(1, frame, seen, row=1), whole[:, frame, :, seen])
    total = sum(cache.attention_picture(1, 3, looked) for looked in range(4))
    close(total.sum(-1), torch.ones(2, per))


def test_a_picture_is_what_circuitsvis_takes(model: ClickTransformer, lens: ClickCache) -> None:
    drawn = pytest.importorskip("circuitsvis")
    names = list(model.config.token_names)
    picture = lens.attention_picture(0)
    assert picture.shape == (2, len(names), len(names))
    page = drawn.attention.attention_heads(attention=picture, tokens=names)
    assert "previous click" in str(page)


def test_pictures_of_frames_that_are_not_there_are_refused(
    model: ClickTransformer, lens: ClickCache, make_inputs: MakeInputs
) -> None:
    with pytest.raises(InputError, match="frame 4 is none of the 4"):
        lens.attention_picture(0, 4)
    _, part = model.run_with_cache(*make_inputs(1, 2), pos_slice=-1)
    with pytest.raises(InputError, match="run without pos_slice"):
        part["pattern", 0]
    with pytest.raises(InputError, match="run without pos_slice"):
        part.logit_attrs(part.decompose_resid(), (0, 0))


# Clicks


def patch_logit(model: ClickTransformer, cache: ClickCache, row: int, frame: int, xy: Any) -> Any:
    """Logit of the patch under a click, by hand, and what no part of the stream makes."""
    config, head = model.config, model.head
    x = cache["ln_final.hook_normalized"][row].unflatten(0, (-1, config.tokens_per_frame))[frame]
    (width, height), columns = config.patch, config.grid[0]
    column, down = xy[0] // width, xy[1] // height
    if config.head == "independent":
        own = slice(column * width, (column + 1) * width)
        high = slice(down * height, (down + 1) * height)
        reader = head.across.weight[own].mean(0) + head.down.weight[high].mean(0)
        constant = head.across.bias[own].mean() + head.down.bias[high].mean()
    else:
        key = head.key(x[down * columns + column]) / config.d_model**0.5
        reader, constant = key @ head.query.weight, key @ head.query.bias
    logit = reader @ x[config.cls_index] + constant
    return logit, reader @ model.ln_final.b + constant


@pytest.mark.parametrize("changes", HEADS)
def test_attributions_add_up_to_the_logit_of_the_click(
    make_model: MakeModel, make_inputs: MakeInputs, changes: dict[str, Any]
) -> None:
    model, click = make_model(**changes), (215, 131)
    clicks, cache = model.run_with_cache(*make_inputs(2, 4))
    for stack in (cache.decompose_resid(), cache.stack_head_results(incl_remainder=True)):
        parts = cache.logit_attrs(stack, click)
        assert parts.shape == (len(stack), 2, 4)
        logit, constant = patch_logit(model, cache, 1, 2, click)
        close(parts[:, 1, 2].sum() + constant, logit)
    if isinstance(clicks, PointerClicks):
        other = (12, 340)
        by_two = cache.logit_attrs(stack, click, other)
        logits = [patch_logit(model, cache, 1, 2, xy) for xy in (click, other)]
        constant = logits[0][1] - logits[1][1]
        (width, height), columns = model.config.patch, model.config.grid[0]
        numbers = [y // height * columns + x // width for x, y in (click, other)]
        wanted = clicks.patches[1, 2, numbers[0]] - clicks.patches[1, 2, numbers[1]]
        close(by_two[:, 1, 2].sum() + constant, wanted)


def test_attributions_follow_their_slices(model: ClickTransformer, lens: ClickCache) -> None:
    whole = lens.logit_attrs(lens.decompose_resid(), (300, 20))
    last = lens.logit_attrs(lens.decompose_resid(pos_slice=-1), (300, 20), pos_slice=-1)
    assert last.shape == (5, 2)
    close(last, whole[..., -1])
    places = model.cls_positions(4)[1:].tolist()
    some = lens.decompose_resid(pos_slice=places)
    close(lens.logit_attrs(some, (300, 20), pos_slice=places), whole[..., 1:])
    close(lens.logit_attrs(lens.decompose_resid(), (300, 20), batch_slice=1), whole[:, 1])
    targets = torch.tensor([300, 20]).expand(2, 4, 2)
    close(lens.logit_attrs(lens.decompose_resid(), targets), whole)


def test_clicks_that_cannot_be_attributed_are_refused(lens: ClickCache) -> None:
    stack = lens.decompose_resid()
    with pytest.raises(InputError, match="off the 480 x 360 screen"):
        lens.logit_attrs(stack, (480, 0))
    with pytest.raises(InputError, match="in whole px"):
        lens.logit_attrs(stack, 7)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"read at \[cls\]"):
        lens.logit_attrs(lens.decompose_resid(pos_slice=0), (0, 0), pos_slice=0)


def test_the_click_lens_ends_in_the_answer(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    clicks, cache = model.run_with_cache(*make_inputs(2, 3))
    read = cache.logit_lens()
    assert list(read) == ["0_pre", "1_pre", "final_post"]
    assert isinstance(clicks, PointerClicks)
    close(read["final_post"].patches, clicks.patches)
    early = model.read(cache["resid_pre", 1], cache["hook_cells"])
    assert torch.equal(read["1_pre"].patches, early.patches)
    assert list(cache.logit_lens([-1])) == ["final_post"]
