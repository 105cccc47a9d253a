from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.experiments import EXPERIMENTS, dots_nano, get_experiment, tiny
from bcprobe.model.config import get_preset
from bcprobe.model.transformer import ClickTransformer
from bcprobe.training.config import Experiment, is_validated, saved_step
from bcprobe.training.optim import (
    StackedMuon,
    decays,
    is_hidden,
    make_optimizers,
    schedule,
    set_rate,
)


def test_the_rate_rises_then_falls_to_a_tenth() -> None:
    experiment = replace(dots_nano(), frames=1100, warmup=100, final_lr=0.1)
    assert schedule(50, experiment) == pytest.approx(0.5)
    assert schedule(100, experiment) == pytest.approx(1.0)
    assert schedule(600, experiment) == pytest.approx(0.55)
    assert schedule(1100, experiment) == pytest.approx(0.1)
    assert schedule(9999, experiment) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_parameter_has_one_optimizer_and_only_matrices_decay(name: str) -> None:
    experiment = replace(tiny(), optimizer=name)
    model = ClickTransformer(experiment.model)
    optimizers = make_optimizers(model, experiment)
    names = {id(p): n for n, p in model.named_parameters()}
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    owned = [names[id(p)] for group in groups for p in group["params"]]
    assert sorted(owned) == sorted(names.values())
    for group in groups:
        for p in group["params"]:
            assert (group["weight_decay"] > 0) == decays(names[id(p)], p)


def test_muon_gets_the_hidden_matrices_only() -> None:
    model = ClickTransformer(get_preset("nano"))
    matrices = [name for name, p in model.named_parameters() if p.ndim == 2]
    outer = [name for name in matrices if not is_hidden(name, model.get_parameter(name))]
    assert sorted(outer) == [
        "encoder.click.project.weight",
        "encoder.extra",
        "encoder.patches.position",
        "encoder.patches.stages.0.weight",
        "head.across.weight",
        "head.down.weight",
        "head.score.weight",
    ]


def test_rates_are_set_from_each_groups_peak() -> None:
    experiment = replace(tiny(), optimizer="muon", lr=0.5, muon_lr=0.25)
    optimizers = make_optimizers(ClickTransformer(experiment.model), experiment)
    set_rate(optimizers, 0.1)
    set_rate(optimizers, 0.5)
    assert {g["lr"] for g in optimizers[0].param_groups} == {0.25}
    assert {g["lr"] for g in optimizers[1].param_groups} == {0.125}
    assert isinstance(optimizers[1], torch.optim.Muon)


def batch_ends(experiment: Experiment) -> range:
    """Frames learned from at the start and after each batch."""
    return range(0, experiment.steps * experiment.batch_frames + 1, experiment.batch_frames)


def test_saved_steps_are_powers_of_two_and_at_least_eight() -> None:
    found = [saved_step(dots_nano(), frames) for frames in batch_ends(dots_nano())]
    saved = [step for step in found if step is not None]
    assert saved[0] == 0
    assert len(saved) >= 8
    assert all(b == 2 * a for a, b in pairwise(saved[1:]))
    assert saved[-1] <= dots_nano().frames < 2 * saved[-1]


def test_validation_is_due_at_batch_ends_first_and_last() -> None:
    experiment = dots_nano()
    due = [frames for frames in batch_ends(experiment) if is_validated(experiment, frames)]
    assert due[0] == 0
    assert due[1] == experiment.first_save
    even = range(0, experiment.frames + 1, experiment.validate_every)
    assert set(even) <= set(due)
    assert len(due) == len(set(due)) < len(even) + 2 * 20


def test_a_batch_that_is_no_power_of_two_saves_at_the_first_that_reaches_one() -> None:
    experiment = replace(tiny(), rows=3, frames=240, first_save=32)
    found = {frames: saved_step(experiment, frames) for frames in batch_ends(experiment)}
    assert {frames: step for frames, step in found.items() if step is not None} == {
        0: 0, 48: 32, 72: 64, 144: 128,
    }  # fmt: skip


def test_experiments_are_named_as_registered_and_plain_as_json() -> None:
    for name in EXPERIMENTS:
        plain = get_experiment(name).as_dict()
        assert plain["name"] == name
        assert json.loads(json.dumps(plain)) == plain


def test_a_name_nobody_knows_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'dots-nano'"):
        get_experiment("dots-nan")


def test_bad_experiments_are_refused() -> None:
    with pytest.raises(InputError, match="unknown optimizer 'sgd'"):
        replace(tiny(), optimizer="sgd")
    with pytest.raises(InputError, match="did you mean 'undo'"):
        replace(tiny(), action_weights=(("undoo", 3.0),))
    with pytest.raises(InputError, match="one batch"):
        replace(tiny(), frames=3)


def matrices() -> list[torch.nn.Parameter]:
    drawn = torch.Generator().manual_seed(0)
    shapes = [(32, 32)] * 3 + [(64, 32)] * 2 + [(32, 64), (7, 5)]
    return [torch.nn.Parameter(torch.randn(shape, generator=drawn)) for shape in shapes]


def test_matrices_orthogonalised_together_move_as_one_by_one() -> None:
    ours, theirs = matrices(), matrices()
    options: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.05}
    together, alone = StackedMuon(ours, **options), torch.optim.Muon(theirs, **options)
    drawn = torch.Generator().manual_seed(1)
    for step in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=drawn)
            other.grad = one.grad.clone()
        if step == 1:
            ours[1].grad = theirs[1].grad = None
        together.step()
        alone.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)
    again = torch.optim.Muon(theirs, **options)
    again.load_state_dict(together.state_dict())  # the state is the same


def products(optimizer: torch.optim.Optimizer) -> int:
    """Matrix products that a step launches."""
    for group in optimizer.param_groups:
        for matrix in group["params"]:
            matrix.grad = torch.ones_like(matrix)
    optimizer.step()  # makes the state
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    names = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
    return sum(event.count for event in profile.key_averages() if event.key in names)


def test_matrices_of_one_shape_take_the_launches_of_one() -> None:
    assert products(torch.optim.Muon(matrices())) == 7 * 15
    assert products(StackedMuon(matrices())) == 4 * 15
