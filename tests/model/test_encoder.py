from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bcprobe.model.encoder import ClickEncoder
from bcprobe.model.transformer import ClickTransformer

MakeModel = Callable[..., ClickTransformer]
MakeInputs = Callable[..., tuple[Tensor, Tensor]]
#: Stems whose rows of pixels are whole 8-byte words, and whose are not.
STEMS = [
    ((40, 30, 16), (2, 3, 32)),
    ((8, 6, 4), (5, 5, 8), (2, 3, 32)),
    ((4, 4, 4), (5, 5, 8), (2, 2, 32)),
    ((2, 3, 3), (2, 2, 4), (5, 5, 8), (2, 3, 32)),
]


def reference(encoder: Any, frames: Tensor) -> Tensor:
    """Plain convolutions of float64 pixels."""
    x, before = frames.contiguous().double() / 64 - 1, 3
    for number, ((width, height, after), stage) in enumerate(
        zip(encoder.config.stem, encoder.stages, strict=True)
    ):
        weight = stage.weight.view(after, height, width, before).permute(0, 3, 1, 2)
        x = F.conv2d(x.relu() if number else x, weight, stage.bias, (height, width))
        before = after
    return x.flatten(2).mT + encoder.position, None


@pytest.mark.parametrize("stem", STEMS, ids=lambda stem: f"{len(stem)} stages from {stem[0][0]} px")
def test_the_encoder_equals_plain_convolutions(
    make_model: MakeModel, make_inputs: MakeInputs, stem: tuple[tuple[int, int, int], ...]
) -> None:
    encoder = make_model(stem=stem).encoder.patches.double()
    frames = make_inputs(3, 1)[0][:, 0]
    found, wanted = [], []
    for results, run in ((found, encoder), (wanted, lambda x: reference(encoder, x))):
        encoder.zero_grad()
        with torch.enable_grad():
            tokens, _ = run(frames)
            tokens.square().sum().backward()
        results += [tokens.detach(), *(p.grad.clone() for p in encoder.parameters())]
    assert len(found) == 2 + 2 * len(stem)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stem", STEMS[:3])
def test_where_the_bytes_lie_makes_no_difference(
    make_model: MakeModel, make_inputs: MakeInputs, stem: tuple[tuple[int, int, int], ...]
) -> None:
    encoder = make_model(stem=stem).encoder.see
    frames = make_inputs(2, 1)[0][:, 0]
    assert torch.equal(encoder(frames), encoder(frames.contiguous()))


def test_a_frame_is_encoded_by_itself(model: ClickTransformer, make_inputs: MakeInputs) -> None:
    frames, previous = make_inputs(2, 3)
    whole, _ = model.encoder(frames, previous)
    for t in range(3):
        alone, _ = model.encoder(frames[:, t : t + 1], previous[:, t : t + 1])
        torch.testing.assert_close(whole[:, t], alone[:, 0], atol=1e-6, rtol=1e-6)


def test_tokens_stand_in_their_order(model: ClickTransformer, make_inputs: MakeInputs) -> None:
    """Patches row by row, the previous click, [cls]: a pixel moves only its own patch."""
    frames, previous = make_inputs(1, 1)
    before, _ = model.encoder(frames, previous)
    frames[0, 0, :, 100, 400] = 255 - frames[0, 0, :, 100, 400]  # row 1, column 5 of 4 x 6
    changed = (model.encoder(frames, previous)[0] != before).any(-1)[0, 0].nonzero().flatten()
    assert changed.tolist() == [1 * 6 + 5]
    changed = (model.encoder(frames, previous + 9)[0] != before).any(-1)[0, 0].nonzero().flatten()
    assert changed.tolist() == [11, 24]


def test_clicks_one_pixel_apart_are_told_apart() -> None:
    torch.manual_seed(0)
    encoder = ClickEncoder(32)
    x = torch.arange(480)
    tokens = encoder(torch.stack([x, torch.full_like(x, 100)], dim=-1))
    assert float((tokens[1:] - tokens[:-1]).norm(dim=-1).min()) > 1e-3
    assert torch.equal(encoder(torch.tensor([-1, -1])), encoder.none)


def test_pixels_are_read_as_they_are_written(make_model: MakeModel) -> None:
    """Uniform screens: the first stage sees pixels / 64 - 1."""
    encoder = make_model().encoder.patches.double()
    for level in (0, 64, 255):
        frames = torch.full((1, 3, 360, 480), level, dtype=torch.uint8)
        found, wanted = encoder(frames)[0], reference(encoder, frames)[0]
        np.testing.assert_allclose(found, wanted, atol=1e-9)
