"""Carrying out a study: what is worked, what is left, what is said."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from bcprobe.errors import InputError
from bcprobe.results import read_table
from bcprobe.studies import executors
from bcprobe.studies import run as run_module
from bcprobe.studies.executors import ClusterExecutor, LocalExecutor, make_executor
from bcprobe.studies.run import LOG, claim, execute
from bcprobe.studies.study import Runs, Study, StudyRun
from bcprobe.studies.sweep import carry_out, left, plan, run_folder
from tests.studies.conftest import Inside


@dataclass(frozen=True)
class Settings:
    seeds: tuple[int, ...] = (0, 1, 2)
    factor: float = 2.0
    broken: tuple[int, ...] = ()


def runs(settings: Settings) -> Runs:
    seeds = [
        StudyRun(
            f"seed-{seed}",
            {"seed": seed, "factor": settings.factor, "broken": seed in settings.broken},
        )
        for seed in settings.seeds
    ]
    return *seeds, StudyRun(
        "sum", {"of": [m.name for m in seeds]}, needs=tuple(m.name for m in seeds)
    )


def work(parameters: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    if "of" in parameters:
        parts = [read_table(folder.parent / name / "rows.parquet") for name in parameters["of"]]
        return pd.DataFrame({"value": [sum(part["value"].sum() for part in parts)]})
    if parameters["broken"] and not (folder / "mended").exists():
        raise ValueError("out of luck")
    return pd.DataFrame({"value": [parameters["seed"] * parameters["factor"]]})


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby("run", sort=False)["value"].sum().reset_index()


def study(**settings: Any) -> Study:
    return Study("sums", {"tiny": Settings(**settings)}, runs, work, summarise)


def work_it(one: Study, out: Path, **options: Any):
    executor = Inside(one, **options)
    said: list[tuple[str, str | None]] = []
    found = carry_out(
        one, plan(one, "tiny"), out, executor, lambda m, why: said.append((m.name, why))
    )
    return found, executor, said


def test_runs_are_worked_once_and_make_one_table(tmp_path: Path) -> None:
    found, executor, said = work_it(study(), tmp_path)
    assert found.table["value"].tolist() == [0, 2, 4, 6]
    pd.testing.assert_frame_equal(read_table(tmp_path / "sums.parquet"), found.table)
    assert executor.worked == ["seed-0", "seed-1", "seed-2", "sum"]
    assert said == [pair for name in executor.worked for pair in ((name, None), (name, ""))]
    again, executor, _ = work_it(study(), tmp_path)
    assert executor.worked == []
    pd.testing.assert_frame_equal(again.table, found.table)


def test_a_failed_run_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    one = study(broken=(1,))
    found, executor, _ = work_it(one, tmp_path, slots=2)
    assert found.table is None
    assert found.failed == {
        "seed-1": "ValueError: out of luck",
        "sum": "needs seed-1, which failed",
    }
    assert set(executor.worked) == {"seed-0", "seed-1", "seed-2"}
    assert not (tmp_path / "sums.parquet").exists()
    assert [m.name for m in left(plan(one, "tiny"), tmp_path)] == ["seed-1", "sum"]
    (run_folder(tmp_path, "seed-1") / "mended").touch()
    found, executor, _ = work_it(one, tmp_path)
    assert executor.worked == ["seed-1", "sum"]
    assert found.table["value"].tolist() == [0, 2, 4, 6]


def test_a_changed_setting_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    work_it(study(broken=(2,)), tmp_path)
    other = study(broken=(2,), factor=3.0)
    with pytest.raises(InputError, match=r"factor is 2.0 there, 3.0 here; choose another --out"):
        work_it(other, tmp_path)
    seeds = plan(study(), "tiny", seed=5)
    assert [m.name for m in seeds] == ["seed-5", "seed-6", "seed-7", "sum"]
    with pytest.raises(InputError, match="unknown size 'tinny'; did you mean 'tiny'"):
        plan(study(), "tinny")


def test_runs_that_need_what_is_not_there_are_refused(tmp_path: Path) -> None:
    one = study()
    odd = replace(plan(one, "tiny")[0], needs=("nobody",))
    with pytest.raises(InputError, match="'seed-0' needs one that the study does not have"):
        carry_out(one, (odd,), tmp_path, Inside(one))


def test_an_interruption_lets_runs_save_and_is_raised_again(tmp_path: Path) -> None:
    one = study()
    executor = Inside(one)

    def interrupt(_: StudyRun, reason: str | None) -> None:
        if reason == "":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(one, plan(one, "tiny"), tmp_path, executor, interrupt)
    assert executor.stopped
    assert [m.name for m in left(plan(one, "tiny"), tmp_path)][:1] == ["seed-1"]


def test_a_process_of_its_own_fails_in_one_line_and_ends_when_told(tmp_path: Path) -> None:
    executor = LocalExecutor(jobs=1)
    bad = StudyRun("bad", {"training": "none", "checkpoint": str(tmp_path / "nothing")})
    folder = run_folder(tmp_path, bad.name)
    claim(folder, "layouts", bad)
    reason = executor.execute("layouts", folder, bad, executor.slots[0])
    assert "no checkpoint: there is no folder" in reason
    assert "Traceback" not in (folder / LOG).read_text()
    executor.stop()
    began = time.monotonic()
    assert executor.execute("layouts", folder, bad, executor.slots[0]) in (reason, "interrupted")
    assert time.monotonic() - began < 60


def test_executors_are_known_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with pytest.raises(InputError, match="unknown cluster 'slrum'; did you mean 'slurm'"):
        make_executor("slrum", None, tmp_path)
    assert len(make_executor("here", 3, tmp_path).slots) == 3
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r'pip install "bcprobe\[slurm\]"'):
        make_executor("slurm", None, tmp_path)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_submitit_executes_runs_as_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    one = study()
    monkeypatch.setattr(executors, "CLUSTERS", ("here", "slurm", "local", "debug"))
    monkeypatch.setattr(run_module, "get_study", lambda name: one)
    found = carry_out(one, plan(one, "tiny"), tmp_path, make_executor("debug", 2, tmp_path))
    assert found.table["value"].tolist() == [0, 2, 4, 6]


def test_a_job_that_raises_fails_with_its_last_line(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    failing = SimpleNamespace(
        update_parameters=lambda **names: None,
        submit=lambda *work: SimpleNamespace(result=fail),
    )

    def fail() -> None:
        raise RuntimeError("Job failed:\n----\nValueError: out of luck\n----\n")

    executor = ClusterExecutor("local", 1, tmp_path)
    executor.scheduler = failing
    first = plan(study(), "tiny")[0]
    assert executor.execute("sums", tmp_path, first, "0") == "ValueError: out of luck"


def test_rows_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    one = study(broken=(0,))
    first = plan(one, "tiny")[0]
    claim(tmp_path / "seed-0", one.name, first)
    with pytest.raises(ValueError):
        execute(one, tmp_path / "seed-0")
    assert [path.name for path in (tmp_path / "seed-0").iterdir()] == ["run.json"]
    with pytest.raises(InputError, match="is no run"):
        execute(one, tmp_path / "nowhere")
