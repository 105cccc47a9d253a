"""Two CPU processes train as one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.training import run as run_module
from bcprobe.training.config import Experiment
from bcprobe.training.loop import train
from bcprobe.training.processes import Processes
from bcprobe.training.run import Run
from bcprobe.training.saving import load_state
from bcprobe.training.stream import Stream

#: Trains twice: to the end, and stopped by a Ctrl-C that one process alone hears, then resumed.
#: What threads are left at the end it writes last, into a file for each process.
TWICE = """
import atexit, os, signal, sys
from dataclasses import replace
from pathlib import Path

def list_threads():
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    Path(sys.argv[1], os.environ["RANK"] + ".threads").write_text("".join(names))

def main():  # imports here: the data workers, which load this file, go without torch
    from bcprobe.experiments import tiny
    from bcprobe.training.loop import train
    from bcprobe.training.run import Run

    atexit.register(list_threads)
    plan = replace(tiny(), frames=96, first_save=64, validate_every=1 << 20)
    options = {"threads": 1, "device": "cpu", "progress": False, "precision": "fp32"}
    train(plan, sys.argv[1] + "/whole", **options)
    learn = Run.learn

    def interrupted(self, *batch):
        learn(self, *batch)
        if self.step == 3 and self.processes.rank == 1:
            os.kill(os.getpid(), signal.SIGINT)

    Run.learn = interrupted
    try:
        train(plan, sys.argv[1] + "/parts", **options)
    except KeyboardInterrupt:
        Run.learn = learn
        train(plan, sys.argv[1] + "/parts", resume=True, **options)

if __name__ == "__main__":
    main()
"""


def launch(script: Path, folder: Path, count: int) -> None:
    """Run a script in processes that know of each other, as a launcher would."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = Path(run_module.__file__).parents[2]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    shared |= {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        for process in started:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    finally:
        for process in started:
            process.kill()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    script = folder / "twice.py"
    script.write_text(TWICE)
    launch(script, folder, 2)
    return folder


def test_the_losses_of_two_processes_are_those_of_one(
    two: Path, quick: Experiment, tmp_path: Path
) -> None:
    plan = replace(quick, frames=96, first_save=64)
    train(plan, tmp_path / "one", threads=1, device="cpu", progress=False, precision="fp32")
    tables = [pd.read_parquet(f / "training.parquet") for f in (two / "whole", tmp_path / "one")]
    for column in ("loss", "grad_norm", "lr", "nll_place"):
        np.testing.assert_allclose(tables[0][column], tables[1][column], rtol=2e-5)


def test_two_processes_stopped_and_resumed_are_two_never_stopped(two: Path) -> None:
    whole, parts = (load_state(two / name) for name in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert whole.values["step"] == parts.values["step"] == 6
    for name, tensor in whole.tensors.items():
        assert name.startswith("table.") or torch.equal(tensor, parts.tensors[name]), name


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no list of threads here")
def test_no_thread_between_processes_outlives_the_interpreter(two: Path) -> None:
    for rank in range(2):
        left = (two / f"{rank}.threads").read_text().split()
        assert left
        assert not [name for name in left if "gloo" in name]


def test_a_step_in_parts_is_the_step_in_one(quick: Experiment) -> None:
    runs = [Run(quick, torch.device("cpu"), accumulation=number) for number in (1, 2)]
    with Stream(quick.data, quick.rows, quick.row_length) as stream:
        for _ in range(2):
            batch, after = next(stream)
            for run in runs:
                run.learn(batch, after, 0.0)
    for row in ("loss", "grad_norm"):
        one, two = (run.training.frame()[row] for run in runs)
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_rows_that_do_not_divide_are_refused(quick: Experiment) -> None:
    with pytest.raises(InputError, match="2 rows do not divide among 1 processes of 3 parts"):
        Run(quick, torch.device("cpu"), accumulation=3)


def test_shares_are_all_rows_once() -> None:
    shares = [range(12)[Processes(rank, 4).rows(12)] for rank in range(4)]
    assert [row for share in shares for row in share] == list(range(12))


def test_what_the_main_process_refuses_is_refused() -> None:
    def refuse() -> None:
        raise InputError("no such folder")

    with pytest.raises(InputError, match="no such folder"):
        Processes().main_first(refuse)
