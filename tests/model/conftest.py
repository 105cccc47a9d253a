from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bcprobe.experiments import tiny
from bcprobe.model.transformer import ClickTransformer

MakeModel = Callable[..., ClickTransformer]
MakeInputs = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(before)


@pytest.fixture
def make_model() -> MakeModel:
    """Models of the tiny shape, every parameter drawn by NumPy: the same on any machine."""

    def make(**changes: Any) -> ClickTransformer:
        model = ClickTransformer(replace(tiny().model, **changes))
        rng = np.random.default_rng(0)
        for name, parameter in model.named_parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
            values = rng.normal(float(name.endswith(".w")), scale, tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(values))
        return model.eval()

    return make


@pytest.fixture
def model(make_model: MakeModel) -> ClickTransformer:
    return make_model()


@pytest.fixture
def make_inputs() -> MakeInputs:
    """Frames uint8 [batch, frame, 3, 360, 480], channels last in memory, and previous clicks."""

    def make(batch: int, frames: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (batch, frames, 360, 480, 3), dtype=np.uint8)
        clicks = rng.integers(0, (480, 360), (batch, frames, 2))
        clicks[:, 0] = -1
        return torch.from_numpy(pixels).permute(0, 1, 4, 2, 3), torch.from_numpy(clicks)

    return make
