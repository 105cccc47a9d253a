"""Screens are drawn and encoded once a state, and told apart by world and state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bcprobe.episodes.embedding_cache import EmbeddingCache
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import generate, open_world, work
from bcprobe.episodes.simulator import Simulator
from bcprobe.types import Click

TASK = "colored_dot_tracking"
OPENED = open_world(TASK, 0)
#: On the buttons that turn pages and views, and on nothing.
PLACES = [(0, 0)] + [
    (button.x + button.width // 2, button.y + button.height // 2)
    for button, what in zip(OPENED.arrangement.buttons, OPENED.task.buttons, strict=True)
    if what.action in ("navigate", "view")
]


class Counted:
    """Encodes a frame as its mean colour, and counts the frames."""

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, frames: Tensor) -> Tensor:
        self.frames += len(frames)
        return frames.double().mean((2, 3))[:, None]


def walk(steps: int) -> list[Simulator]:
    opened = open_world(TASK, 3)
    simulator = opened.again()
    states = []
    for step in generate(TASK, 3).steps[:steps]:
        states.append(opened.again(simulator.state))
        simulator.click(step.click)
    return states


def colours(simulators: Sequence[Simulator]) -> Tensor:
    return torch.stack([torch.from_numpy(s.screen()).double().mean((0, 1)) for s in simulators])


def test_each_state_is_encoded_once() -> None:
    encode = Counted()
    embeddings = EmbeddingCache(encode, torch.device("cpu"))
    states = walk(40)
    different = len({one.state for one in states})
    for _ in range(2):
        assert torch.allclose(embeddings.embed(states)[:, 0], colours(states))
        assert encode.frames == different < 40


def test_equal_states_of_two_worlds_are_two_screens() -> None:
    worlds = [open_world(TASK, 1), open_world(TASK, 2)]
    embeddings = EmbeddingCache(Counted(), torch.device("cpu"))
    assert torch.allclose(embeddings.embed(worlds)[:, 0], colours(worlds))


def test_what_was_not_asked_for_longest_is_forgotten() -> None:
    encode = Counted()
    states = list({one.state: one for one in walk(40)}.values())[:6]
    embeddings = EmbeddingCache(
        encode, torch.device("cpu"), room=4 * 3 * 8
    )  # four tokens of three doubles
    embeddings.embed(states)
    assert len(embeddings.known) == 4
    embeddings.embed(states[-4:])
    assert encode.frames == 6
    embeddings.embed(states[:1])
    assert encode.frames == 7


class Wanderer:
    """A model whose answer depends on its last two screens and clicks: a fixed pseudo-random
    map of them to a few places."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.looks = 0

    def start_cache(self) -> Past:
        return Past()

    def step(self, frames: Tensor, previous: Tensor, cache: Past) -> Answer:
        self.looks += len(frames)
        now = [(int(f.sum()), *p) for f, p in zip(frames.long(), previous.tolist(), strict=True)]
        before = cache.rows or [None] * len(now)
        cache.rows = now
        return Answer([hash((a, b)) % len(PLACES) for a, b in zip(before, now, strict=True)])


class Past:
    """The screen and click before, a world."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []

    def select(self, rows: Tensor) -> None:
        self.rows = [self.rows[i] for i in rows.tolist()]


class Answer:
    """Clicks at one of `PLACES`."""

    def __init__(self, places: list[int]) -> None:
        self.places = places

    def sample(self, temperature: float, draws: torch.Generator) -> Tensor:
        return torch.tensor([PLACES[place] for place in self.places])[:, None]


def clicks(model: Wanderer, **options: int) -> list[list[Click]]:
    policy = ModelPolicy(model, **options)
    seeds = list(range(6))
    worked = work(policy, TASK, seeds, origin="model", max_steps=120)
    return [[step.click for step in episode.steps] for episode in worked]


def test_a_world_in_a_loop_goes_on_without_a_look() -> None:
    plain, brief = Wanderer(), Wanderer()
    assert clicks(brief, reach=2) == clicks(plain)
    assert brief.looks < plain.looks / 2
