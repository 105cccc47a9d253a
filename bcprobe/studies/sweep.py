"""A study carried out: planned, its runs executed or resumed, and its one table written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bcprobe.errors import InputError, check_name
from bcprobe.results import read_table, write_table
from bcprobe.studies.executors import Executor
from bcprobe.studies.run import ROWS, claim, is_done
from bcprobe.studies.study import Runs, Study, StudyRun

#: Called when a run begins (None) and when it ended: why it failed, or empty.
Report = Callable[[StudyRun, str | None], None]


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The table, if every run is done, and else why some are not, by name."""

    table: pd.DataFrame | None
    failed: Mapping[str, str] = field(default_factory=dict)


def plan(study: Study, size: str, seed: int = 0) -> Runs:
    """The runs of a study at a size; ``seed`` is added to their seeds.

    Raises `InputError` for an unknown size.
    """
    settings = study.settings[check_name("size", size, study.settings)]
    seeds = tuple(seed + one for one in settings.seeds)
    return study.runs(replace(settings, seeds=seeds))


def run_folder(out: Path, name: str) -> Path:
    """Folder of the run of that name."""
    return out / "runs" / name


def left(runs: Iterable[StudyRun], out: Path) -> Runs:
    """The runs whose rows are not there yet."""
    return tuple(run for run in runs if not is_done(run_folder(out, run.name)))


def carry_out(
    study: Study,
    runs: Runs,
    out: Path,
    executor: Executor,
    report: Report = lambda run, reason: None,
    **metadata: str,
) -> SweepResult:
    """Execute what is left of a study's runs in the folder ``out``, and write its table there.

    The table ``out/NAME.parquet`` is written once every run is done, with ``metadata`` in it. A
    run that fails is named in the outcome, so are those that need it; the others continue.
    ``KeyboardInterrupt`` lets the runs at work save and is raised again. Raises `InputError`
    before anything is begun if the folder of a run was begun with other settings.
    """
    for run in runs:
        claim(run_folder(out, run.name), study.name, run)
    failed = _Sweep(study, out, executor, report).work(left(runs, out))
    if failed:
        return SweepResult(None, failed)
    rows = [read_table(run_folder(out, run.name) / ROWS) for run in runs]
    table = study.summarise(pd.concat(rows, ignore_index=True))
    write_table(table, out / f"{study.name}.parquet", study=study.name, **metadata)
    return SweepResult(table)


class _Sweep:
    """Hands runs to free slots until none is left that can be executed."""

    def __init__(self, study: Study, out: Path, executor: Executor, report: Report) -> None:
        self.study, self.out, self.executor, self.report = study, out, executor, report
        self.failed: dict[str, str] = {}
        self.free = deque(executor.slots)
        self.running: dict[Future[str], tuple[StudyRun, str]] = {}

    def work(self, runs: Runs) -> dict[str, str]:
        """Execute them all; why some failed, by name."""
        waiting = list(runs)
        with ThreadPoolExecutor(len(self.executor.slots)) as pool:
            try:
                while waiting or self.running:
                    waiting = self._start(waiting, pool)
                    self._collect()
            except BaseException:
                self.executor.stop()
                raise
        return self.failed

    def _start(self, waiting: list[StudyRun], pool: ThreadPoolExecutor) -> list[StudyRun]:
        """Start the runs that can be; the others, which wait."""
        kept = []
        for run in waiting:
            missing = [name for name in run.needs if not is_done(run_folder(self.out, name))]
            broken = next((name for name in missing if name in self.failed), None)
            if broken is not None:
                self._end(run, f"needs {broken}, which failed")
            elif missing or not self.free:
                kept.append(run)
            else:
                self._submit(run, pool)
        if kept and len(kept) == len(waiting) and not self.running:
            raise InputError(f"run '{kept[0].name}' needs one that the study does not have")
        return kept

    def _submit(self, run: StudyRun, pool: ThreadPoolExecutor) -> None:
        slot, folder = self.free.popleft(), run_folder(self.out, run.name)
        self.report(run, None)
        job = pool.submit(self.executor.execute, self.study.name, folder, run, slot)
        self.running[job] = run, slot

    def _collect(self) -> None:
        """Wait until a run ended."""
        if not self.running:
            return
        for job in wait(self.running, return_when=FIRST_COMPLETED).done:
            run, slot = self.running.pop(job)
            self.free.append(slot)
            reason = job.result()
            if not reason and not is_done(run_folder(self.out, run.name)):
                reason = "ended without its rows"
            self._end(run, reason)

    def _end(self, run: StudyRun, reason: str) -> None:
        if reason:
            self.failed[run.name] = reason
        self.report(run, reason)
