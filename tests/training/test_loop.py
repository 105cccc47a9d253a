from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import list_steps, read_card
from bcprobe.training import run as run_module
from bcprobe.training.batch import Batch
from bcprobe.training.config import Experiment
from bcprobe.training.loop import pick_device, train
from bcprobe.training.run import DivergedError, Run
from bcprobe.training.saving import SavedState, load_state
from bcprobe.training.stream import Stream, StreamError

#: Trains in another process, which kills itself in the middle of its eleventh step.
KILLED = """
import os, signal, sys
from dataclasses import replace
from bcprobe.experiments import tiny
from bcprobe.training.loop import train
from bcprobe.training.run import Run

def main():
    backward = Run._backward

    def deadly(self, batch):
        nll = backward(self, batch)
        if self.step == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return nll

    Run._backward = deadly
    quick = replace(tiny(), frames=256, first_save=128, validate_every=1 << 20)
    train(quick, sys.argv[1], threads=1, save_seconds=0.0, progress=False)

if __name__ == "__main__":
    main()
"""


def train_and_be_killed(folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder.with_suffix(".py")
    script.write_text(KILLED)
    root = Path(run_module.__file__).parents[2]
    return subprocess.run(
        [sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def go(experiment: Experiment, folder: Path, **options: object) -> Path:
    options = {"threads": 1, "progress": False} | options
    return train(experiment, folder, device="cpu", **options)  # type: ignore[arg-type]


def state_of(folder: Path) -> SavedState:
    saved = load_state(folder)
    assert saved is not None
    return saved


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    from bcprobe.experiments import tiny

    quick = replace(tiny(), frames=256, first_save=128, validate_every=1 << 20)
    return go(quick, tmp_path_factory.mktemp("whole") / "run")


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


def test_a_run_killed_and_resumed_is_the_run_never_killed(
    whole: Path, quick: Experiment, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    ended = train_and_be_killed(folder)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    saved = state_of(folder)
    assert saved.values["step"] == 10
    go(quick, folder, resume=True, workers=2)
    theirs, ours = state_of(whole).tensors, state_of(folder).tensors
    assert theirs.keys() == ours.keys()
    for name in theirs:
        if not name.startswith("table."):
            assert torch.equal(theirs[name], ours[name]), name
    timed = ["seconds", "frames_per_second", "data_wait"]
    for name in ("training", "validation"):
        a, b = (pd.read_parquet(f / f"{name}.parquet") for f in (whole, folder))
        pd.testing.assert_frame_equal(
            a.drop(columns=timed, errors="ignore"), b.drop(columns=timed, errors="ignore")
        )
    assert read_card(whole)["weights"] == read_card(folder)["weights"]


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


def test_a_dead_worker_ends_the_run_with_its_state_saved(
    quick: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Stream.__next__

    def failing(self: Stream) -> object:
        if self.waited > 0 and (load := getattr(self, "taken", 0)) == 4:
            raise StreamError(f"data worker 0 died after {load} batches")
        self.taken = getattr(self, "taken", 0) + 1  # type: ignore[attr-defined]
        return take(self)

    monkeypatch.setattr(Stream, "__next__", failing)
    with pytest.raises(StreamError, match="worker 0"):
        go(quick, tmp_path / "run")
    saved = state_of(tmp_path / "run")
    assert saved.values["step"] == 4


def test_a_finished_run_resumed_is_left_alone(whole: Path, quick: Experiment) -> None:
    before = (whole / "config.json").stat().st_mtime_ns
    assert go(quick, whole, resume=True) == whole
    assert (whole / "config.json").stat().st_mtime_ns == before


def test_weights_on_actions_change_what_is_learned_but_not_the_reported_loss(
    quick: Experiment,
) -> None:
    weighted = replace(quick, action_weights=(("navigate", 5.0),))
    runs = [Run(experiment, torch.device("cpu")) for experiment in (quick, weighted)]
    with Stream(quick.data, quick.rows, quick.row_length) as stream:
        batch, after = next(stream)
        for run in runs:
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
    assert not (tmp_path / "run").exists()
