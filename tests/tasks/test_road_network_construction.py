"""The road network and the rules of its annotation tool."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from bcprobe.rng import generator
from bcprobe.tasks.road_maps import World
from bcprobe.tasks.road_network_construction import RoadNetworkConstruction, State

TASK = RoadNetworkConstruction()


def sample(seed: int = 0, difficulty: str = "default") -> World:
    return TASK.sample(generator("test", seed), difficulty)


def draw_nodes(world: World) -> State:
    state = TASK.press(world, TASK.open(world), "Node")
    for x, y in world.nodes.astype(int).tolist():
        state = TASK.place(world, state, x, y)
    return TASK.press(world, state, "Edge")


def pick(world: World, state: State, *nodes: int) -> State:
    for node in nodes:
        state = TASK.place(world, state, *world.nodes[node].astype(int).tolist())
    return state


@pytest.mark.parametrize("difficulty", ["easy", "default", "hard"])
def test_networks_have_5_to_9_nodes_and_6_to_12_roads_that_hang_together(difficulty: str) -> None:
    for seed in range(20):
        world = sample(seed, difficulty)
        assert 5 <= len(world.nodes) <= 9
        assert 6 <= len(world.roads) <= 12
        reached = {0}
        for _ in world.nodes:
            reached |= {n for road in world.roads if reached & set(road) for n in road}
        assert len(reached) == len(world.nodes)
        assert all(
            np.hypot(*(world.nodes[a] - world.nodes[b])) > 20
            for a, b in combinations(range(len(world.nodes)), 2)
        )


def test_the_mask_is_brightest_along_the_roads() -> None:
    world = sample(1, "easy")
    mask = TASK.images(world)[1].astype(int).sum(axis=2)
    x, y = world.nodes.astype(int).T
    assert mask[y, x].min() > 2 * np.median(mask)


def test_score_is_one_when_all_roads_are_drawn() -> None:
    world = sample()
    state = pick(world, draw_nodes(world), *(end for road in world.roads for end in road))
    assert TASK.score(world, state).score == 1
    assert TASK.score(world, TASK.press(world, state, "Done")).success
    assert TASK.latents(world, state).progress == 1


def test_an_edge_without_a_road_is_a_structural_mistake_and_leaves_its_first_end() -> None:
    world = sample()
    pairs = combinations(range(len(world.nodes)), 2)
    a, b = next(pair for pair in pairs if pair not in world.roads)
    waiting = pick(world, draw_nodes(world), a)
    wrong = pick(world, waiting, b)
    assert TASK.latents(world, wrong).mistake_kind == "structural"
    assert TASK.press(world, wrong, "Undo") == waiting
    assert not TASK.latents(world, waiting).mistake
    assert not TASK.states(world, waiting)[0].enabled


def test_a_node_off_its_junction_is_a_spatial_mistake() -> None:
    world = sample()
    x, y = world.nodes[0].astype(int).tolist()
    near, off = (TASK.place(world, State(mode="Node"), x + d, y) for d in (5, 12))
    assert not TASK.latents(world, near).mistake
    assert TASK.latents(world, off).mistake_kind == "spatial"


def test_no_second_node_and_no_edge_is_drawn_twice() -> None:
    world = sample()
    state = draw_nodes(world)
    nodes = TASK.press(world, state, "Node")
    assert pick(world, nodes, 0) == nodes
    once = pick(world, state, *world.roads[0])
    half = pick(world, once, world.roads[0][0])
    assert pick(world, half, world.roads[0][1]) == half
    assert pick(world, half, world.roads[0][0]) == half


def test_nothing_is_set_before_a_mode_is_chosen() -> None:
    world = sample()
    assert TASK.place(world, TASK.open(world), 100, 100) == TASK.open(world)
    assert [shown.enabled for shown in TASK.states(world, TASK.open(world))] == [
        True, False, True, False, True,
    ]  # fmt: skip
