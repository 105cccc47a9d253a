"""Values of the wrong kind are refused in one line, whichever function they reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bcprobe as bp
from bcprobe.errors import InputError
from bcprobe.machine import pick_device

TASK = "colored_dot_tracking"
NO_SEEDS: list[Any] = [True, 5.0, "5", None, -1, 2**70, np.float32(3), [1], float("nan")]
SEEDED: dict[str, Callable[[Any], Any]] = {
    "episode": lambda seed: bp.episode(TASK, seed=seed),
    "episodes": lambda seed: bp.episodes(TASK, n=1, first=seed),
    "twins": lambda seed: bp.twins(TASK, n=1, seed=seed),
    "rollout": lambda seed: bp.rollout("dots-nano", n=1, first=seed),
    "activations": lambda seed: bp.activations("dots-nano", episodes=1, seed=seed),
}
NO_COUNTS: list[Any] = [0, -3, "2", 1.5, None, True]
COUNTED: dict[str, Callable[[Any], Any]] = {
    "episodes": lambda n: bp.episodes(TASK, n=n),
    "twins": lambda n: bp.twins(TASK, n=n),
    "lags": lambda n: bp.twins(TASK, n=1, lags=n),
    "rollout": lambda n: bp.rollout("dots-nano", n=n),
    "activations": lambda n: bp.activations("dots-nano", episodes=n),
}


def refused(work: Callable[[], Any]) -> None:
    with pytest.raises(InputError) as told:
        work()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("seed", NO_SEEDS, ids=repr)
@pytest.mark.parametrize("name", SEEDED)
def test_what_is_no_seed(name: str, seed: Any) -> None:
    refused(lambda: SEEDED[name](seed))


@pytest.mark.parametrize("count", NO_COUNTS, ids=repr)
@pytest.mark.parametrize("name", COUNTED)
def test_what_is_no_count(name: str, count: Any) -> None:
    refused(lambda: COUNTED[name](count))


@pytest.mark.parametrize("name", [3, None, ["dots-nano"], b"dots-nano", "a@b@c"], ids=repr)
def test_what_names_no_checkpoint(name: Any) -> None:
    refused(lambda: bp.load(name))


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", "cuda", "", "tpu:0"])
def test_devices_that_are_not_here(device: str) -> None:
    if device == "cuda" and pick_device().startswith("cuda"):
        pytest.skip("there is one")
    refused(lambda: bp.load("dots-nano", device=device))


@pytest.mark.parametrize("shift", ["x", [3], float("nan"), -5, 1j], ids=repr)
def test_what_is_no_distance(shift: Any) -> None:
    episode = bp.episode(TASK, seed=1)
    refused(lambda: bp.counterfactual(episode, shift=shift))


def test_other_objects_than_asked_for() -> None:
    model, episode = bp.load("dots-nano"), bp.episode(TASK, seed=1)
    refused(lambda: bp.probe(model, "mistake"))  # type: ignore[arg-type]
    refused(lambda: bp.patch(model, [episode]))  # type: ignore[list-item]
    refused(lambda: bp.patch(model, []))
    refused(lambda: bp.episode(["neuron_tracking"], seed=1))  # type: ignore[arg-type]
