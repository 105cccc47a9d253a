"""The annotator that follows a neuron."""

from __future__ import annotations

from collections import Counter

import numpy as np

from bcprobe.annotators.neuron_tracking import NeuronPolicy, mistake_tiles
from bcprobe.annotators.persona import Persona
from bcprobe.episodes.record import generate, open_world
from bcprobe.tasks.neuron_tracking import NeuronTracking, State

NAME = "neuron_tracking"
TASK = NeuronTracking()


def test_mistaken_marks_lie_in_neighbouring_cells_near_the_target() -> None:
    world = open_world(NAME, 3).world
    for z in (0, 11, 23):
        corners = mistake_tiles(world, z)
        assert len(corners) > 10
        for x, y in corners.tolist():
            assert TASK.latents(world, TASK.place(world, State(z=z), x, y)).mistake
            assert TASK.latents(world, TASK.place(world, State(z=z), x + 1, y + 1)).mistake
        assert np.hypot(*(corners - world.centres[z]).T).max() < 120


def test_it_leafs_through_the_stack_before_the_first_mark() -> None:
    steps = generate(NAME, 2).steps
    first = next(index for index, step in enumerate(steps) if step.action == "place")
    assert Counter(step.widget for step in steps[:first]) == {"+z": 23, "-z": 23}
    assert steps[first].latents.position == 0


def test_it_leafs_back_and_forth_before_done() -> None:
    widgets = [step.widget for step in generate(NAME, 2).steps]
    assert widgets[-9:] == ["-z"] * 4 + ["+z"] * 4 + ["Done"]


def test_it_marks_the_first_section_without_a_mark() -> None:
    world = open_world(NAME, 3).world
    x, y = (int(v) for v in np.rint(world.centres[0]))
    persona = Persona(error_rate=0.0, carefulness=0.0, jitter=1.0, delay=0.2)
    policy = NeuronPolicy()
    options = policy.options(world, State(z=5, marks=((0, x, y),)), policy.begin(), persona)
    assert [option.target.button for option in options] == ["-z"]
