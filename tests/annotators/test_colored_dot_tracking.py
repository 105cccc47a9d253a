"""The annotator of colored dots: its behaviour table, and its answers in any state."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bcprobe.annotators import get_annotator
from bcprobe.annotators.clicks import Press, Region
from bcprobe.annotators.colored_dot_tracking import MISTAKE_RANGE, TILE, mistake_tiles
from bcprobe.annotators.persona import Persona, draw_persona
from bcprobe.annotators.policy import Annotator
from bcprobe.episodes.clickers import AnnotatorClicker, RandomClicker
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate, open_world
from bcprobe.episodes.simulator import rollout
from bcprobe.rng import generator
from bcprobe.tasks.colored_dot_tracking import TOLERANCE
from bcprobe.types import Click

NAME = "colored_dot_tracking"


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return [generate(NAME, seed) for seed in range(500)]


def test_behaviour_lies_inside_the_human_range(episodes: list[Episode]) -> None:
    counts = Counter(step.action for episode in episodes for step in episode.steps)
    total = sum(counts.values())
    percent = {action: 100 * count / total for action, count in counts.items()}
    assert 66.6 <= percent["navigate"] <= 78.1
    assert 15.4 <= percent["place"] <= 22.9
    assert 4.9 <= percent["view"] <= 8.5
    assert 0.6 <= percent["undo"] <= 1.3
    assert 71 <= total / len(episodes) <= 111
    assert 2.4 <= 100 * counts["undo"] / (counts["undo"] + counts["place"]) <= 7.6


def test_every_episode_succeeds_with_valid_clicks(episodes: list[Episode]) -> None:
    assert all(episode.outcome.success and episode.outcome.score == 1 for episode in episodes)
    assert all(step.valid for episode in episodes for step in episode.steps)


def test_about_one_mistake_in_five_is_looked_at_before_it_is_undone(
    episodes: list[Episode],
) -> None:
    delays = Counter()
    for episode in episodes:
        standing = 0
        for step in episode.steps:
            standing = standing + 1 if step.latents.mistake else 0
            if step.undo_next:
                delays[standing - 1] += 1
    assert set(delays) == {0, 1, 2, 3}
    late = 1 - delays[0] / sum(delays.values())
    assert 0.15 <= late <= 0.25


def test_undo_follows_mistakes_only(episodes: list[Episode]) -> None:
    assert all(step.latents.mistake for e in episodes for step in e.steps if step.undo_next)


def test_mistaken_marks_lie_clearly_outside_the_tolerance() -> None:
    corners = mistake_tiles(128.0, 128.0)
    pixels = corners[:, None] + np.array([[i, j] for i in range(TILE) for j in range(TILE)])
    distance = np.hypot(*np.moveaxis(pixels - 128.0, -1, 0))
    assert distance.min() >= MISTAKE_RANGE[0] > 2 * TOLERANCE
    assert distance.max() <= MISTAKE_RANGE[1]
    assert len(mistake_tiles(0.0, 0.0)) > 0


def test_it_finishes_from_states_a_random_clicker_left_behind() -> None:
    successes = 0
    for seed in range(30):
        simulator = open_world(NAME, seed)
        rollout(RandomClicker(generator("random", seed)), [simulator], max_steps=30)
        if simulator.done:
            simulator.state = simulator.task.open(simulator.world)
        rng = generator("annotator", seed)
        clicker = AnnotatorClicker([draw_persona(get_annotator(NAME).habits, rng)], [rng])
        rollout(clicker, [simulator], max_steps=330)
        successes += simulator.task.score(simulator.world, simulator.state).success
    assert successes >= 29


def annotator(error_rate: float) -> tuple[Annotator, object]:
    simulator = open_world(NAME, 11)
    persona = Persona(error_rate=error_rate, carefulness=0.5, jitter=1.0, delay=0.2)
    rng = generator("stated", 0)
    actor = Annotator(
        get_annotator(NAME), simulator.task, simulator.world, simulator.arrangement, persona, rng
    )
    return actor, simulator


@pytest.mark.parametrize("prefix", [0, 20, 38, 45])
def test_clicks_follow_the_stated_distribution(prefix: int) -> None:
    actor, simulator = annotator(error_rate=0.5)
    for _ in range(prefix):
        simulator.click(actor.act(simulator.state))
    stated = actor.distribution(simulator.state)
    assert stated.heat_map().sum() == pytest.approx(1)
    memory = actor.memory
    drawn = np.zeros_like(stated.heat)
    for _ in range(4000):
        actor.memory = memory
        x, y = actor.act(simulator.state)
        drawn[y, x] += 1 / 4000
    assert drawn[stated.heat == 0].sum() == 0
    coarse = [h.reshape(36, 10, 48, 10).sum(axis=(1, 3)) for h in (drawn, stated.heat)]
    assert np.abs(coarse[0] - coarse[1]).max() < 5 * np.sqrt(0.25 / 4000)


def test_log_prob_and_entropy_agree_with_the_heat_map() -> None:
    actor, simulator = annotator(error_rate=0.1)
    stated = actor.distribution(simulator.state)
    y, x = np.unravel_index(stated.heat.argmax(), stated.heat.shape)
    assert np.exp(stated.log_prob(int(x), int(y))) == pytest.approx(stated.heat.max())
    assert stated.log_prob(0, 0) == -np.inf
    clicks = [stated.sample(generator("entropy", i)) for i in range(2000)]
    estimate = -np.mean([stated.log_prob(*click) for click in clicks])
    assert estimate == pytest.approx(stated.entropy(), abs=0.15)


def test_options_are_a_distribution_and_mistakes_are_regions() -> None:
    actor, simulator = annotator(error_rate=0.3)
    kinds = set()
    while not simulator.done:
        options = actor.policy.options(
            simulator.world, simulator.state, actor.memory, actor.persona
        )
        assert sum(option.probability for option in options) == pytest.approx(1)
        kinds |= {type(option.target) for option in options}
        simulator.click(actor.act(simulator.state))
    assert {Press, Region} <= kinds


def test_an_equal_seed_gives_an_equal_episode() -> None:
    assert generate(NAME, 5) == generate(NAME, 5)
    assert generate(NAME, 5).steps != generate(NAME, 5, annotator_seed=6).steps
    assert isinstance(generate(NAME, 5).steps[0].click, Click)
