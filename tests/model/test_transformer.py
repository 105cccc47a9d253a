from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformer_lens import ActivationCache

from bcprobe.errors import InputError
from bcprobe.model.heads import PointerClicks
from bcprobe.model.hooked import LARGE
from bcprobe.model.transformer import ClickTransformer

MakeModel = Callable[..., ClickTransformer]
MakeInputs = Callable[..., tuple[Tensor, Tensor]]


def parts(clicks: Any) -> tuple[Tensor, ...]:
    """The tensors a distribution is made of."""
    if isinstance(clicks, PointerClicks):
        return clicks.patches, clicks.inner, clicks.hidden
    return clicks.x, clicks.y


def gap(a: Any, b: Any) -> float:
    """Largest difference between two distributions."""
    return max(float((p - q).abs().max()) for p, q in zip(parts(a), parts(b), strict=True))


def is_residual(name: str) -> bool:
    return name == "hook_embed" or "resid" in name or name.endswith(("attn_out", "mlp_out"))


# Caching


@pytest.mark.parametrize("head", ["pointer", "independent"])
def test_caching_the_residual_stream_changes_no_bit(
    make_model: MakeModel, make_inputs: MakeInputs, head: str
) -> None:
    model, inputs = make_model(head=head), make_inputs(2, 5)
    plain = model(*inputs)
    clicks, cache = model.run_with_cache(*inputs, names_filter=is_residual)
    assert gap(plain, clicks) == 0
    assert isinstance(cache, ActivationCache)
    assert len(cache) == 1 + 5 * model.config.n_layers
    assert gap(plain, model(*inputs)) == 0


def test_caching_everything_changes_next_to_nothing(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    inputs = make_inputs(2, 5)
    clicks, cache = model.run_with_cache(*inputs)
    assert gap(model(*inputs), clicks) < 1e-5
    unasked = {name for name in model.hook_dict if not name.endswith(tuple(LARGE))}
    assert set(cache.keys()) == unasked
    clicks, every = model.run_with_cache(*inputs, names_filter=lambda name: True)
    assert gap(model(*inputs), clicks) < 1e-5
    assert set(every.keys()) == set(model.hook_dict)
    _, some = model.run_with_cache(*inputs, names_filter=is_residual)
    for name in some.keys():  # noqa: SIM118
        torch.testing.assert_close(some[name], cache[name], atol=1e-5, rtol=0)


def test_the_residual_stream_is_the_sum_of_its_parts(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    _, cache = model.run_with_cache(*make_inputs(2, 4), names_filter=is_residual)
    total = cache["hook_embed"].clone()
    for layer in range(model.config.n_layers):
        site = f"blocks.{layer}.hook_"
        torch.testing.assert_close(cache[site + "resid_pre"], total, atol=1e-5, rtol=0)
        middle = cache[site + "resid_pre"] + cache[site + "attn_out"]
        assert torch.equal(middle, cache[site + "resid_mid"])
        assert torch.equal(middle + cache[site + "mlp_out"], cache[site + "resid_post"])
        total += cache[site + "attn_out"] + cache[site + "mlp_out"]
    torch.testing.assert_close(cache[site + "resid_post"], total, atol=1e-5, rtol=0)


def test_activations_have_their_shapes(model: ClickTransformer, make_inputs: MakeInputs) -> None:
    _, cache = model.run_with_cache(*make_inputs(2, 4))
    tokens = 4 * model.config.tokens_per_frame
    assert cache["blocks.0.hook_resid_post"].shape == (2, tokens, 32)
    assert cache["blocks.0.attn.hook_pattern"].shape == (2, 2, tokens, tokens)
    assert cache["blocks.0.attn.hook_q"].shape == (2, tokens, 2, 16)
    assert cache["blocks.0.mlp.hook_post"].shape == (2, tokens, 128)
    assert cache["ln_final.hook_scale"].shape == (2, tokens, 1)


def test_the_last_residual_reads_as_the_answer(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    name = "blocks.1.hook_resid_post"
    names = [name, "hook_cells"]
    clicks, cache = model.run_with_cache(*make_inputs(2, 4), names_filter=names)
    assert gap(clicks, model.read(cache[name], cache["hook_cells"])) == 0


def test_cls_positions_name_the_cls_tokens(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    _, cache = model.run_with_cache(*make_inputs(2, 3), names_filter="hook_embed")
    embedded = cache["hook_embed"][:, model.cls_positions(3)]
    assert torch.equal(embedded, model.encoder.extra[-1].expand(2, 3, -1))


# What a frame can see


def changed_frames(model: ClickTransformer, inputs: tuple[Tensor, Tensor], frame: int) -> set[int]:
    """Frames whose answer changes when one frame's pixels and click do."""
    pixels, clicks = (part.clone() for part in inputs)
    pixels[:, frame] = 255 - pixels[:, frame]
    clicks[:, frame] = torch.tensor([17, 211])
    pairs = zip(parts(model(*inputs)), parts(model(pixels, clicks)), strict=True)
    differs = torch.stack([(a != b).flatten(2).any(-1).any(0) for a, b in pairs]).any(0)
    return set(differs.nonzero().flatten().tolist())


@pytest.mark.parametrize("frame", [0, 3, 6])
def test_a_frame_cannot_change_an_earlier_answer(
    model: ClickTransformer, make_inputs: MakeInputs, frame: int
) -> None:
    assert min(changed_frames(model, make_inputs(2, 7), frame)) == frame


@pytest.mark.parametrize("frame", [0, 1, 4])
def test_with_one_layer_frames_outside_the_window_have_no_influence(
    make_model: MakeModel, make_inputs: MakeInputs, frame: int
) -> None:
    model = make_model(n_layers=1, context=3)
    found = changed_frames(model, make_inputs(2, 8), frame)
    assert found == {frame, frame + 1, frame + 2}


@pytest.mark.parametrize("head", ["pointer", "independent"])
def test_two_episodes_on_one_row_are_as_two_rows(
    make_model: MakeModel, make_inputs: MakeInputs, head: str
) -> None:
    model = make_model(head=head, context=4)
    (frames, previous), (others, before) = make_inputs(1, 5), make_inputs(1, 4, seed=1)
    row = torch.cat([frames, others], dim=1), torch.cat([previous, before], dim=1)
    segments = torch.tensor([[7] * 5 + [8] * 4])
    together = model(*row, segments)
    for part, first, second in zip(
        parts(together), parts(model(frames, previous)), parts(model(others, before)), strict=True
    ):
        torch.testing.assert_close(part[:, :5], first, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(part[:, 5:], second, atol=1e-5, rtol=1e-5)


# Stepping


def steps(model: ClickTransformer, inputs: tuple[Tensor, Tensor]) -> list[Any]:
    cache = model.start_cache()
    frames, previous = inputs
    return [model.step(frames[:, t], previous[:, t], cache) for t in range(frames.shape[1])]


def assert_steps_equal(found: list[Any], whole: Any, rows: Any = slice(None)) -> None:
    for frame, clicks in enumerate(found):
        for part, other in zip(parts(clicks), parts(whole), strict=True):
            torch.testing.assert_close(part[:, 0], other[rows, frame], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", ["pointer", "independent"])
@pytest.mark.parametrize("registers", [0, 2])
def test_stepping_equals_the_whole_pass(
    make_model: MakeModel, make_inputs: MakeInputs, head: str, registers: int
) -> None:
    model, inputs = make_model(head=head, n_registers=registers), make_inputs(2, 11)
    assert_steps_equal(steps(model, inputs), model(*inputs))


def test_stepping_with_a_window_of_one_frame(
    make_model: MakeModel, make_inputs: MakeInputs
) -> None:
    model, inputs = make_model(context=1), make_inputs(2, 4)
    assert_steps_equal(steps(model, inputs), model(*inputs))


def test_stepping_goes_on_after_episodes_are_dropped(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    frames, previous = make_inputs(3, 12)
    cache, rows = model.start_cache(), torch.tensor([2, 0])
    for t in range(5):
        model.step(frames[:, t], previous[:, t], cache)
    cache.select(rows)
    found = [model.step(frames[rows, t], previous[rows, t], cache) for t in range(5, 12)]
    whole = model(frames, previous)
    for t, clicks in enumerate(found, 5):
        for part, other in zip(parts(clicks), parts(whole), strict=True):
            torch.testing.assert_close(part[:, 0], other[rows, t], atol=1e-5, rtol=1e-5)


def test_the_ring_holds_no_more_than_the_window(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    cache = model.start_cache()
    frames, previous = make_inputs(1, 9)
    for t in range(9):
        model.step(frames[:, t], previous[:, t], cache)
    assert all(layer.k.shape[1] == model.config.context - 1 for layer in cache.layers)


def test_hooks_steer_step_by_step_as_in_the_whole_pass(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    inputs, direction = make_inputs(2, 8), torch.linspace(-2, 2, 32)

    def push(residual: Tensor, hook: Any) -> Tensor:
        residual[:, model.cls_positions(residual.shape[1] // model.config.tokens_per_frame)] += (
            direction
        )
        return residual

    plain = model(*inputs)
    with model.hooks(fwd_hooks=[("blocks.0.hook_resid_post", push)]):
        found, whole = steps(model, inputs), model(*inputs)
    assert_steps_equal(found, whole)
    assert gap(plain, whole) > 0.1
    assert gap(plain, model(*inputs)) == 0


def test_a_hook_on_the_pattern_steers_step_by_step(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    inputs = make_inputs(2, 7)

    def first_head_off(pattern: Tensor, hook: Any) -> Tensor:
        pattern[:, 0] = 0
        return pattern

    with model.hooks(fwd_hooks=[("blocks.1.attn.hook_pattern", first_head_off)]):
        found, whole = steps(model, inputs), model(*inputs)
    assert_steps_equal(found, whole)
    assert gap(whole, model(*inputs)) > 0.01


# Names of hooks

WRONG, NEAR = "blocks.0.hook_resid_pst", "did you mean 'blocks.0.hook_resid_post'"


@pytest.mark.parametrize("names", [WRONG, ["hook_embed", WRONG], ("hook_embed", WRONG)])
def test_caching_an_unknown_name_is_refused(
    model: ClickTransformer, make_inputs: MakeInputs, names: Any
) -> None:
    with pytest.raises(InputError, match=NEAR):
        model.run_with_cache(*make_inputs(1, 1), names_filter=names)


@pytest.mark.parametrize("names", [lambda name: name == WRONG, []])
def test_a_filter_that_keeps_nothing_is_refused(
    model: ClickTransformer, make_inputs: MakeInputs, names: Any
) -> None:
    with pytest.raises(InputError, match="keeps none of the model's 54 hooks"):
        model.run_with_cache(*make_inputs(1, 1), names_filter=names)


@pytest.mark.parametrize("name", [WRONG, "blocks.0", "head", ""])
def test_hooking_an_unknown_name_is_refused(
    model: ClickTransformer, make_inputs: MakeInputs, name: str
) -> None:
    def nothing(value: Tensor, hook: Any) -> None:
        raise AssertionError("the hook ran")

    with pytest.raises(InputError, match=f"unknown hook '{name}'; did you mean"):
        model.add_hook(name, nothing)
    with pytest.raises(InputError, match=f"unknown hook '{name}'; did you mean"):
        model.run_with_hooks(
            *make_inputs(1, 1), fwd_hooks=[("hook_embed", nothing), (name, nothing)]
        )
    with (
        pytest.raises(InputError, match="did you mean"),
        model.hooks(bwd_hooks=[(name, nothing)]),
    ):
        pass
    model(*make_inputs(1, 1))


def test_a_tuple_of_names_is_cached(model: ClickTransformer, make_inputs: MakeInputs) -> None:
    names = ("hook_embed", "blocks.1.hook_mlp_out")
    _, cache = model.run_with_cache(*make_inputs(1, 1), names_filter=names)
    assert set(cache.keys()) == set(names)


def test_hooks_by_function_and_hooks_that_stay(
    model: ClickTransformer, make_inputs: MakeInputs
) -> None:
    seen: list[str] = []
    model.add_hook(lambda name: name.endswith("resid_post"), lambda x, hook: seen.append(hook.name))
    model(*make_inputs(1, 1))
    assert seen == ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]
    model.reset_hooks()
    model(*make_inputs(1, 1))
    assert len(seen) == 2


def test_gradients_reach_every_parameter(make_model: MakeModel, make_inputs: MakeInputs) -> None:
    frames, previous = make_inputs(2, 3)
    for head in ("pointer", "independent"):
        model = make_model(head=head)
        with torch.enable_grad():
            clicks = model(frames, previous)
            (-clicks.click_log_prob(previous.clamp(min=0)).mean()).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_shape_is_read_from_the_config(make_model: MakeModel) -> None:
    model = make_model(n_registers=3)
    assert model.config.tokens_per_frame == 24 + 2 + 3
    assert model.cls_positions(2).tolist() == [28, 57]
