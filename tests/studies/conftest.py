"""A network of two tasks that knows nothing, and an executor that starts no processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bcprobe.experiments import tiny
from bcprobe.studies.run import execute
from bcprobe.studies.study import Study, StudyRun
from bcprobe.training.config import Experiment
from bcprobe.training.loop import train

TASKS = ("colored_dot_tracking", "animal_limb_tracking")


class Inside:
    """This process; a run that raises has failed."""

    def __init__(self, study: Study, slots: int = 1) -> None:
        self.study, self.slots = study, tuple(map(str, range(slots)))
        self.worked: list[str] = []
        self.stopped = False

    def execute(self, study: str, folder: Path, run: StudyRun, slot: str) -> str:
        self.worked.append(run.name)
        try:
            execute(self.study, folder)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture(scope="session")
def quick() -> Experiment:
    """Four steps on two tasks."""
    data = replace(tiny().data, tasks=TASKS, episodes=4)
    return replace(tiny(), data=data, frames=32, rows=1, first_save=32, validation_episodes=1)


@pytest.fixture(scope="session")
def checkpoint(quick: Experiment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny checkpoint of two tasks in one layout."""
    folder = tmp_path_factory.mktemp("start") / "two-tasks"
    return str(train(quick, folder, threads=1, progress=False, device="cpu"))
