"""A run killed at random moments, and resumed each time, is the run never killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import list_steps, read_card
from bcprobe.training import run as run_module
from bcprobe.training.config import Experiment
from bcprobe.training.loop import train
from bcprobe.training.saving import SavedState, load_state

KILLS = 10
#: A step learns with about 3,500 Python and C calls, then saves with about 33,000.
CALLS = 50_000
#: Trains in processes that kill themselves just before a call drawn at random, after none or
#: one step, each going on where the last was killed. Prints what each was at, and how it ended.
SCRIPT = """
import os, random, signal, sys
from dataclasses import replace

def work(kill, steps, moment):
    from bcprobe.experiments import tiny
    from bcprobe.training.loop import train
    from bcprobe.training.run import Run

    learn, calls, learned = Run.learn, [0], []

    def called(frame, event, argument):
        calls[0] += event in ("call", "c_call")
        if calls[0] == moment:
            print(*places(frame), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def learning(self, *batch):
        learned.append(batch)
        if len(learned) > steps:
            sys.setprofile(called)
        learn(self, *batch)

    Run.learn = learning
    quick = replace(tiny(), frames=256, first_save=128, validate_every=1 << 20)
    options = {"threads": 1, "save_seconds": 0.0, "progress": False, "device": "cpu"}
    train(quick, sys.argv[1], resume=kill > 0, **options)

def places(frame):
    while frame:
        if "/bcprobe/training/" in frame.f_code.co_filename:
            yield frame.f_code.co_name
        frame = frame.f_back

def main():  # imports here: the data workers, which load this file, go without torch
    import bcprobe.experiments, bcprobe.training.loop, torch

    torch.set_num_threads(1)
    draw = random.Random(0)
    for kill in range(int(sys.argv[2])):
        steps, moment = draw.randrange(2), 1 + int(float(sys.argv[3]) * draw.random() ** 2)
        child = os.fork()
        if not child:
            work(kill, steps, moment)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

if __name__ == "__main__":
    main()
"""


def state_of(folder: Path) -> SavedState:
    saved = load_state(folder)
    assert saved is not None
    return saved


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run killed ten times and not yet resumed, and what its processes said."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    script = folder.with_suffix(".py")
    script.write_text(SCRIPT)
    root = Path(run_module.__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, str(script), str(folder), str(KILLS), str(CALLS)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


def test_every_process_died_at_a_moment_of_its_own(killed: tuple[Path, str]) -> None:
    folder, said = killed
    moments, codes = said.splitlines()[::2], said.splitlines()[1::2]
    assert codes == [str(-signal.SIGKILL)] * KILLS
    seen = {name for moment in moments for name in moment.split()}
    assert {"learn", "save", "validate"} <= seen
    assert 0 < state_of(folder).values["step"] < 16


def test_what_a_killed_run_leaves_can_be_loaded(killed: tuple[Path, str]) -> None:
    folder, _ = killed
    steps = list_steps(folder)
    assert steps[0] == 0
    for frames in steps:
        assert load_checkpoint(f"{folder}@{frames}").metadata["frames"] == frames


def test_resumed_it_is_the_run_never_killed(
    killed: tuple[Path, str], whole: Path, quick: Experiment
) -> None:
    folder, _ = killed
    options = {"threads": 1, "progress": False, "device": "cpu"}
    train(quick, folder, resume=True, workers=2, **options)  # type: ignore[arg-type]
    assert not list(folder.rglob(".*"))
    theirs, ours = state_of(whole).tensors, state_of(folder).tensors
    assert theirs.keys() == ours.keys()
    for name in theirs:
        assert name.startswith("table.") or torch.equal(theirs[name], ours[name]), name
    timed = ["seconds", "frames_per_second", "data_wait"]
    for name in ("training", "validation"):
        a, b = (pd.read_parquet(f / f"{name}.parquet") for f in (whole, folder))
        pd.testing.assert_frame_equal(
            a.drop(columns=timed, errors="ignore"), b.drop(columns=timed, errors="ignore")
        )
    for step in ("", "steps/0", "steps/128", "steps/256"):
        assert read_card(whole / step)["weights"] == read_card(folder / step)["weights"]
