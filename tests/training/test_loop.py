from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.machine import pick_device
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import list_steps, read_card
from bcprobe.training.batch import Batch
from bcprobe.training.config import Experiment
from bcprobe.training.loop import train
from bcprobe.training.run import DivergedError, MemoryFullError, Run
from bcprobe.training.saving import SavedState, load_state
from bcprobe.training.stream import Position, Stream, StreamError


def go(experiment: Experiment, folder: Path, **options: object) -> Path:
    options = {"threads": 1, "progress": False} | options
    return train(experiment, folder, device="cpu", **options)  # type: ignore[arg-type]


def state_of(folder: Path) -> SavedState:
    saved = load_state(folder)
    assert saved is not None
    return saved


def test_a_run_leaves_a_checkpoint_its_series_and_its_tables(
    whole: Path, quick: Experiment
) -> None:
    model = load_checkpoint(whole)
    assert model.metadata["experiment"] == quick.as_dict()
    assert model.metadata["frames"] == 256
    assert model.metadata["metrics"]["validation_loss"] > 0
    assert list_steps(whole) == [0, 128, 256]
    assert read_card(whole / "steps" / "128")["metadata"]["frames"] == 128
    training = pd.read_parquet(whole / "training.parquet")
    assert training["frames"].tolist() == list(range(16, 257, 16))
    assert training["seconds"].is_monotonic_increasing
    assert training["data_wait"].between(0, 1).all()
    validation = pd.read_parquet(whole / "validation.parquet")
    assert validation["frames"].tolist() == [0, 128, 192, 256]
    assert json.loads((whole / "experiment.json").read_text()) == quick.as_dict()


def test_the_loss_falls(whole: Path) -> None:
    validation = pd.read_parquet(whole / "validation.parquet")
    assert validation["loss"].iloc[-1] < validation["loss"].iloc[0] - 0.5


def test_ctrl_c_finishes_the_step_saves_and_says_so(
    quick: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward = Run._backward

    def interrupted(self: Run, batch: Batch) -> Tensor:
        if self.step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return backward(self, batch)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Run, "_backward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(quick, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before
    assert state_of(tmp_path / "run").values["step"] == 6
    assert len(pd.read_parquet(tmp_path / "run" / "training.parquet")) == 6


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_resumed_run_goes_on_in_its_precision(
    quick: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    folder, used = tmp_path / "run", []
    learn = Run.learn

    def noting(self: Run, batch: Batch, after: Position, waited: float) -> None:
        used.append(self.precision)
        learn(self, batch, after, waited)
        if len(used) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Run, "learn", noting)
    with pytest.raises(KeyboardInterrupt):
        go(replace(quick, frames=64), folder, precision=precision)
    go(replace(quick, frames=64), folder, resume=True)
    assert used == [torch.bfloat16 if precision == "bf16" else torch.float32] * 4


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(
    quick: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward = Run._backward

    def poisoned(self: Run, batch: Batch) -> Tensor:
        if self.step == 6:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))
        return backward(self, batch)

    monkeypatch.setattr(Run, "_backward", poisoned)
    with pytest.raises(DivergedError, match=r"diverged at step 7 .*last saved state is good"):
        go(quick, tmp_path / "run", save_seconds=0.0)
    saved = state_of(tmp_path / "run")
    assert saved.values["step"] == 6
    assert all(torch.isfinite(t).all() for t in saved.part("model").values())


def too_much_for_a_gpu() -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def too_much_for_the_cpu() -> Tensor:
    return torch.empty(1 << 50)


@pytest.mark.parametrize("allocate", [too_much_for_a_gpu, too_much_for_the_cpu])
def test_a_step_that_does_not_fit_names_the_settings_to_change(
    quick: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allocate: Callable[[], Tensor],
) -> None:
    def full(self: Run, batch: Batch) -> Tensor:
        return allocate()

    monkeypatch.setattr(Run, "_backward", full)
    with pytest.raises(
        MemoryFullError, match=r"raise accumulation \(now 1\), or lower rows \(now 2\)"
    ):
        go(quick, tmp_path / "run")


def test_an_error_of_another_kind_is_not_called_a_lack_of_memory(
    quick: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Run, batch: Batch) -> Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Run, "_backward", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        go(quick, tmp_path / "run")


def test_a_dead_worker_ends_the_run_within_seconds_with_its_state_saved(
    quick: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward, killed = Run._backward, []

    def killing(self: Run, batch: Batch) -> Tensor:
        if self.step == 3:
            worker = next(one for one in active_children() if one.name.startswith("data worker"))
            os.kill(worker.pid or 0, signal.SIGKILL)
            killed.append(time.monotonic())
        return backward(self, batch)

    monkeypatch.setattr(Run, "_backward", killing)
    with pytest.raises(StreamError, match=r"data worker 0 \(process \d+\) died"):
        go(replace(quick, frames=1 << 14), tmp_path / "run")
    assert time.monotonic() - killed[0] < 10
    saved = state_of(tmp_path / "run")
    assert saved.values["step"] == len(saved.part("table")["training"]) >= 4


def test_a_finished_run_resumed_is_left_alone(whole: Path, quick: Experiment) -> None:
    before = (whole / "config.json").stat().st_mtime_ns
    assert go(quick, whole, resume=True) == whole
    assert (whole / "config.json").stat().st_mtime_ns == before


def test_weights_on_actions_change_what_is_learned_but_not_the_reported_loss(
    quick: Experiment,
) -> None:
    weighted = replace(quick, action_weights=(("navigate", 5.0),))
    runs = [Run(experiment, torch.device("cpu")) for experiment in (quick, weighted)]
    for run in runs:
        weights = run.experiment.weights
        with Stream(quick.data, quick.rows, quick.row_length, weights=weights) as stream:
            batch, after = next(stream)
            run.learn(batch, after, 0.0)
    plain, heavy = (run.training.frame().iloc[0] for run in runs)
    assert plain["loss"] == heavy["loss"]
    assert plain["grad_norm"] != heavy["grad_norm"]
    kinds = [c for c in plain.index if c.startswith("nll_") and not np.isnan(plain[c])]
    assert min(plain[kinds]) <= plain["loss"] <= max(plain[kinds])


def test_muon_trains(quick: Experiment) -> None:
    run = Run(replace(quick, optimizer="muon"), torch.device("cpu"))
    with Stream(quick.data, quick.rows, quick.row_length) as stream:
        for _ in range(2):
            run.learn(*next(stream), 0.0)
    again = Run(run.experiment, torch.device("cpu"))
    again.restore(run.state())
    theirs, ours = run.state().tensors, again.state().tensors
    assert theirs.keys() == ours.keys()
    assert any("momentum_buffer" in name for name in theirs)
    assert all(
        torch.equal(theirs[name], ours[name]) for name in theirs if not name.startswith("table.")
    )


def test_devices_that_are_not_there_are_refused_before_anything_is_written(
    quick: Experiment, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        pick_device("gpu")
    with pytest.raises(InputError, match="threads is 0"):
        go(quick, tmp_path / "run", threads=0)
    with pytest.raises(InputError, match="2 rows do not divide"):
        go(quick, tmp_path / "run", accumulation=3)
    assert not (tmp_path / "run").exists()
