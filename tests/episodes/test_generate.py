from __future__ import annotations

import numpy as np
import pytest

import bcprobe as bp
from bcprobe.episodes.record import generate
from bcprobe.errors import InputError
from bcprobe.rng import MOST_SEED, generator, split_seed

TASK = "3d_exploration_classification"


def test_an_episode_is_of_the_test_split_unless_said_otherwise() -> None:
    assert bp.episode(TASK, seed=3) == generate(TASK, split_seed("test", 3))
    assert bp.episode(TASK, 3, split="train") == generate(TASK, 3)
    assert bp.episode(TASK, 3, annotator_seed=1).steps != bp.episode(TASK, 3).steps


def test_episodes_are_those_of_one_by_one_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcprobe.parallel.cores", lambda: 1)
    made = bp.episodes([TASK, "neuron_tracking"], 2, first=4, progress=False)
    assert made == [bp.episode(task, seed) for task in (TASK, "neuron_tracking") for seed in (4, 5)]


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, int])
def test_a_world_depends_on_its_seed_and_not_on_the_type_of_it(kind: type) -> None:
    assert bp.episode(TASK, kind(5)) == bp.episode(TASK, 5)
    assert generate(TASK, kind(5), annotator_seed=kind(7)) == generate(TASK, 5, annotator_seed=7)
    assert isinstance(generate(TASK, kind(5)).world_seed, int)
    assert generator("x", kind(5)).random() == generator("x", 5).random()


@pytest.mark.parametrize("seed", [5.0, "5", None, True, -1, MOST_SEED + 1, np.float64(5)])
def test_seeds_that_are_none_are_one_line(seed: object) -> None:
    with pytest.raises(InputError, match=r"seed .* (no whole number|negative|too large)"):
        generate(TASK, seed)  # type: ignore[arg-type]


def test_unknown_names_are_told_before_any_work() -> None:
    for options in ({"split": "tset"}, {"layout": "orignal"}, {"difficulty": "hrad"}):
        with pytest.raises(InputError, match="did you mean"):
            bp.episodes(TASK, 1, progress=False, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="n is 0"):
        bp.episodes(TASK, 0)
