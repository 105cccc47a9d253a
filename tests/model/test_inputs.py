"""What a model takes, and what it says of anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.model.inputs import PADDING, make_inputs
from bcprobe.model.transformer import ClickTransformer

MakeInputs = Callable[..., tuple[Tensor, Tensor]]


class Shown:
    """What an episode is to a model."""

    def __init__(self, frames: Tensor, previous: Tensor) -> None:
        self.tensors = frames, previous

    def as_tensors(self) -> tuple[Tensor, Tensor]:
        return self.tensors


@pytest.fixture
def shown(make_inputs: MakeInputs) -> list[Shown]:
    return [Shown(*make_inputs(1, count, seed=count)) for count in (4, 2)]


def test_an_episode_is_a_row(model: ClickTransformer, shown: list[Shown]) -> None:
    plain = model(*shown[0].tensors)
    for answer in (model(shown[0]), model(model.inputs(shown[0]))):
        assert torch.equal(answer.patches, plain.patches)
    clicks, cache = model.run_with_cache(shown[0], names_filter="blocks.1.hook_resid_post")
    assert torch.equal(clicks.patches, plain.patches)
    assert cache["resid_post", -1].shape == (1, 4 * model.config.tokens_per_frame, 32)
    hook = ("hook_embed", lambda x, hook: x)
    assert torch.equal(model.run_with_hooks(shown[0], fwd_hooks=[hook]).patches, plain.patches)


def test_several_are_rows_and_padding_changes_no_answer(
    model: ClickTransformer, shown: list[Shown]
) -> None:
    frames, previous, segments = model.inputs(shown)
    assert frames.shape == (2, 4, 3, 360, 480)
    assert segments.tolist() == [[0, 0, 0, 0], [0, 0, PADDING, PADDING]]
    assert (frames[1, 2:] == 0).all()
    assert (previous[1, 2:] == -1).all()
    together = model(shown)
    for row, one in enumerate(shown):
        alone = model(one).patches[0]
        torch.testing.assert_close(together.patches[row, : len(alone)], alone, atol=1e-5, rtol=0)
    assert together.patches.isfinite().all()


def test_some_frames_can_be_chosen(shown: list[Shown]) -> None:
    inputs = make_inputs(shown, which=slice(-2, None))
    assert inputs.frames.shape[:2] == (2, 2)
    assert torch.equal(inputs.frames[0], shown[0].tensors[0][0, 2:])
    assert torch.equal(inputs.previous[0], shown[0].tensors[1][0, 2:])
    with pytest.raises(InputError, match="no frame is left"):
        make_inputs(shown, which=slice(3, None))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f, p: (f[0], p), r"a batch axis is missing"),
        (lambda f, p: (f[0, 0], p), r"batch and frame axes are missing"),
        (lambda f, p: (f.movedim(2, -1), p), r"channels come first: frames.movedim\(-1, -3\)"),
        (lambda f, p: (f.mT, p), "height comes before width"),
        (lambda f, p: (f / 255, p), "frames are float32 .* give pixels as bytes, 0-255"),
        (lambda f, p: (f[..., :240, :320], p), "360 px high and 480 px wide: resize them"),
        (lambda f, p: (f[:, :, :1], p), "a screen has 3 colours, these have 1 channels"),
        (lambda f, p: (f.numpy(), p.numpy()), r"give tensors, not 'ndarray' \(torch.from_numpy\)"),
        (lambda f, p: ([f, f], [p, p]), "give tensors, not 'list'"),
        (lambda f, p: ([(f, p)],), r"two arguments: model\(frames, previous\)"),
        (lambda f, p: (torch.zeros(1, 3, 5, 7), p), r"float \[batch, frame, 24, 32\]"),
        (lambda f, p: (f[:, :, :1], p), r"not uint8 \[batch, frame, 3, 360, 480\]"),
        (lambda f, p: (f, p[0]), r"previous clicks are int64 \[3, 2\]"),
        (lambda f, p: (f, p.float()), r"previous clicks are float32 \[1, 3, 2\]"),
        (lambda f, p: (f, p[:, :2]), r"for these frames they are int64 \[1, 3, 2\]"),
        (lambda f, p: (f, None), r"give previous clicks int64 \[batch, frame, 2\]"),
        (lambda f, p: (f, p, torch.zeros(3)), r"segments are float32 \[3\]"),
        (lambda f, p: (f, p.to("meta")), "previous lie on meta, the model on cpu; move them"),
        (lambda f, p: ("text",), "not 'str'"),
        (lambda f, p: ([],), "no episode"),
        (lambda f, p: ([3],), "not 'int'"),
        (lambda f, p: (3,), "not 'int'"),
    ],
)
def test_other_inputs_are_refused_in_a_line(
    model: ClickTransformer, make_inputs: MakeInputs, change: Any, told: str
) -> None:
    given = change(*make_inputs(1, 3))
    with pytest.raises(InputError, match=told) as found:
        model(*given)
    assert "\n" not in str(found.value)
    with pytest.raises(InputError, match=told):
        model.run_with_cache(*given)


def test_steps_are_checked_too(model: ClickTransformer, make_inputs: MakeInputs) -> None:
    frames, previous = make_inputs(1, 1)
    with pytest.raises(InputError, match="give pixels as bytes"):
        model.step(frames[:, 0].float(), previous[:, 0], model.start_cache())
    seen = model.encoder.see(frames[:, 0])
    stepped = model.step(seen, previous[:, 0], model.start_cache()).patches
    torch.testing.assert_close(stepped, model(frames, previous).patches, atol=1e-5, rtol=0)
