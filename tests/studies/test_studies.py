"""Each study from its settings to its table, with a network that knows nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from bcprobe.annotators import get_annotator
from bcprobe.annotators.persona import draw_persona
from bcprobe.episodes.clickers import AnnotatorClicker, RandomClicker
from bcprobe.episodes.record import generate, open_world
from bcprobe.episodes.simulator import rollout
from bcprobe.episodes.store import read_episodes
from bcprobe.errors import InputError
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator, split_seed
from bcprobe.studies import NAMES, SIZES, dagger, get_study, layouts, scaling, transfer
from bcprobe.studies.in_context import Prompted, demonstration
from bcprobe.studies.study import Study
from bcprobe.studies.sweep import carry_out, plan
from bcprobe.training.shards import shard_keys
from tests.studies.conftest import TASKS, Inside

SCORES = {"estimate", "lower", "upper", "n"}


@pytest.fixture
def carried_out(tmp_path: Path) -> Callable[..., pd.DataFrame]:
    def table(study: Study, settings: object, *left_out: str) -> pd.DataFrame:
        runs = [run for run in study.runs(settings) if not run.name.startswith(left_out or "-")]
        found = carry_out(study, runs, tmp_path / "out", Inside(study))
        assert found.failed == {}
        assert set(found.table.columns) >= SCORES
        assert (found.table["lower"].dropna() <= found.table["upper"].dropna()).all()
        return found.table

    return table


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_plans_name_each_run_once_after_what_it_needs(name: str, size: str) -> None:
    runs = plan(get_study(name), size)
    names = [run.name for run in runs]
    assert len(set(names)) == len(names)
    for place, run in enumerate(runs):
        assert set(run.needs) <= set(names[:place])
        assert run.seconds > 0
    if size == "cpu":
        assert sum(run.seconds for run in runs) < 2 * 90 * 60


def test_sizes_span_a_factor_of_thirty_and_share_their_frames() -> None:
    for size in ("cpu", "gpu"):
        settings = scaling.SETTINGS[size]
        counts = [
            sum(p.numel() for p in ClickTransformer(scaling.shape(*one)).parameters())
            for one in (settings.sizes[0], settings.sizes[-1])
        ]
        assert len(settings.sizes) >= 4
        assert counts[1] > 30 * counts[0]
        plans = [scaling.experiment(m.parameters) for m in scaling.runs(settings)]
        assert len({(p.data, p.rows, p.row_length, p.frames) for p in plans}) == 1
        assert {p.model_seed for p in plans} == {0, 1}


def test_scaling_measures_every_size_at_every_step(carried_out) -> None:
    settings = replace(scaling.SETTINGS["tiny"], sizes=((8, 1, 1),), seeds=(0,))
    table = carried_out(scaling.STUDY, settings)
    losses = table[table["metric"] == "loss"]
    assert losses["frames"].tolist() == [16, 32, 64]
    assert losses["estimate"].between(1, 20).all()
    assert losses["flops"].iloc[1] == pytest.approx(2 * losses["flops"].iloc[0])
    assert table["metric"].value_counts()["fit"] == 5
    own = table[table["metric"] == "annotator_loss"]["estimate"].item()
    assert 0 < own < losses["estimate"].min()


def test_transfer_has_every_start_and_both_sides_of_the_direction(
    carried_out, checkpoint: str
) -> None:
    small = replace(transfer.SETTINGS["tiny"], checkpoint=checkpoint, episodes=(4,), scratch=())
    table = carried_out(transfer.STUDY, replace(small, frames=32, fitted=3, probed=8), "scratch")
    success = table[table["metric"] == "success"]
    assert dict(zip(success["start"], success["episodes"], strict=True)) == {
        "zero_shot": 0, "in_context": 0, "fine_tuned": 4,
    }  # fmt: skip
    inside = table[table["metric"].isin(["auc", "p_undo"])]
    assert set(inside["when"]) == {"before", "after", "kept"}
    moved = inside[(inside["metric"] == "p_undo") & (inside["alpha"] == 0)]
    sides = moved.groupby(["when", "side"])["estimate"].std()
    assert sides.max() < 1e-6


def test_transfer_learns_from_as_many_episodes_as_it_says() -> None:
    runs = [m for m in plan(transfer.STUDY, "cpu") if m.parameters["what"] == "scratch"]
    data = transfer.experiment(runs[0].parameters).data
    keys = [key for number in range(3) for key in shard_keys(data, number)]
    assert len({(key.world_seed, key.layout) for key in keys}) == 50
    assert {run.parameters["episodes"] for run in runs} == {50, 100, 250, 500, 1000, 2000, 8000}
    assert {run.parameters["seed"] for run in runs} == {0, 1, 2}
    assert all(run.frames >= 10 * run.parameters["episodes"] for run in runs)


def test_a_prompted_model_goes_on_from_what_it_was_shown(checkpoint: str) -> None:
    model = load_checkpoint(checkpoint)
    shown = {"difficulty": "easy"}
    prompted = Prompted(model, "shape_matching", 2, **shown)
    frames, clicks = demonstration("shape_matching", 1, 4, **shown)
    assert frames.shape == (4, 3, 360, 480)
    screen = torch.from_numpy(open_world("shape_matching", 7, difficulty="easy").screen())
    screen = screen.permute(2, 0, 1)[None]
    whole = torch.cat([frames, screen])[None]
    previous = torch.cat([clicks, torch.tensor([[-1, -1]])])[None]
    with torch.inference_mode():
        expected = model(whole, previous).heat_map()[0, -1]
        both = (screen.expand(2, -1, -1, -1), torch.full((2, 2), -1))
        found = prompted.step(*both, prompted.start_cache()).heat_map()[1, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


def test_layouts_are_told_apart_by_what_was_learned(carried_out, checkpoint: str) -> None:
    small = replace(layouts.SETTINGS["tiny"], checkpoint=checkpoint, tasks=TASKS[:1], frames=32)
    table = carried_out(layouts.STUDY, replace(small, episodes=1, fitted=3), "one")
    of_all = table[(table["metric"] == "accuracy") & table["layout"].isna()]
    assert set(of_all["group"]) == {"first", "trained", "held_out"}
    assert set(of_all["training"]) == {"none", "eight"}
    assert "buttons" in set(of_all["kind"])
    assert (table.loc[table["layout"] == "light_split", "group"] == "held_out").all()


def test_layouts_start_from_one(checkpoint: str, tmp_path: Path) -> None:
    eight = next(m for m in plan(layouts.STUDY, "cpu") if m.parameters["training"] == "eight")
    assert len(layouts.experiment(eight.parameters).data.layouts) == 8
    card = (Path(checkpoint) / "config.json").read_text()
    (tmp_path / "config.json").write_text(card.replace('"original"', '"original", "retro"'))
    with pytest.raises(InputError, match="was trained on 2 layouts; it must be one"):
        layouts.runs(replace(layouts.SETTINGS["tiny"], checkpoint=str(tmp_path)))


def test_dagger_works_on_the_worst_task(carried_out, checkpoint: str, tmp_path: Path) -> None:
    settings = replace(dagger.SETTINGS["tiny"], checkpoint=checkpoint, rounds=1)
    table = carried_out(dagger.STUDY, settings, "cloning")
    tested = table[table["metric"] == "score"].groupby("method")["task"].agg(set)
    assert tested["none"] == set(TASKS)
    worst = dagger.worst_tasks(tmp_path / "out" / "runs" / dagger.CHOICE)[0]
    assert tested["beta-0.1"] == {worst}
    assert set(table.loc[table["metric"] == "nll", "kind"]) > {"all", "done"}


def test_rounds_gather_what_was_visited(checkpoint: str, tmp_path: Path) -> None:
    settings = replace(dagger.SETTINGS["tiny"], checkpoint=checkpoint)
    parameters = dagger.runs(settings)[-1].parameters
    rolled = [dagger._visit(checkpoint, TASKS[0], parameters, tmp_path, n) for n in (0, 1, 1)]
    first, second, again = map(read_episodes, rolled)
    assert (len(first), second[:2], again) == (2, first, second)
    assert len({episode.world_seed for episode in second}) == 4
    plan = dagger.experiment(parameters, TASKS[0], checkpoint, rolled[1], 1)
    assert (plan.data.visited, plan.data.visits) == (str(rolled[1]), 8)


def test_turns_are_the_annotators_where_beta_is_one() -> None:
    seeds = [split_seed("train", number) for number in (3, 4)]
    shown = [open_world(TASKS[0], seed, difficulty="easy") for seed in seeds]
    nobody = RandomClicker(generator("nobody"))
    alone = rollout(dagger.Turns(nobody, seeds, 1.0), shown, 300)
    own = [generate(TASKS[0], seed, difficulty="easy") for seed in seeds]
    assert [[s.click for s in steps] for steps in alone] == [
        [s.click for s in episode.steps] for episode in own
    ]


def test_turns_are_the_others_where_beta_is_nought_and_the_annotator_watches() -> None:
    seed = split_seed("train", 5)
    shown = [open_world(TASKS[0], seed, difficulty="easy")]
    rng = generator("annotator", TASKS[0], seed)
    clicker = AnnotatorClicker([draw_persona(get_annotator(TASKS[0]).habits, rng)], [rng])
    turns = dagger.Turns(clicker, [seed], 0.0)
    steps = rollout(turns, shown, 10)[0]
    assert [step.click for step in steps] == [
        step.click for step in generate(TASKS[0], seed, difficulty="easy").steps[:10]
    ]
    assert turns.annotators[0].memory == clicker.annotators[0].memory
