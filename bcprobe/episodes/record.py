"""Episodes from seeds, and their frames from episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.persona import MANNERS
from bcprobe.annotators.policy import Choices
from bcprobe.episodes.clickers import AnnotatorClicker, draw_annotator
from bcprobe.episodes.episode import Episode, Step
from bcprobe.episodes.simulator import Clicker, Simulator, rollout
from bcprobe.errors import InputError, check_name
from bcprobe.gui.display import DisplayList
from bcprobe.rng import check_seed, generator
from bcprobe.tasks import get_task
from bcprobe.tasks.base import Task, World
from bcprobe.types import GENERATOR_VERSION

MAX_STEPS = 300
#: Difficulty of episodes whose world comes from a user's own data and not from a seed.
OWN_DATA = "own data"


def open_world(
    task: str, world_seed: int, layout: str = "original", difficulty: str = "default"
) -> Simulator:
    """Simulator at the opening of the world with that seed.

    Raises `InputError` for an unknown task, layout or difficulty, or a negative seed.
    """
    rules = get_task(task)
    check_name("difficulty", difficulty, rules.settings)
    return Simulator(rules, _drawn(rules, check_seed(world_seed), difficulty), layout)


@lru_cache(maxsize=4)
def _drawn(rules: Task, world_seed: int, difficulty: str) -> World:
    """The world of a seed; those who work it one after the other share it."""
    return rules.sample(generator("world", rules.name, world_seed), difficulty)


def generate(
    task: str,
    world_seed: int,
    *,
    layout: str = "original",
    annotator_seed: int | None = None,
    difficulty: str = "default",
    max_steps: int = MAX_STEPS,
    hash_frames: bool = False,
    watch: Callable[[Simulator], None] | None = None,
    decided: Callable[[Choices], None] | None = None,
    world: World | None = None,
    manner: str = "usual",
) -> Episode:
    """Episode worked by the virtual annotator.

    ``annotator_seed`` (the world's seed if None) draws the persona and its clicks. ``world``
    is one that no seed draws, from a user's own data: ``world_seed`` is then its number, and
    the episode's difficulty is `OWN_DATA`. ``manner`` is one of
    `bcprobe.annotators.persona.MANNERS`: whether mistakes are noticed, and how far off they lie.
    ``watch(simulator)`` is called before each click, ``decided(choices)`` with what the annotator
    chose it among. ``hash_frames`` fills ``frame_hash``, which costs composing every frame.
    """
    if world is None:
        simulator = open_world(task, world_seed, layout, difficulty)
    else:
        simulator, difficulty = Simulator(get_task(task), world, layout), OWN_DATA
    world_seed = check_seed(world_seed)
    annotator_seed = check_seed(world_seed if annotator_seed is None else annotator_seed)
    persona, rng = draw_annotator(task, annotator_seed)
    persona = replace(persona, manner=MANNERS[check_name("manner", manner, MANNERS)])
    digest = hashlib.sha256()

    def before_click(_: int, simulator: Simulator) -> None:
        if hash_frames:
            digest.update(simulator.screen().data)
        if watch is not None:
            watch(simulator)

    clicker = AnnotatorClicker([persona], [rng], decided)
    steps = rollout(clicker, [simulator], max_steps, before_click)[0]
    return Episode(
        task=task,
        layout=layout,
        difficulty=difficulty,
        world_seed=world_seed,
        annotator_seed=annotator_seed,
        persona=persona.as_dict(),
        origin="annotator",
        steps=steps,
        outcome=simulator.task.score(simulator.world, simulator.state),
        frame_hash=digest.hexdigest() if hash_frames else "",
    )


def work(
    clicker: Clicker,
    task: str,
    world_seeds: Sequence[int],
    *,
    origin: str,
    layout: str = "original",
    difficulty: str = "default",
    max_steps: int = MAX_STEPS,
    opened: Sequence[Simulator] | None = None,
) -> list[Episode]:
    """Episodes worked by any clicker, all worlds at once.

    ``opened`` are these worlds where they are open already; they stay as they are.
    """
    if opened is None:
        opened = [open_world(task, seed, layout, difficulty) for seed in world_seeds]
    simulators = [world.again() for world in opened]
    histories = rollout(clicker, simulators, max_steps)
    return [
        Episode(
            task=task,
            layout=layout,
            difficulty=difficulty,
            world_seed=seed,
            annotator_seed=seed,
            persona={},
            origin=origin,
            steps=steps,
            outcome=simulator.task.score(simulator.world, simulator.state),
            frame_hash="",
        )
        for seed, simulator, steps in zip(world_seeds, simulators, histories, strict=True)
    ]


def replay(episode: Episode, world: World | None = None) -> Iterator[tuple[Simulator, Step]]:
    """The simulator before each click, with the step about to be made.

    The simulator is one object that moves on; read it before the next item. ``world`` is the
    episode's, where it came from a user's own data. Raises `InputError` if it is needed and
    not given, or if the episode came from another generator version.
    """
    if episode.generator_version != GENERATOR_VERSION:
        raise InputError(
            f"episode of generator version {episode.generator_version}; this is "
            f"{GENERATOR_VERSION}: generate it again"
        )
    if world is not None:
        simulator = Simulator(get_task(episode.task), world, episode.layout)
    elif episode.difficulty == OWN_DATA:
        raise InputError(f"episode of '{episode.task}' on data of one's own: give its world")
    else:
        simulator = open_world(episode.task, episode.world_seed, episode.layout, episode.difficulty)
    for step in episode.steps:
        yield simulator, step
        simulator.click(step.click)


def frames(episode: Episode, world: World | None = None) -> Iterator[NDArray[np.uint8]]:
    """The screen before each click: uint8 [360, 480, 3], as many as steps; see `replay`.

    Raises `InputError` after the last one if they are not those of ``episode.frame_hash``.
    """
    digest = hashlib.sha256() if episode.frame_hash else None
    for simulator, _ in replay(episode, world):
        screen = simulator.screen()
        if digest is not None:
            digest.update(screen.data)
        yield screen
    if digest is not None and digest.hexdigest() != episode.frame_hash:
        raise InputError(
            f"the frames of {episode.task}, world {episode.world_seed}, are not those of its hash; "
            "generate the episode again"
        )


def frame_hash(episode: Episode) -> str:
    """SHA-256 over the episode's frames, in order."""
    digest = hashlib.sha256()
    for simulator, _ in replay(episode):
        digest.update(simulator.screen().data)
    return digest.hexdigest()


def display_lists(episode: Episode) -> tuple[NDArray[np.uint8], list[DisplayList]]:
    """The world's canvas images uint8 [n, 256, 256, 3] and the display list of each frame."""
    displays = []
    images = np.empty((0, 0, 0, 3), dtype=np.uint8)
    for simulator, _ in replay(episode):
        displays.append(simulator.display())
        images = simulator.images
    return images, displays
