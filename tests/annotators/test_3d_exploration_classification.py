"""The annotator of complexes: where it looks before it names, and what it mixes up."""

from __future__ import annotations

from bcprobe.annotators.exploration_classification_3d import ALIKE, goal
from bcprobe.episodes.record import generate, open_world
from bcprobe.rng import generator
from bcprobe.tasks import get_task
from bcprobe.tasks.exploration_classification_3d import CLASSES, CLOSED

NAME = "3d_exploration_classification"


def test_it_names_an_object_with_the_seam_in_front_or_after_a_whole_turn() -> None:
    for seed in range(10):
        world = open_world(NAME, seed).world
        for step in generate(NAME, seed).steps:
            latents = step.latents
            if step.action == "classify":
                assert latents.elevation == 0
                assert latents.azimuth == 30 * goal(world, latents.position)


def test_it_takes_one_class_for_the_one_that_looks_alike() -> None:
    for seed in range(20):
        classes = open_world(NAME, seed).world.classes
        for step in generate(NAME, seed).steps:
            if step.action == "classify":
                truth = classes[step.latents.position]
                assert CLASSES.index(step.widget) in (truth, ALIKE[truth])


def test_a_closed_ring_is_seen_from_all_round_at_the_level() -> None:
    task = get_task(NAME)
    for seed in range(12):
        world = task.sample(generator("world", NAME, seed))
        steps = generate(NAME, seed).steps
        for number, kind in enumerate(world.classes):
            if kind == CLOSED:
                level = [s.latents for s in steps if s.latents.elevation == 0]
                assert len({v.azimuth for v in level if v.position == number}) == 12
