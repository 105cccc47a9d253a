"""Worlds that are done with are let go of at once."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from bcprobe.episodes.embedding_cache import EmbeddingCache
from bcprobe.episodes.record import open_world
from bcprobe.episodes.simulator import Simulator
from bcprobe.tasks import TASKS


@pytest.mark.parametrize("task", list(TASKS))
def test_a_world_goes_with_its_simulator_without_the_collector(task: str) -> None:
    simulator = open_world(task, 3)
    simulator.screen()
    other = simulator.again()
    assert other.images is simulator.images
    gone = weakref.ref(simulator.drawn)
    gc.disable()
    try:
        del simulator, other
        assert gone() is None
    finally:
        gc.enable()


def test_an_environment_lets_go_of_the_world_before() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    import bcprobe.episodes.gym  # noqa: F401

    many = gymnasium.make_vec("bcprobe/3dExplorationClassification-v0", num_envs=2)
    many.reset(seed=0)
    old = [weakref.ref(env.simulator.drawn) for env in many.unwrapped.envs]
    gc.disable()
    try:
        many.reset(seed=5)
        many.step(np.full((2, 2), 100))
        assert [one() for one in old] == [None, None]
    finally:
        gc.enable()


def test_tokens_of_two_layouts_of_a_world_are_two() -> None:
    world = open_world("colored_dot_tracking", 0)
    other = Simulator(world.task, world.world, "split", drawn=world.drawn)
    cache = EmbeddingCache(lambda x: x.float().mean((1, 2))[..., None], torch.device("cpu"))
    first, second = cache.embed([world, other])
    assert not torch.equal(first, second)
