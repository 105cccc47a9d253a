"""What is due now and then in a run: validation, saved steps, the state for resuming."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bcprobe.model.checkpoint import save_checkpoint
from bcprobe.results import write_table
from bcprobe.training.config import is_validated, saved_step
from bcprobe.training.run import Run
from bcprobe.training.saving import save_state
from bcprobe.training.validation import Validation

#: Steps that the training loss of a checkpoint is averaged over.
WINDOW = 100


class Checkpointer:
    """Validates and saves a run when it is due; does nothing but in the main process.

    ``seconds`` is the time between two saves of the state for resuming. ``took`` holds the seconds
    that each kind of writing took at most.
    """

    def __init__(self, run: Run, folder: Path, seconds: float) -> None:
        self.run, self.folder, self.seconds = run, folder, seconds
        self.main = run.processes.main
        self.validation = Validation(run.experiment) if self.main else None
        self.saved_at = time.monotonic()
        self.took: dict[str, float] = {}

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.took[kind] = max(self.took.get(kind, 0.0), time.monotonic() - began)

    def after_step(self) -> None:
        """Do what is due at the run's present step."""
        if not self.main:
            return
        run = self.run
        seen = run.validation.rows and run.validation.rows[-1][1] == run.frames
        if (run.finished or is_validated(run.experiment, run.frames)) and not seen:
            with self._timed("validation"):
                self.validate()
        step = saved_step(run.experiment, run.frames)
        if step is not None:
            with self._timed("weights"):
                write_checkpoint(run, self.folder / "steps" / str(step))
        unknown = run.experiment.minutes and "state" not in self.took
        if unknown or time.monotonic() - self.saved_at >= self.seconds:
            self.save()

    def validate(self) -> None:
        """Add a row to the validation table."""
        run = self.run
        run.note()
        found = self.validation.measure(run.model, run.precision) if self.validation else {}
        run.validation.append(
            {"step": run.step, "frames": run.frames, "seconds": run.seconds, **found}
        )

    def save(self) -> None:
        """Write the state for resuming, then the tables."""
        if not self.main:
            return
        with self._timed("state"):
            save_state(self.folder, self.run.state())
            tables = {"training": self.run.training, "validation": self.run.validation}
            for name, table in tables.items():
                path = self.folder / f"{name}.parquet"
                write_table(table.frame(), path, experiment=self.run.experiment.name)
        self.saved_at = time.monotonic()


def write_checkpoint(run: Run, folder: Path) -> None:
    """Write the weights with where they come from. Raises `DivergedError` rather than bad ones."""
    run.note()
    save_checkpoint(
        run.model,
        folder,
        experiment=run.experiment.as_dict(),
        commit=commit(),
        data_seed=run.experiment.data.seed,
        frames=run.frames,
        step=run.step,
        seconds=round(run.seconds, 1),
        metrics=metrics(run),
    )


def metrics(run: Run) -> dict[str, float]:
    """Training loss over the last steps, and the last validation; JSON has no nan."""
    found: dict[str, float] = {}
    if run.training.rows:
        column = run.training.columns.index("loss")
        last = [row[column] for row in run.training.rows[-WINDOW:]]
        found["training_loss"] = sum(last) / len(last)
    if run.validation.rows:
        last_row = zip(run.validation.columns, run.validation.rows[-1], strict=True)
        found |= {
            f"validation_{name}": value
            for name, value in last_row
            if name not in ("step", "seconds")
        }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def commit() -> str | None:
    """Commit of the code, if it lies in a git repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
