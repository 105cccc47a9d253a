"""The whole evaluation of a checkpoint, by the protocol of the paper's comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bcprobe.episodes.record import MAX_STEPS
from bcprobe.errors import InputError, check_name
from bcprobe.evaluation.forced import pooled_rows
from bcprobe.evaluation.metrics import nested, score_table
from bcprobe.evaluation.mistakes import mistake_rows, verdicts
from bcprobe.evaluation.sections import SECTIONS as SECTIONS
from bcprobe.evaluation.sections import Found, TaskSettings, evaluate_task
from bcprobe.gui.layouts import get_layout
from bcprobe.machine import pick_device
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.precision import PRECISIONS
from bcprobe.model.registry import DEFAULT_CHECKPOINT, find_checkpoint, tasks_for
from bcprobe.model.transformer import ClickTransformer
from bcprobe.parallel import in_processes
from bcprobe.progress import Progress
from bcprobe.tasks import get_task


@dataclass(frozen=True)
class Evaluation:
    """Scores of a checkpoint and of those it is compared with.

    ``scores`` is tidy (`metrics.COLUMNS`): one score a row, with its 95 % interval.
    """

    checkpoint: str
    settings: dict[str, Any]
    scores: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """The scores, one a row."""
        return self.scores

    def as_dict(self) -> dict[str, Any]:
        """JSON form: ``results[task][section][policy][metric][kind]`` is a score.

        A score is ``{estimate, lower, upper, n}``; ``kind`` is left out where there is none.
        ``mistakes_than_data`` holds `verdicts`.
        """
        head = {"checkpoint": self.checkpoint, "settings": self.settings}
        return {
            **head,
            "mistakes_than_data": verdicts(self.scores),
            "results": nested(self.scores),
        }


def evaluate(
    checkpoint: str | Path | ClickTransformer = DEFAULT_CHECKPOINT,
    tasks: str | Sequence[str] | None = None,
    episodes: int = 20,
    temperatures: Sequence[float] = (0.0, 0.5, 1.0),
    seed: int = 0,
    *,
    layout: str = "original",
    difficulty: str = "default",
    max_steps: int = MAX_STEPS,
    sections: Iterable[str] = SECTIONS,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Evaluation of a checkpoint, or a model in memory, on the first test worlds of each task.

    ``tasks``: a name, several, ``all``, or None for those that the checkpoint was trained on;
    ``episodes`` of each.

    ``seed`` drives the model's draws, the random clicker and the places of the forced
    mistakes; the worlds are the same whatever it is. The tasks of a checkpoint on disk are
    shared among so many ``workers`` (default: one a core), which changes no score.
    ``precision`` of matrix products is ``fp32``, ``bf16``, or what the checkpoint asks for.
    ``progress`` shows a bar. Raises `InputError` for unknown names and for numbers out of range.
    """
    settings: dict[str, Any] = {
        "episodes": episodes,
        "temperatures": tuple(float(t) for t in temperatures),
        "seed": seed,
        "layout": layout,
        "difficulty": difficulty,
        "max_steps": max_steps,
        "precision": check_name("precision", precision, PRECISIONS),
    }
    parts = tuple(check_name("section", name, SECTIONS) for name in sections)
    chosen = tasks_for(tasks, checkpoint)
    plans = [TaskSettings(task, **settings, sections=parts) for task in chosen]
    for plan in plans:
        _check(plan)
    found = []
    with Progress(len(plans), "evaluation", shown=progress, every=0) as bar:
        made = _found(checkpoint, plans, pick_device(device), workers)
        for task, one in zip(chosen, made, strict=True):
            found.append(one)
            bar.advance(label=f"evaluated {task}")
    name = "model" if isinstance(checkpoint, ClickTransformer) else str(checkpoint)
    return Evaluation(name, settings, _scores(found))


def _found(
    checkpoint: str | Path | ClickTransformer,
    plans: Sequence[TaskSettings],
    device: str,
    workers: int | None,
) -> Iterator[Found]:
    if isinstance(checkpoint, ClickTransformer):
        yield from (evaluate_task(checkpoint, plan) for plan in plans)
        return
    folder = find_checkpoint(checkpoint).resolve()
    count = workers if torch.device(device).type == "cpu" else 1
    yield from in_processes(_evaluate, [(folder, device, plan) for plan in plans], count)


def _evaluate(job: tuple[Path, str, TaskSettings]) -> Found:
    folder, device, plan = job
    return evaluate_task(_loaded(folder, device), plan)


@lru_cache(maxsize=1)
def _loaded(folder: Path, device: str) -> ClickTransformer:
    return load_checkpoint(folder, device)


def _scores(found: Sequence[Found]) -> pd.DataFrame:
    rows = [row for one in found for row in one.rows]
    counts = [one.counts for one in found if one.counts is not None]
    if counts:
        rows += mistake_rows(pd.concat(counts, ignore_index=True))
    if len(found) > 1:
        rows += pooled_rows([row for row in rows if row["section"] == "forced_mistakes"])
    return score_table(rows)


def _check(plan: TaskSettings) -> None:
    """Raise `InputError` for a plan that cannot be carried out."""
    task = get_task(plan.task)
    get_layout(plan.layout)
    check_name("difficulty", plan.difficulty, task.settings)
    for name, value in (("episodes", plan.episodes), ("max_steps", plan.max_steps)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be 1 or more")
    if not plan.temperatures:
        raise InputError("no temperatures; give at least one, such as 0")
    for temperature in plan.temperatures:
        if not 0 <= temperature < math.inf:
            raise InputError(f"temperature {temperature:g} is out of range; use 0 or more")
