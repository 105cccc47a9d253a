"""A model stays where its owner put it, and shapes hold on a device without numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import bcprobe as bp
from bcprobe.interventions.steer import steer
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed
from bcprobe.studies.directions import examples, fit, steering_rows

DOTS = "colored_dot_tracking"


@pytest.fixture
def fixed() -> ClickTransformer:
    """A model that cannot be moved or cast: ``to``, ``cpu``, ``float``... all go by ``_apply``."""
    model = bp.load("dots-nano")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the caller's model was moved")

    model._apply = refuse
    with pytest.raises(AssertionError):
        model.cpu()
    return model


def _steered_rows(model: ClickTransformer) -> list[dict[str, Any]]:
    seen = examples(model, DOTS, [split_seed("test", number) for number in range(6)])
    return list(steering_rows(model, fit([seen]), DOTS, 2))


WORK: dict[str, Callable[[ClickTransformer], Any]] = {
    "run_with_cache": lambda model: model.run_with_cache(bp.episode(DOTS, seed=1)),
    "activations": lambda model: bp.activations(model, DOTS, episodes=2, progress=False),
    "patch": lambda model: bp.patch(model, bp.twins(DOTS, n=2), tokens=["placed"], workers=1),
    "steer": lambda model: steer(
        model, [DOTS], pairs=2, fitted=8, worlds=1, ranks=(1,), random=2, max_steps=5, workers=1
    ),
    "rollout": lambda model: bp.rollout(model, DOTS, n=1, max_steps=5, progress=False),
    "study": _steered_rows,
}


@pytest.mark.parametrize("name", WORK)
def test_a_callers_model_is_never_moved(name: str, fixed: ClickTransformer) -> None:
    WORK[name](fixed)


def test_shapes_and_devices_hold_where_there_are_no_numbers() -> None:
    config = bp.load("nine-nano-longer").config
    with torch.device("meta"):
        model = ClickTransformer(config)
    frames = torch.zeros(1, 3, 3, 360, 480, dtype=torch.uint8, device="meta")
    previous = torch.zeros(1, 3, 2, dtype=torch.int64, device="meta")
    _, cache = model.run_with_cache(frames, previous)
    stream = cache["resid_post", -1]
    assert stream.device.type == "meta"
    assert stream.shape[-1] == model.config.d_model
