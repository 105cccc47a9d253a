"""The annotator that draws road networks."""

from __future__ import annotations

import numpy as np

from bcprobe.annotators.persona import Persona
from bcprobe.annotators.road_network_construction import (
    MISTAKE_RANGE,
    TILE,
    RoadNetworkPolicy,
    mistake_tiles,
)
from bcprobe.episodes.record import generate, open_world
from bcprobe.tasks.road_network_construction import TOLERANCE, State

NAME = "road_network_construction"


def test_nodes_set_by_mistake_lie_off_every_junction() -> None:
    world = open_world(NAME, 3).world
    for node in range(len(world.nodes)):
        middle = mistake_tiles(world, node) + (TILE - 1) / 2
        away = np.hypot(*(middle[:, None] - world.nodes[None]).transpose(2, 0, 1))
        assert len(middle) > 5
        assert away.min() > 2 * TOLERANCE
        assert away[:, node].max() < MISTAKE_RANGE[1]


def test_it_sets_all_nodes_then_draws_all_edges_and_looks_at_the_mask_between() -> None:
    episode = next(e for e in (generate(NAME, s) for s in range(20)) if _faultless(e))
    world = open_world(NAME, episode.world_seed).world
    widgets = [step.widget for step in episode.steps]
    nodes = len(world.nodes)
    assert widgets[: 6 + nodes] == [
        "Mask", "Mask", "Node", *["canvas"] * nodes, "Mask", "Mask", "Edge",
    ]  # fmt: skip
    assert widgets[-3:] == ["Mask", "Mask", "Done"]
    assert widgets.count("canvas") == nodes + 2 * len(world.roads)


def _faultless(episode) -> bool:
    return not any(step.undo_next for step in episode.steps)


def test_it_takes_an_end_back_from_which_no_road_is_missing() -> None:
    world = open_world(NAME, 3).world
    steps = tuple(tuple(node) for node in world.nodes.astype(int).tolist())
    ends = tuple((end,) for road in world.roads for end in road)
    state = State(mode="Edge", steps=(*steps, *ends, (0,)))
    persona = Persona(error_rate=0.0, carefulness=0.5, jitter=1.0, delay=0.2)
    policy = RoadNetworkPolicy()
    memory = policy.begin()
    for _ in range(2):
        (option,) = policy.options(world, state, memory, persona)
        memory = option.memory
    (option,) = policy.options(world, state, memory, persona)
    assert option.target.button == "Undo"
