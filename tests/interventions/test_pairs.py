"""Pairs of moments: what is the same, what differs, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

import bcprobe as bp
from bcprobe.episodes.counterfactual import counterfactual
from bcprobe.episodes.record import frames, generate
from bcprobe.episodes.twins import placements, twin
from bcprobe.errors import InputError
from bcprobe.interventions.pairs import Pair, twins
from bcprobe.model.transformer import ClickTransformer
from bcprobe.tasks import TRAINING_TASKS

DOTS = "colored_dot_tracking"


@pytest.mark.parametrize("task", TRAINING_TASKS)
def test_a_mistake_stands_on_the_wrong_side_only_at_every_lag(task: str) -> None:
    for pair in twins(task, 2, lags=3):
        assert pair.lags == 3
        for side in (0, 1):
            stands = [s.task.latents(s.world, s.state).mistake for s in pair._after(side)]
            assert stands == [bool(side)] * 3


def test_screens_are_those_of_the_episode_up_to_the_placement(dots: list[Pair]) -> None:
    pair = dots[0]
    episode = generate(pair.task, pair.world_seed)
    shown = list(islice(frames(episode), pair.step + 1))
    own = list(pair.history(0, 4))
    assert len(own) == 4
    for (screen, click), frame, step in zip(
        own, shown[-4:], episode.steps[pair.step - 4 : pair.step], strict=True
    ):
        assert np.array_equal(screen, frame)
        assert click == step.click
    whole = list(pair.history(1, 10_000))
    assert len(whole) == pair.step + 1
    assert whole[0][1] == (-1, -1)


def test_the_sides_differ_after_the_placement_and_share_the_clicks_that_follow(
    dots: list[Pair],
) -> None:
    sides = [list(dots[0].after(side)) for side in (0, 1)]
    assert [click for _, click in sides[0][1:]] == [click for _, click in sides[1][1:]]
    assert sides[0][0][1] != sides[1][0][1]
    assert (sides[0][0][0] != sides[1][0][0]).any()


def test_equal_seeds_give_equal_pairs_and_others_others() -> None:
    assert twins(DOTS, 2) == twins(DOTS, 2)
    assert {p.world_seed for p in twins(DOTS, 2)}.isdisjoint(
        p.world_seed for p in twins(DOTS, 2, seed=1)
    )


def test_two_episodes_make_a_pair() -> None:
    episode = generate(DOTS, 7)
    made = twin(episode, placements(episode)[3])
    found = bp.pair(made.right, made.wrong["spatial"])
    assert (found.step, found.kind) == (made.step, "spatial")
    with pytest.raises(InputError, match="the same clicks"):
        bp.pair(made.right, made.right)
    with pytest.raises(InputError, match="different worlds"):
        bp.pair(made.right, replace(made.wrong["spatial"], world_seed=8))
    with pytest.raises(InputError, match="a mistake stands on the right side"):
        bp.pair(made.wrong["spatial"], made.right)


def test_an_episode_and_its_counterfactual_make_a_pair() -> None:
    episode = generate(DOTS, 7)
    made = counterfactual(episode, 30)
    found = bp.pair(episode, made)
    assert (found.step, found.kind, found.lags) == (made.step, "moved", 1)
    assert found.placed[0] == found.placed[1] == episode.steps[made.step].click
    wrong = found.wrong.as_tensors()
    assert torch.equal(wrong[1], found.right.as_tensors()[1])  # the same clicks
    frames_shown = torch.from_numpy(np.stack(list(made.frames()))).permute(0, 3, 1, 2)
    assert torch.equal(wrong[0][0], frames_shown)
    unmoved = bp.pair(counterfactual(episode, 0), made)
    assert torch.equal(unmoved.right.as_tensors()[0], found.right.as_tensors()[0])


def test_what_makes_no_pair_of_worlds_is_refused() -> None:
    episode = generate(DOTS, 7)
    made = counterfactual(episode, 30)
    with pytest.raises(InputError, match="no mistake stands on the wrong side"):
        bp.pair(episode, counterfactual(episode, 0))
    with pytest.raises(InputError, match="different worlds"):
        bp.pair(generate(DOTS, 8), made)
    with pytest.raises(InputError, match="take the counterfactual of this episode"):
        bp.pair(generate(DOTS, 7, annotator_seed=12345), made)
    with pytest.raises(InputError, match="world=WORLD"):
        bp.pair(made.episode, made)


@pytest.mark.parametrize("lags", [1, 2])
def test_twins_of_worlds_share_every_click(lags: int) -> None:
    for found in twins(DOTS, 2, lags=lags, shift=30):
        assert (found.kind, found.lags) == ("moved", lags)
        assert found.placed[0] == found.placed[1]
        sides = [list(found.after(side)) for side in (0, 1)]
        assert [click for _, click in sides[0]] == [click for _, click in sides[1]]
        assert all((a != b).any() for (a, _), (b, _) in zip(*sides, strict=True))
    with pytest.raises(InputError, match="becomes a mistake"):
        twins(DOTS, 1, shift=0.1)
    with pytest.raises(InputError, match="above 0"):
        twins(DOTS, 1, shift=-3)
    with pytest.raises(InputError, match="no truth of 'shape_matching' can be moved"):
        twins("shape_matching", 1, shift=30)


def test_a_pair_without_a_mistake_is_refused(dots: list[Pair]) -> None:
    right = dots[0].placed[0]
    with pytest.raises(InputError, match="no mistake stands on the wrong side of 'colored_dot"):
        replace(dots[0], placed=(right, right))


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="1 or more"):
        twins(DOTS, 0)
    with pytest.raises(InputError, match="fewer lags"):
        twins(DOTS, 1, lags=30)


def test_the_sides_of_a_pair_are_what_a_model_sees(small_model: ClickTransformer) -> None:
    pair = twins("colored_dot_tracking", 1, lags=2)[0]
    assert len(pair.wrong) == pair.step + 3
    rights, wrongs = (side.as_tensors() for side in (pair.right, pair.wrong))
    assert rights[0].shape == (1, len(pair.right), 3, 360, 480)
    assert tuple(rights[1][0, 0].tolist()) == (-1, -1)
    shared = pair.step + 1
    assert torch.equal(rights[0][:, :shared], wrongs[0][:, :shared])
    assert tuple(wrongs[1][0, shared].tolist()) == pair.placed[1]
    assert (rights[0][:, shared] != wrongs[0][:, shared]).any()
    with torch.inference_mode():
        answers = small_model([pair.right, pair.wrong]).patches
    torch.testing.assert_close(answers[0, :shared], answers[1, :shared])
    assert (answers[0, shared] != answers[1, shared]).any()
