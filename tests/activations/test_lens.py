"""One decision: the lens ends in the model's answer, parts sum to the logits, weights to 1."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformer_lens import ActivationCache

from bcprobe.activations import lens
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import frames, generate
from bcprobe.errors import InputError
from bcprobe.model.transformer import ClickTransformer

TASK = "colored_dot_tracking"
STEP = 9


@pytest.fixture(scope="module")
def episode() -> Episode:
    return generate(TASK, 3, difficulty="easy")


def drawn(model: ClickTransformer) -> ClickTransformer:
    """The model with every norm, bias and weight drawn, so that none is 0 or 1."""
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
            values = rng.normal(float(name.endswith(".w")), scale, tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(values))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=["pointer", "fine_pointer", "independent"])
def model(request: pytest.FixtureRequest, small_model: ClickTransformer) -> ClickTransformer:
    stem = small_model.config.stem
    if request.param == "fine_pointer":
        stem = ((8, 6, 4), (5, 5, 8), (2, 3, stem[-1][2]))
    return drawn(ClickTransformer(replace(small_model.config, head=request.param, stem=stem)))


@pytest.fixture(scope="module")
def decision(episode: Episode, model: ClickTransformer) -> lens.Decision:
    return lens.look(episode, STEP, model)


@pytest.fixture(scope="module")
def whole(episode: Episode, model: ClickTransformer) -> tuple[Any, ActivationCache]:
    """The answers to the whole episode, and every activation."""
    return model.run_with_cache(*episode.as_tensors())


def test_the_last_lens_is_the_answer_of_the_whole_pass(
    episode: Episode, whole: tuple[Any, ActivationCache], decision: lens.Decision
) -> None:
    clicks, _ = whole
    assert decision.heat.shape == (3, 360, 480)
    np.testing.assert_allclose(decision.heat.sum((1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(decision.heat[-1], clicks.heat_map()[0, STEP], rtol=1e-3, atol=1e-9)
    assert decision.choice == tuple(clicks.argmax()[0, STEP].tolist())
    assert decision.click == episode.steps[STEP].click


def test_an_earlier_lens_is_the_head_before_its_time(
    model: ClickTransformer, whole: tuple[Any, ActivationCache], decision: lens.Decision
) -> None:
    early = model.read(whole[1][decision.sites[1]], whole[1]["hook_cells"]).heat_map()[0, STEP]
    np.testing.assert_allclose(decision.heat[1], early, rtol=1e-3, atol=1e-9)


def test_weights_are_those_of_the_whole_pattern(
    model: ClickTransformer, whole: tuple[Any, ActivationCache], decision: lens.Decision
) -> None:
    config = model.config
    per_frame, context = config.tokens_per_frame, config.context
    for layer in range(config.n_layers):
        pattern = whole[1][f"blocks.{layer}.attn.hook_pattern"][0]
        row = pattern[:, STEP * per_frame + config.cls_index].unflatten(-1, (-1, per_frame))
        seen = row[:, STEP + 1 - context : STEP + 1, : config.n_patches]
        own = decision.attention[layer].reshape(config.n_heads, context, -1)
        np.testing.assert_allclose(own, seen, atol=1e-5)
    total = decision.attention.sum((-1, -2)) + decision.elsewhere
    np.testing.assert_allclose(total.sum(-1), 1, atol=1e-5)


def test_frames_attended_to_are_those_of_the_window(
    episode: Episode, decision: lens.Decision
) -> None:
    shown = list(frames(episode))
    assert decision.steps == (STEP - 2, STEP - 1, STEP)
    assert all(
        np.array_equal(screen, shown[t])
        for t, screen in zip(decision.steps, decision.screens, strict=True)
    )


def test_parts_sum_to_the_logits_of_the_head(
    model: ClickTransformer, whole: tuple[Any, ActivationCache], decision: lens.Decision
) -> None:
    parts = decision.attribution
    together = parts.start + parts.heads.sum((0, 1)) + parts.mlps.sum(0) + parts.biases
    np.testing.assert_allclose(together, parts.logits, atol=1e-4)
    assert np.ptp(parts.logits) > 0.1
    np.testing.assert_allclose(parts.logits, centred_cells(whole[0], model), atol=1e-4)


def centred_cells(clicks: Any, model: ClickTransformer) -> np.ndarray:
    """Logits of the cells [row, column]; of the independent head, means over their pixels."""
    (width, height), (columns, rows) = model.config.patch, model.config.grid
    if model.config.head != "independent":
        cells = clicks.patches[0, STEP].reshape(rows, columns)
    else:
        x = clicks.x[0, STEP].reshape(columns, width).mean(1)
        y = clicks.y[0, STEP].reshape(rows, height).mean(1)
        cells = y[:, None] + x
    return (cells - cells.mean()).numpy()


def test_taking_a_head_away_takes_its_part_away(
    episode: Episode,
    model: ClickTransformer,
    whole: tuple[Any, ActivationCache],
    decision: lens.Decision,
) -> None:
    """In the last layer, whose MLP is put back as it was, and with the norm's scale held."""
    config, last = model.config, model.config.n_layers - 1

    def cut(z: torch.Tensor, hook: object) -> torch.Tensor:
        z = z.clone()
        z[:, STEP * config.tokens_per_frame + config.cls_index, 1] = 0
        return z

    held = (f"blocks.{last}.hook_mlp_out", "ln_final.hook_scale")
    hold = [(name, lambda x, hook: whole[1][hook.name]) for name in held]
    cuts = [(f"blocks.{last}.attn.hook_z", cut), *hold]
    after = model.run_with_hooks(*episode.as_tensors(), fwd_hooks=cuts)
    part = decision.attribution.heads[last, 1]
    assert np.abs(part).max() > 1e-3
    change = centred_cells(whole[0], model) - centred_cells(after, model)
    np.testing.assert_allclose(part, change, atol=1e-4)
    column, row = (decision.click.x // config.patch[0], decision.click.y // config.patch[1])
    assert decision.attribution.at(decision.click).heads[last, 1] == part[row, column]


def test_the_opening_has_one_frame(episode: Episode, small_model: ClickTransformer) -> None:
    decision = lens.look(episode, 0, small_model)
    assert decision.steps == (0,)
    assert decision.attention.shape[2] == 1


def test_the_reach_is_a_window_back_per_layer(small_model: ClickTransformer) -> None:
    assert small_model.config.reach == 5 < STEP
    assert replace(small_model.config, n_layers=5, context=6).reach == 26


def test_a_step_outside_is_one_line(episode: Episode, small_model: ClickTransformer) -> None:
    with pytest.raises(InputError, match=f"outside the episode's 0-{len(episode) - 1}"):
        lens.look(episode, len(episode), small_model)
