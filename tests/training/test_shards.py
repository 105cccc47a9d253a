from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bcprobe.episodes.record import display_lists, generate
from bcprobe.errors import InputError
from bcprobe.experiments import get_experiment
from bcprobe.rng import SPLITS
from bcprobe.training.recording import record
from bcprobe.training.shards import (
    WORLDS_PER_SEED,
    DataConfig,
    cut_rows,
    make_batches,
    make_shard,
    shard_keys,
)

DATA = DataConfig(episodes=4, difficulty="easy")


def test_worlds_are_new_in_every_group_and_all_from_the_train_split() -> None:
    keys = [key for shard in range(50) for key in shard_keys(DATA, shard)]
    seeds = [key.world_seed for key in keys]
    assert len(set(seeds)) == len(seeds) == 200
    assert min(seeds) >= SPLITS["train"]
    assert max(seeds) < SPLITS["validation"]


def test_data_seeds_share_no_world() -> None:
    other = [key.world_seed for key in shard_keys(replace(DATA, seed=1), 0)]
    assert min(other) == WORLDS_PER_SEED
    last = replace(DATA, seed=(1 << 14) - 1)
    assert max(key.world_seed for key in shard_keys(last, 1000)) < SPLITS["validation"]


def test_a_world_worked_by_two_personas_is_drawn_once() -> None:
    data = replace(DATA, personas=2)
    first, second, third, _ = make_shard(data, 0)
    assert first.images is second.images
    assert first.images is not third.images
    assert not np.array_equal(first.clicks, second.clicks)


def test_a_curriculum_begins_with_easy_worlds() -> None:
    data = replace(DATA, difficulty="hard", easy=2)
    found = [{key.difficulty for key in shard_keys(data, number)} for number in range(3)]
    assert found == [{"easy"}, {"easy"}, {"hard"}]
    with pytest.raises(InputError, match="easy"):
        replace(DATA, easy=-1)


def test_annotators_work_in_the_manner_that_is_learned_from() -> None:
    graded = replace(DATA, manner="graded")
    assert (graded.as_dict()["manner"], DataConfig().as_dict()["manner"]) == ("graded", "usual")
    usual, own = (list(make_shard(data, 0)) for data in (DATA, graded))
    for key, made, other in zip(shard_keys(graded, 0), own, usual, strict=True):
        shown = {"difficulty": key.difficulty, "manner": "graded"}
        episode = generate(key.task, key.world_seed, **shown)
        assert made.clicks.tolist() == [list(step.click) for step in episode.steps]
        assert np.array_equal(made.images, other.images)
    assert any(a.clicks.tolist() != b.clicks.tolist() for a, b in zip(own, usual, strict=True))


def test_models_of_manners_differ_in_nothing_else() -> None:
    usual = get_experiment("dots-gap")
    for name, manner in (("dots-graded", "graded"), ("dots-two-by-two", "two_by_two")):
        own = get_experiment(name)
        assert own.data.manner == manner
        assert replace(own, name=usual.name, data=replace(own.data, manner="usual")) == usual


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"manner": "grade"}, "unknown manner 'grade'.*graded"),
        ({"manner": "graded", "disturbed": 0.5}, "work undisturbed"),
        ({"manner": "graded", "visited": "somewhere"}, "work undisturbed"),
    ],
)
def test_a_manner_that_cannot_be_is_refused(changed: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        replace(DATA, **changed)


def test_layouts_are_drawn_from_those_given() -> None:
    data = replace(DATA, layouts=("original", "retro", "split"))
    seen = {key.layout for shard in range(20) for key in shard_keys(data, shard)}
    assert seen == set(data.layouts)


def test_personas_of_a_world_work_in_layouts_of_their_own() -> None:
    data = replace(DATA, personas=4, layouts=("original", "retro", "split"))
    shards = [shard_keys(data, shard) for shard in range(20)]
    assert all(len({key.world_seed for key in keys}) == 1 for keys in shards)
    assert sum(len({key.layout for key in keys}) > 1 for keys in shards) > 15


def test_a_recording_is_the_episode() -> None:
    key = shard_keys(DATA, 0)[1]
    made = record(key)
    episode = generate(
        key.task, key.world_seed, annotator_seed=key.annotator_seed, difficulty="easy"
    )
    images, displays = display_lists(episode)
    assert np.array_equal(made.images, images)
    assert list(made.displays) == displays
    assert [tuple(click) for click in made.clicks] == [step.click for step in episode.steps]
    assert tuple(made.previous[0]) == (-1, -1)
    assert np.array_equal(made.previous[1:], made.clicks[:-1])
    right = [
        step.action == "place" and not after.latents.mistake and not step.latents.mistake
        for step, after in zip(episode.steps, episode.steps[1:], strict=False)
    ]
    assert made.right.tolist() == [*right, False]


def test_rows_hold_every_frame_at_most_once_and_in_order() -> None:
    rows = cut_rows([30, 25, 40], 8, np.random.default_rng(0))
    assert rows.shape == (11, 8)
    assert len(np.unique(rows)) == rows.size
    assert ((np.diff(rows, axis=1) - 1) % 95 == 0).all()


def test_no_frame_is_dropped_more_often_than_another() -> None:
    lengths = [13, 20, 9, 31]
    kept = np.zeros(sum(lengths))
    draws = 4000
    for seed in range(draws):
        batches = make_batches(replace(DATA, seed=seed), 0, lengths, 4, 8)
        kept[batches.ravel()] += 1
    share = kept / draws
    expected = 64 / 73
    assert abs(share.mean() - expected) < 1e-9
    sd = np.sqrt(expected * (1 - expected) / draws)
    assert np.abs(share - expected).max() < 5 * sd
    done = np.cumsum(lengths) - 1
    assert abs(share[done].mean() - expected) < 3 * sd


def test_a_group_too_small_for_a_batch_is_named() -> None:
    with pytest.raises(InputError, match="more episodes in a shard"):
        make_batches(DATA, 3, [20, 20], 8, 32)


@pytest.mark.parametrize(
    "bad", [{"seed": -1}, {"seed": 1 << 14}, {"episodes": 0}, {"episodes": 3, "personas": 2}]
)
def test_bad_data_configs_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(InputError):
        DataConfig(**bad)
