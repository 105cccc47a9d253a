"""Models of every head, and pairs of every task."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bcprobe.interventions.pairs import Pair, twins
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import ClickTransformer

DOTS = "colored_dot_tracking"
FINE = ((40, 30, 8), (1, 3, 8), (2, 1, 16))


def model_of(**settings: object) -> ClickTransformer:
    torch.manual_seed(5)
    shape = {"d_model": 16, "n_layers": 3, "n_heads": 2, "stem": FINE, "context": 3}
    config = ClickTransformerConfig(**{**shape, "head": "fine_pointer", **settings})  # type: ignore[arg-type]
    return ClickTransformer(config).eval()


@pytest.fixture(scope="package")
def make_model() -> Callable[..., ClickTransformer]:
    return model_of


@pytest.fixture(scope="package")
def model() -> ClickTransformer:
    return model_of(n_registers=2)


@pytest.fixture(scope="package")
def dots() -> list[Pair]:
    """Pairs with three frames after the placement."""
    return twins(DOTS, 2, lags=3)
