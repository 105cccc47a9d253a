"""Edits of the residual stream at [cls], on twins and in closed loop."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from bcprobe.activations.dataset import Activations
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import frames, generate, work
from bcprobe.interventions import steering
from bcprobe.interventions.cls_edits import (
    Bench,
    Steered,
    Twin,
    ablate,
    add,
    make_twins,
    map_shift,
    random_directions,
    swap,
)
from bcprobe.model.transformer import ClickTransformer

TASK = "colored_dot_tracking"
SITE = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def twins(small_model: ClickTransformer) -> list[Twin]:
    return make_twins(TASK, [3, 4], small_model.config.context)


@pytest.fixture(scope="module")
def bench(small_model: ClickTransformer, twins: list[Twin]) -> Bench:
    return Bench(small_model.eval(), twins, TASK)


def test_twins_share_everything_up_to_the_placement(twins: list[Twin]) -> None:
    assert [pair.kind for pair in twins] == ["spatial", "spatial"]
    for pair in twins:
        shown = list(frames(generate(TASK, pair.world_seed)))
        assert any(np.array_equal(pair.before[-1], frame) for frame in shown)
        assert (pair.after[0] != pair.after[1]).any()
        assert (pair.placed[0] != pair.placed[1]).any()


def test_a_look_without_an_edit_is_the_model_itself(
    small_model: ClickTransformer, bench: Bench, twins: list[Twin]
) -> None:
    pair = twins[0]
    pixels = np.concatenate([pair.before, pair.after[:1]])[None]
    clicks = np.concatenate([pair.clicks, pair.placed[:1]])[None]
    with torch.inference_mode():
        whole = small_model(
            torch.from_numpy(pixels).permute(0, 1, 4, 2, 3), torch.from_numpy(clicks)
        )
    heat = bench.look(0)
    assert torch.allclose(heat[0], whole.heat_map()[0, -1], atol=1e-6)
    assert 0 < bench.p_undo(heat)[0] < 1


def test_an_edit_changes_the_click_and_nothing_stays_behind(bench: Bench) -> None:
    before = bench.look(1)
    unit = random_directions(1, bench.at_cls(1, SITE).shape[1])[0]
    edited = bench.look(1, SITE, add(unit, 30.0))
    assert map_shift(edited, before).min() > 1e-4
    assert torch.equal(bench.look(1), before)
    assert torch.equal(bench.look(1, SITE, add(unit, 0.0)), before)
    assert map_shift(before, before).max() == 0


def test_edits_do_what_they_say() -> None:
    unit = random_directions(2, 8, seed=1)[1]
    x, other = torch.randn(3, 8), torch.randn(3, 8)
    assert torch.allclose(add(unit, 2.0)(x) @ unit, x @ unit + 2, atol=1e-5)
    assert torch.allclose(ablate(unit, 0.7)(x) @ unit, torch.full((3,), 0.7), atol=1e-5)
    swapped = swap(unit, other)(x)
    assert torch.allclose(swapped @ unit, other @ unit, atol=1e-5)
    across = swapped - x - ((swapped - x) @ unit)[:, None] * unit
    assert across.abs().max() < 1e-5


def test_swapping_the_last_layer_whole_gives_the_other_twin_query(bench: Bench) -> None:
    other = bench.at_cls(0, SITE)
    heat = bench.look(1, SITE, lambda x: other)
    assert map_shift(heat, bench.look(1)).max() > 0
    own = bench.at_cls(1, SITE)
    assert torch.equal(bench.look(1, SITE, lambda x: own), bench.look(1))


def test_a_steered_model_clicks_elsewhere(small_model: ClickTransformer) -> None:
    unit = random_directions(1, small_model.config.d_model)[0]
    made = {
        amount: work(
            ModelPolicy(Steered(small_model, SITE, add(unit, amount))), TASK, [0], origin="steered",
            max_steps=4,
        )[0]
        for amount in (0.0, 60.0)
    }  # fmt: skip
    plain = work(ModelPolicy(small_model), TASK, [0], origin="model", max_steps=4)[0]
    assert [s.click for s in made[0.0].steps] == [s.click for s in plain.steps]
    assert [s.click for s in made[60.0].steps] != [s.click for s in plain.steps]


@pytest.fixture
def fewer(gathered: Activations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        steering, "gather_sources", lambda sources, progress: [gathered] * len(sources)
    )
    monkeypatch.setattr(steering, "MAX_STEPS", 5)


@pytest.mark.usefixtures("fewer")
def test_a_whole_intervention_from_names_to_a_table(checkpoint: Path) -> None:
    found = steering.intervene(
        checkpoint, [TASK], "undo_next", sites=[SITE], pairs=3, episodes=6, loops=1, progress=False
    )
    table = found.table()
    assert set(table["operation"]) == {"none", "add", "ablate", "swap"}
    assert set(table["direction"]) == {"", "probe", "random", "all"}
    assert set(table["task"]) == {TASK}
    plain = table[(table["operation"] == "none") & (table["metric"] == "map_shift")]
    assert (plain["estimate"] == 0).all()
    assert set(table["metric"]) == {
        "p_undo", "map_shift", "success", "undo_share", "mistake_rate", "recovered",
    }  # fmt: skip
    assert found.as_dict()["pairs"] == 3


@pytest.mark.usefixtures("fewer")
def test_several_tasks_are_moved_along_the_direction_of_the_others(checkpoint: Path) -> None:
    tasks = (TASK, "neuron_tracking")
    found = steering.intervene(
        checkpoint, tasks, "undo_next", sites=[SITE], pairs=2, episodes=6, loops=1, progress=False
    )
    table = found.table()
    assert set(table["task"]) == {*tasks, "all"}
    keys = ["start", "operation", "direction", "alpha"]
    undo = table[table["metric"] == "p_undo"].set_index("task")
    assert set(undo["direction"]) == {"", "probe", "others", "random", "all"}
    both = undo.loc[list(tasks)].groupby(keys)["estimate"].mean()
    together = undo.loc["all"].set_index(keys)["estimate"]
    assert np.allclose(together, both.loc[together.index])
    assert (undo.loc["all", "n"] == found.pairs).all()


def test_mistakes_and_recoveries_are_counted_from_states() -> None:
    episode = next(e for e in map(partial(generate, TASK), range(9)) if _undos(e))
    mistakes = steering._mistaken(episode)
    recovered = steering._recovered(episode)
    assert 0 < sum(mistakes) < len(mistakes)
    assert len(recovered) == sum(mistakes)
    assert all(recovered)


def _undos(episode: Episode) -> bool:
    return any(step.undo_next for step in episode.steps)


def test_frames_and_clicks_of_twins_line_up(twins: list[Twin]) -> None:
    pair = twins[0]
    episode = generate(TASK, pair.world_seed)
    _, previous = episode.as_tensors()
    wanted = pair.clicks[-1].tolist()
    at = [t for t, click in enumerate(previous[0].tolist()) if click == wanted]
    shown = list(frames(episode))
    assert any(np.array_equal(shown[t], pair.before[-1]) for t in at)
