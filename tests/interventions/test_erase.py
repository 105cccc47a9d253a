"""Erasure takes what it says and little else; the closed loop is changed where it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import generate, work
from bcprobe.errors import InputError
from bcprobe.interventions.closed_loop import Steered, counts_of, placing_areas, steer_loop
from bcprobe.interventions.directions import Site, fit, gather
from bcprobe.interventions.erase import erase, iterated, leace, random_erasures
from bcprobe.interventions.pairs import Pair
from bcprobe.interventions.patch import Add
from bcprobe.model.transformer import ClickTransformer

DOTS = "colored_dot_tracking"


def features(rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.arange(rows) % 2 == 1
    mixed = rng.normal(size=(rows, 5)) @ rng.normal(size=(5, 5))
    return mixed + 3 * truth[:, None] * np.array([1.0, 0, 0.5, 0, 0]), truth


def test_leace_leaves_nothing_linear_and_changes_least() -> None:
    x, truth = features()
    erasure = leace(x, truth)
    left = erasure.of(x)
    assert np.allclose(left[truth].mean(0), left[~truth].mean(0), atol=1e-9)
    assert np.allclose(erasure.of(left), left, atol=1e-9)
    assert np.linalg.matrix_rank(erasure.matrix, tol=1e-6) == 1
    unit = x[truth].mean(0) - x[~truth].mean(0)
    unit /= np.linalg.norm(unit)
    # an orthogonal projection past the difference of means leaves nothing either, at a higher cost
    plain = x - (x - x.mean(0)) @ np.outer(unit, unit)
    inverse = np.linalg.inv(np.cov(x.T))
    cost = [np.einsum("ij,jk,ik->", x - y, inverse, x - y) for y in (left, plain)]
    assert cost[0] < cost[1]


def test_iterated_projection_takes_as_many_directions_as_asked() -> None:
    x, truth = features()
    for rank in (1, 3):
        erasure = iterated(x, truth, rank)
        assert np.linalg.matrix_rank(erasure.matrix, tol=1e-6) == rank
        assert np.allclose(erasure.matrix @ erasure.matrix, erasure.matrix, atol=1e-9)
    gap = [
        abs(np.diff([(y @ fit(x, truth, "logistic"))[truth == s].mean() for s in (0, 1)]))
        for y in (x, iterated(x, truth, 1).of(x))
    ]
    assert gap[1] < 1e-6 < gap[0]
    kinds = [(one.kind, one.rank) for one in random_erasures(x, 1, 2)]
    assert kinds == [("random", 1)] * 2 + [("random_whitened", 1)] * 2


def test_erasing_is_told_for_the_probe_and_the_answer(
    model: ClickTransformer, dots: list[Pair]
) -> None:
    site = Site("placed", 1)
    table = erase(model, site, gather(model, dots, workers=1), dots, random=5, workers=1)
    auc = table[table["metric"] == "auc"].set_index(["kind", "rank"])["estimate"]
    assert auc["none", 0] == 1
    assert set(table["metric"]) == {"auc", "effect", "p_undo", "p_other"}
    kinds = table[table["metric"] == "effect"]["kind"]
    assert set(kinds) == {"leace", "projection", "random", "random_whitened"}
    with pytest.raises(InputError, match="one layer"):
        erase(model, Site("cls", -1), gather(model, dots, workers=1), dots)


def test_a_steered_model_is_changed_after_placing_clicks_only(model: ClickTransformer) -> None:
    areas = placing_areas(DOTS)
    config = model.config
    steered = Steered(model, Site("placed", 1), [Add(40 * torch.arange(16.0).sin())], areas)
    frames = torch.randint(0, 255, (2, 3, 360, 480), dtype=torch.uint8)
    canvas = areas[0]
    previous = torch.tensor([[canvas.x + 3, canvas.y + 3], [479, 359]])
    rows, tokens = steered._places(previous)
    assert rows.tolist() == [0]
    width, height = config.patch
    assert tokens.tolist() == [(canvas.y + 3) // height * config.grid[0] + (canvas.x + 3) // width]
    plain = model.step(frames, previous, model.start_cache()).heat_map()
    moved = steered.step(frames, previous, steered.start_cache()).heat_map()
    assert (moved[0] - plain[0]).abs().max() > 1e-6
    assert torch.allclose(moved[1], plain[1], atol=1e-8)
    with pytest.raises(InputError, match="not 'undo'"):
        Steered(model, Site("undo", 1), [], areas)


def test_a_loop_of_no_change_is_the_model_alone(model: ClickTransformer) -> None:
    zero = {"nothing": [Add(torch.zeros(16))], "much": [Add(50 * torch.arange(16.0).sin())]}
    table = steer_loop(model, DOTS, Site("cls", 1), zero, [3, 4], max_steps=6)
    change = table[table["metric"].str.endswith("change")].set_index(["condition", "metric"])
    assert np.allclose(change.loc["nothing"]["estimate"].dropna(), 0)
    alone = work(ModelPolicy(model, 1.0), DOTS, [3, 4], origin="model", max_steps=6)
    done = table[(table["condition"] == "none") & (table["metric"] == "done")]["estimate"].item()
    assert done == np.mean([episode.outcome.done for episode in alone])
    with pytest.raises(InputError, match="no world"):
        steer_loop(model, DOTS, Site("cls", 1), {}, [])


def test_episodes_are_counted_from_their_states() -> None:
    made = (generate(DOTS, seed) for seed in range(20))
    episode = next(one for one in made if any(step.undo_next for step in one.steps))
    counts = counts_of(episode)
    assert counts.above["corrected"] == counts.above["mistake_rate"] > 0
    assert counts.below["corrected"] == counts.above["corrected"]
    assert counts.above["left_standing"] == counts.above["needless_undo"] == 0
    assert counts.above["success"] == 1
