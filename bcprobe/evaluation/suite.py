"""The whole evaluation of a checkpoint, by the protocol of the paper's comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.episodes.record import MAX_STEPS
from bcprobe.errors import InputError, check_name
from bcprobe.evaluation.forced import pooled_rows
from bcprobe.evaluation.metrics import nested, score_table
from bcprobe.evaluation.mistakes import mistake_rows, verdicts
from bcprobe.evaluation.parts import SECTIONS as SECTIONS
from bcprobe.evaluation.parts import Found, Plan, evaluate_task
from bcprobe.evaluation.progress import telling
from bcprobe.evaluation.workers import evaluate_apart
from bcprobe.gui.layouts import get_layout
from bcprobe.machine import cores, pick_device
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import DEFAULT_CHECKPOINT, find_checkpoint, tasks_for
from bcprobe.model.transformer import ClickTransformer
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
    workers: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Evaluation of a checkpoint, or a model in memory, on the first test worlds of each task.

    ``tasks``: a name, several, ``all``, or None for those that the checkpoint was trained on;
    ``episodes`` of each.

    ``seed`` drives the model's draws, the random clicker and the places of the forced
    mistakes; the worlds are the same whatever it is. The tasks of a checkpoint on disk are
    shared among so many ``workers`` (default: one a core), which changes no score.
    ``say`` gets a line of progress before each section of each task (default: a bar on
    standard error). Raises `InputError` for unknown names and for numbers out of range.
    """
    settings: dict[str, Any] = {
        "episodes": episodes,
        "temperatures": tuple(float(t) for t in temperatures),
        "seed": seed,
        "layout": layout,
        "difficulty": difficulty,
        "max_steps": max_steps,
    }
    parts = tuple(check_name("section", name, SECTIONS) for name in sections)
    plans = [Plan(task, **settings, sections=parts) for task in tasks_for(tasks, checkpoint)]
    for plan in plans:
        _check(plan)
    device = pick_device(device)
    workers = min(len(plans), cores() if workers is None else workers)
    with telling(say, len(plans) * (len(parts) + 1)) as told:
        if not isinstance(checkpoint, ClickTransformer) and workers > 1:
            found = evaluate_apart(find_checkpoint(checkpoint), plans, workers, told, device)
        else:
            model = _model(checkpoint, device)
            found = [evaluate_task(model, plan, told) for plan in plans]
    name = "model" if isinstance(checkpoint, ClickTransformer) else str(checkpoint)
    return Evaluation(name, settings, _scores(found))


def _model(checkpoint: str | Path | ClickTransformer, device: str) -> ClickTransformer:
    if isinstance(checkpoint, ClickTransformer):
        return checkpoint  # where its owner put it
    return load_checkpoint(checkpoint, device)


def _scores(found: Sequence[Found]) -> pd.DataFrame:
    rows = [row for one in found for row in one.rows]
    counts = [one.counts for one in found if one.counts is not None]
    if counts:
        rows += mistake_rows(pd.concat(counts, ignore_index=True))
    if len(found) > 1:
        rows += pooled_rows([row for row in rows if row["section"] == "forced_mistakes"])
    return score_table(rows)


def _check(plan: Plan) -> None:
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
