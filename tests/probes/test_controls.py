from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import Question, ask
from bcprobe.probes.controls import (
    CONTROLS,
    control_labels,
    control_tasks,
    control_types,
    previous_action_features,
    run_controls,
    shuffled_labels,
    shuffles,
)
from bcprobe.probes.linear import ProbeScore, mean_of, score_question

NOISE, PLACED, MISTAKE = (f"blocks.{i}.hook_resid_post" for i in range(3))


def mean_score_of(
    question: Question, drawn: Sequence[np.ndarray], values: np.ndarray
) -> ProbeScore:
    return mean_of([score_question(replace(question, truth=one), values) for one in drawn])


@pytest.mark.parametrize("negatives", ["matched", "all"])
def test_shuffled_labels_are_at_chance(planted: Activations, negatives: str) -> None:
    question = ask(planted.labels, "mistake", negatives)
    score = mean_score_of(question, shuffles(question), planted.at(MISTAKE)).score
    assert score.estimate == pytest.approx(0.5, abs=0.12)


def test_shuffled_progress_is_at_chance_though_time_tells_it(planted: Activations) -> None:
    question = ask(planted.labels, "progress")
    time = previous_action_features(planted.labels)
    assert score_question(question, time).score.estimate > 0.9
    assert mean_score_of(question, shuffles(question), time).score.estimate < 0.05


def test_every_episode_has_the_labels_of_another(
    make_labels: Callable[..., pd.DataFrame],
) -> None:
    groups = make_labels(6, np.random.default_rng(0))["episode"].to_numpy()
    truth = groups.astype(float)
    made = shuffled_labels(truth, groups, np.random.default_rng(1))
    donors = [np.unique(made[groups == episode]) for episode in range(6)]
    assert all(len(donor) == 1 for donor in donors)
    assert sorted(donor[0] for donor in donors) == list(range(6))
    assert all(donor[0] != episode for episode, donor in enumerate(donors))


@pytest.mark.parametrize("latent", ["mistake", "phase", "progress"])
def test_a_control_task_has_one_label_per_type(planted: Activations, latent: str) -> None:
    question = ask(planted.labels, latent)
    types = control_types(question.labels)
    made = control_labels(question.truth, types, np.random.default_rng(0))
    assert all(len(np.unique(made[types == number])) == 1 for number in np.unique(types))
    assert set(np.unique(made)) <= set(np.unique(question.truth))
    assert len(np.unique(made)) > 1


def test_a_probe_that_learns_by_heart_is_not_selective(planted: Activations) -> None:
    question = ask(planted.labels, "phase", "all")
    heart = np.eye(200)[control_types(planted.labels)]
    known = np.concatenate([heart, planted.at(MISTAKE)], axis=1)
    probe = score_question(question, known)
    assert probe.score.estimate > 0.9
    assert probe.minus(mean_score_of(question, control_tasks(question), known)).score.estimate < 0.1
    plain = score_question(question, planted.at(MISTAKE))
    assert (
        plain.minus(
            mean_score_of(question, control_tasks(question), planted.at(MISTAKE))
        ).score.estimate
        > 0.3
    )


def test_all_controls_are_there_with_intervals(planted: Activations) -> None:
    question = ask(planted.labels, "mistake")
    probe = score_question(question, planted.at(MISTAKE))
    found = run_controls(question, planted, MISTAKE, probe, seed=0)
    assert set(CONTROLS) - {"untrained"} <= set(found)
    for one in found.values():
        assert one.score.lower <= one.score.estimate <= one.score.upper
    difference = probe.score.estimate - found["control_task"].score.estimate
    assert found["selectivity"].score.estimate == pytest.approx(difference)
