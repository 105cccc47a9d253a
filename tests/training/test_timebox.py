"""Runs that end by the clock, and runs that are told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import read_card
from bcprobe.training import loop
from bcprobe.training.config import Experiment
from bcprobe.training.loop import train
from bcprobe.training.optim import schedule
from bcprobe.training.saving import load_state
from bcprobe.training.timebox import TimeBox, TimeBoxError

BATCH = 16


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def simulated(
    experiment: Experiment, step: Callable[[int], float], writing: float = 0.0
) -> tuple[float, list[float]]:
    """Seconds that a run takes whose steps take ``step(number)``, and the rate at each."""
    clock = Clock()
    box = TimeBox(experiment.minutes, clock=clock)
    box.writing = writing
    frames, planned, rates = 0, 1 << 40, []
    while frames < planned:
        rates.append(schedule(frames + BATCH, experiment, planned))
        clock.now += step(len(rates))
        frames += BATCH
        planned = box.plan(frames, BATCH)
    return clock.now - 100.0 + writing, rates


@pytest.mark.parametrize(
    "step",
    [
        lambda number: 0.1,
        lambda number: 0.1 if number > 2 else 2.0,  # it compiles first
        lambda number: 0.1 + 0.0005 * number,  # and gets slower
        lambda number: 0.05 if number % 7 else 0.4,
    ],
)
def test_the_rate_is_at_its_floor_when_the_time_is_up(
    quick: Experiment, step: Callable[[int], float]
) -> None:
    timed = replace(quick, minutes=1.0, warmup=64, final_lr=0.1)
    taken, rates = simulated(timed, step, writing=2.0)
    assert 50 < taken <= 60
    assert rates[-1] == pytest.approx(0.1, abs=2e-3)
    assert max(rates) > 0.95
    top = rates.index(max(rates))
    assert all(b <= a + 0.1 for a, b in zip(rates[top:], rates[top + 1 :], strict=False))


def test_time_spent_in_earlier_sittings_counts() -> None:
    clock = Clock()
    box = TimeBox(1.0, used=40.0, clock=clock)
    clock.now += 7.0
    assert box.plan(BATCH, BATCH) > 1000 * BATCH  # the speed is unknown
    clock.now += 1.0
    assert box.used == 48.0
    assert box.plan(2 * BATCH, BATCH) == 2 * BATCH + 11 * BATCH
    clock.now += 12.0
    assert box.plan(3 * BATCH, BATCH) == 3 * BATCH


def test_a_step_that_takes_most_of_the_time_is_the_last() -> None:
    clock = Clock()
    box = TimeBox(1.0, clock=clock)
    box.check("tiny")
    clock.now += 35.0
    assert box.plan(BATCH, BATCH) == BATCH


def test_a_timed_run_ends_in_time_with_everything_written(
    quick: Experiment, tmp_path: Path
) -> None:
    options = {"threads": 1, "progress": False, "device": "cpu"}
    train(quick, tmp_path / "first", **options)  # type: ignore[arg-type]
    began = time.monotonic()
    folder = train(quick, tmp_path / "run", minutes=0.4, **options)  # type: ignore[arg-type]
    assert time.monotonic() - began < 0.4 * 60
    table = pd.read_parquet(folder / "training.parquet")
    frames = int(table["frames"].iloc[-1])
    assert len(table) > 3
    assert table["lr"].iloc[-1] == pytest.approx(quick.final_lr * quick.lr, rel=0.05)
    assert load_checkpoint(folder).metadata["frames"] == frames
    assert pd.read_parquet(folder / "validation.parquet")["frames"].iloc[-1] == frames
    saved = load_state(folder)
    assert saved is not None
    assert saved.values["planned"] == saved.values["frames"] == frames
    before = (folder / "config.json").stat().st_mtime_ns
    assert train(quick, folder, minutes=0.4, resume=True, **options) == folder  # type: ignore[arg-type]
    assert (folder / "config.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"holds another run: minutes is 0\.4 there, 0\.0 here"):
        train(quick, folder, resume=True, **options)  # type: ignore[arg-type]


def test_minutes_too_few_for_a_step_are_refused_and_leave_nothing(
    quick: Experiment, tmp_path: Path
) -> None:
    options = {"threads": 1, "progress": False, "device": "cpu"}
    with pytest.raises(TimeBoxError, match=r"0\.001 minutes are too short for one step of 'tiny'"):
        train(quick, tmp_path / "run", minutes=0.001, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(TimeBoxError):
        train(quick, tmp_path / "there", minutes=0.001, **options)  # type: ignore[arg-type]
    assert list((tmp_path / "there").iterdir()) == []
    for minutes in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="must be above 0"):
            train(quick, tmp_path / "run", minutes=minutes, **options)  # type: ignore[arg-type]


def test_a_start_is_named_where_the_run_is_started(
    quick: Experiment, whole: Path, tmp_path: Path
) -> None:
    still = replace(quick, lr=0.0, weight_decay=0.0, frames=16, warmup=0)
    options = {"threads": 1, "progress": False, "device": "cpu"}
    folder = train(still, tmp_path / "run", start_from=str(whole), **options)  # type: ignore[arg-type]
    theirs, ours = (load_checkpoint(one).state_dict() for one in (whole, folder))
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert read_card(folder)["metadata"]["experiment"]["start_from"] == str(whole)


#: Trains without a guard, from standard input or a file, and says when it is at a step.
SCRIPT = """
import sys
from dataclasses import replace
from bcprobe.cli import main
from bcprobe.training.run import Run
from bcprobe.training import stream
learn = Run.learn
def learning(self, *batch):
    learn(self, *batch)
    print(f"step {self.step}", flush=True)
Run.learn = learning
pool = stream._Pool.__init__
def starting(self, *arguments):
    print("workers", flush=True)
    pool(self, *arguments)
stream._Pool.__init__ = starting
options = ["--experiment", "tiny", "--workers", "2", "--threads", "1"]
sys.argv = ["bcprobe", "train", *options, *sys.argv[1:]]
main()
"""


def program(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A run in a session of its own, as a terminal or a queue starts it."""
    root = Path(loop.__file__).parents[2]
    script = folder.with_suffix(".py")
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), "--out", str(folder), *options],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for said in process.stdout:
        if said.strip() == line:
            return
    raise AssertionError(process.stderr.read() if process.stderr else "")


@pytest.mark.slow
@pytest.mark.parametrize("line", ["workers", "step 3"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_to_the_whole_group_save_and_end_without_a_traceback(
    tmp_path: Path, whole_tiny: Path, line: str, number: signal.Signals
) -> None:
    folder = tmp_path / "run"
    process = program(folder)
    wait_for(process, line)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "bcprobe: interrupted"
    saved = load_state(folder)
    assert saved is not None
    assert saved.values["step"] == (0 if line == "workers" else 3)
    options = {"threads": 1, "progress": False, "device": "cpu"}
    from bcprobe.experiments import tiny

    train(tiny(), folder, resume=True, **options)  # type: ignore[arg-type]
    assert read_card(folder)["weights"] == read_card(whole_tiny)["weights"]


@pytest.fixture(scope="module")
def whole_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `tiny` that nobody interrupted."""
    from bcprobe.experiments import tiny

    folder = tmp_path_factory.mktemp("tiny") / "run"
    return train(tiny(), folder, threads=1, progress=False, device="cpu")


@pytest.mark.slow
def test_workers_import_nothing_from_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("queue", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from here')")
    root = Path(loop.__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-P", "-", "--out", "run", "--frames", "16"],
        input=SCRIPT,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "run" / "config.json").exists()
