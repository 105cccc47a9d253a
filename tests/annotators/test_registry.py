"""What holds for the annotator of every task."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest

from bcprobe.annotators import get_annotator
from bcprobe.annotators.persona import Persona, draw_persona
from bcprobe.annotators.policy import Annotator
from bcprobe.episodes.clickers import AnnotatorClicker, RandomClicker
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import frame_hash, generate, open_world
from bcprobe.episodes.simulator import rollout
from bcprobe.episodes.store import read_episodes, write_episodes
from bcprobe.evaluation.behaviour import behaviour_total
from bcprobe.evaluation.metrics import mistakes
from bcprobe.rng import generator
from bcprobe.tasks import TASKS, TRAINING_TASKS
from bcprobe.types import MISTAKE_KINDS, PHASES

EPISODES = 24
every_task = pytest.mark.parametrize("name", TASKS)
KINDS = {
    "colored_dot_tracking": {"spatial"},
    "neuron_tracking": {"spatial"},
    "cell_lineage_tracking": {"identity", "structural"},
    "multichannel_image_alignment": {"spatial"},
    "animal_limb_tracking": {"spatial", "identity"},
    "animal_behavioral_tracking": {"spatial", "identity"},
    "3d_exploration_classification": {"categorical"},
    "spectral_plume_finding": {"spatial", "categorical"},
    "road_network_construction": {"spatial", "structural"},
    "shape_matching": {"identity"},
}


@lru_cache
def episodes(name: str) -> list[Episode]:
    return [generate(name, 1000 + seed) for seed in range(EPISODES)]


@every_task
def test_every_episode_ends_in_success_by_valid_clicks(name: str) -> None:
    for episode in episodes(name):
        assert episode.outcome.success
        assert all(step.valid for step in episode.steps)
        assert {step.phase for step in episode.steps} <= set(PHASES)
        assert episode.steps[-1].phase == "finish"


@every_task
def test_an_annotator_that_never_errs_scores_one(name: str) -> None:
    for seed in range(4):
        simulator = open_world(name, seed)
        persona = Persona(error_rate=0.0, carefulness=0.5, jitter=0.8, delay=0.2)
        rollout(AnnotatorClicker([persona], [generator("oracle", seed)]), [simulator])
        assert simulator.task.score(simulator.world, simulator.state).score > 0.97


@pytest.mark.parametrize("name", TRAINING_TASKS)
def test_episodes_have_a_natural_length(name: str) -> None:
    lengths = [len(episode) for episode in episodes(name)]
    assert 25 <= np.mean(lengths) <= 160
    assert min(lengths) >= 12


@every_task
def test_mistakes_are_of_the_kinds_of_the_task_and_are_undone(name: str) -> None:
    found = set()
    for episode in episodes(name):
        for mistake in mistakes(episode.steps):
            assert mistake.cleared is not None
            found.add(episode.steps[mistake.step + 1].latents.mistake_kind)
    assert found == KINDS[name]
    assert found <= set(MISTAKE_KINDS)


def test_people_and_annotators_undo_alike_over_the_nine_tasks() -> None:
    total = behaviour_total([e for name in TRAINING_TASKS for e in episodes(name)])
    assert 0.06 <= total["error_undo_pair_share"].estimate <= 0.125
    assert 0.08 <= total["delayed_undo_share"].estimate <= 0.32


@every_task
def test_it_finishes_from_states_a_random_clicker_left_behind(name: str) -> None:
    successes = 0
    for seed in range(12):
        simulator = open_world(name, seed)
        rollout(RandomClicker(generator("random", seed)), [simulator], max_steps=30)
        if simulator.done:
            simulator.state = simulator.task.open(simulator.world)
        rng = generator("annotator", seed)
        clicker = AnnotatorClicker([draw_persona(get_annotator(name).habits, rng)], [rng])
        rollout(clicker, [simulator], max_steps=330)
        successes += simulator.task.score(simulator.world, simulator.state).success
    assert successes >= 11


@every_task
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_clicks_follow_the_stated_distribution(name: str, share: float) -> None:
    simulator = open_world(name, 11)
    persona = Persona(error_rate=0.5, carefulness=0.5, jitter=1.0, delay=0.2)
    policy, rng = get_annotator(name), generator("stated", name)
    actor = Annotator(policy, simulator.task, simulator.world, simulator.arrangement, persona, rng)
    for _ in range(int(share * len(episodes(name)[0]))):
        simulator.click(actor.act(simulator.state))
    stated, memory, count = actor.distribution(simulator.state), actor.memory, 2000
    assert stated.heat.sum() == pytest.approx(1)
    drawn = np.zeros_like(stated.heat)
    for _ in range(count):
        actor.memory = memory
        x, y = actor.act(simulator.state)
        drawn[y, x] += 1 / count
    assert drawn[stated.heat == 0].sum() == 0
    coarse = [h.reshape(36, 10, 48, 10).sum(axis=(1, 3)) for h in (drawn, stated.heat)]
    assert np.abs(coarse[0] - coarse[1]).max() < 5 * np.sqrt(0.25 / count)


@every_task
def test_episodes_come_back_from_parquet(name: str, tmp_path) -> None:
    write_episodes(episodes(name)[:3], tmp_path)
    assert read_episodes(tmp_path) == episodes(name)[:3]


def test_frames_of_every_task_are_the_same_bytes_in_another_process() -> None:
    code = (
        "from bcprobe.episodes.record import frame_hash, generate\n"
        "from bcprobe.tasks import TASKS\n"
        "for name in TASKS: print(frame_hash(generate(name, 4, layout='retro')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240
    )
    here = [frame_hash(generate(name, 4, layout="retro")) for name in TASKS]
    assert run.stdout.split() == here
