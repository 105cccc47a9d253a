"""The whole evaluation of a checkpoint, by the protocol of the paper's comparisons."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.episodes.clickers import RandomClicker, RepeatClicker
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import MAX_STEPS, generate, work
from bcprobe.errors import InputError, check_name
from bcprobe.evaluation.closed_loop import loop_rows
from bcprobe.evaluation.forced import AnnotatorAgain, force, forced_rows
from bcprobe.evaluation.metrics import nested, score_table
from bcprobe.evaluation.teacher_forced import (
    ModelPredictor,
    Predictor,
    RepeatPredictor,
    accuracy_rows,
    predict,
)
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator, split_seed
from bcprobe.tasks import get_task
from bcprobe.types import Episode

SECTIONS = ("teacher_forced", "closed_loop", "forced_mistakes", "copycat")
#: A scrambled history costs ``context`` frames for each answer, so fewer episodes get one.
SCRAMBLED_SHARE = 0.1

Row = dict[str, Any]


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
        """
        head = {"checkpoint": self.checkpoint, "settings": self.settings}
        return {**head, "results": nested(self.scores)}


@dataclass(frozen=True)
class Plan:
    """What is evaluated: a task's test worlds in a layout, and how the model draws."""

    task: str
    episodes: int
    temperatures: tuple[float, ...]
    seed: int
    layout: str
    difficulty: str
    max_steps: int

    @property
    def world_seeds(self) -> list[int]:
        """Seeds of the test worlds, the same for every model."""
        return [split_seed("test", i) for i in range(self.episodes)]

    @property
    def shown(self) -> dict[str, str]:
        """How the worlds are shown."""
        return {"layout": self.layout, "difficulty": self.difficulty}


def evaluate(
    checkpoint: str | Path | ClickTransformer,
    tasks: Sequence[str],
    episodes: int = 50,
    temperatures: Sequence[float] = (0.0, 0.5, 1.0),
    seed: int = 0,
    *,
    layout: str = "original",
    difficulty: str = "default",
    max_steps: int = MAX_STEPS,
    sections: Sequence[str] = SECTIONS,
    device: str = "cpu",
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Evaluation of a checkpoint on the first ``episodes`` test worlds of each task.

    ``seed`` drives the model's draws, the random clicker and the places of the forced
    mistakes; the worlds are the same whatever it is. ``say`` gets a line of progress after
    each part (default: standard error). Raises `InputError` for unknown names and for
    numbers out of range.
    """
    model = checkpoint if isinstance(checkpoint, ClickTransformer) else load_checkpoint(checkpoint)
    model = model.to(device)
    plans = [
        Plan(task, episodes, tuple(temperatures), seed, layout, difficulty, max_steps)
        for task in tasks
    ]
    for plan in plans:
        _check(plan, sections)
    rows: list[Row] = []
    for plan in plans:
        rows += _plan_rows(model, plan, sections, say or _to_stderr)
    settings = {
        "episodes": episodes,
        "temperatures": list(temperatures),
        "seed": seed,
        "layout": layout,
        "difficulty": difficulty,
        "max_steps": max_steps,
    }
    name = type(checkpoint).__name__ if checkpoint is model else str(checkpoint)
    return Evaluation(name, settings, score_table(rows))


def teacher_forced_rows(
    model: ClickTransformer, plan: Plan, episodes: Sequence[Episode]
) -> Iterator[Row]:
    """Accuracy, likelihood and validity on the annotator's episodes."""
    predictions = predict(ModelPredictor(model), episodes)
    yield from accuracy_rows(predictions, section="teacher_forced", policy="model", task=plan.task)


def closed_loop_rows(
    model: ClickTransformer, plan: Plan, episodes: Sequence[Episode]
) -> Iterator[Row]:
    """The model at each temperature, the annotator, a random clicker and one that repeats."""
    for temperature in plan.temperatures:
        yield from _work_rows(
            ModelPolicy(model, temperature, plan.seed), plan, "model", temperature=temperature
        )
    names = {"section": "closed_loop", "task": plan.task}
    yield from loop_rows(episodes, policy="annotator", **names)
    rng = generator("random clicker", plan.task, plan.seed)
    yield from _work_rows(RandomClicker(rng), plan, "random")
    yield from _work_rows(RepeatClicker(), plan, "repeat")


def forced_mistake_rows(
    model: ClickTransformer, plan: Plan, episodes: Sequence[Episode]
) -> Iterator[Row]:
    """The model, at each temperature, and the annotator after mistakes they did not make."""
    forced = force(plan.task, plan.world_seeds, plan.seed, **plan.shown)
    names = {"section": "forced_mistakes", **plan.shown}
    for temperature in plan.temperatures:
        policy = ModelPolicy(model, temperature, plan.seed)
        yield from _forced(policy, plan, forced, policy="model", temperature=temperature)
    again = AnnotatorAgain(plan.task, [one.world_seed for one in forced])
    yield from _forced(again, plan, forced, policy="annotator")


def copycat_rows(
    model: ClickTransformer, plan: Plan, episodes: Sequence[Episode]
) -> Iterator[Row]:
    """What remains when the history is taken away: does the model copy its last click?

    Teacher-forced: the last click repeated, one frame of context, the frames before the
    present one scrambled (on a tenth of the episodes). Closed loop: one frame of context.
    """
    few = episodes[: max(1, round(SCRAMBLED_SHARE * len(episodes)))]
    scramble = ModelPredictor(model, "scrambled", generator("scrambled history", plan.seed))
    controls: list[tuple[str, Predictor, Sequence[Episode]]] = [
        ("repeat", RepeatPredictor(), episodes),
        ("one frame", ModelPredictor(model, "one"), episodes),
        ("scrambled history", scramble, few),
        ("full history, same episodes", ModelPredictor(model), few),
    ]
    for name, predictor, chosen in controls:
        predictions = predict(predictor, chosen, annotator=False)
        yield from accuracy_rows(predictions, section="copycat", policy=name, task=plan.task)
    blind = ModelPolicy(model, plan.temperatures[0], plan.seed, one_frame=True)
    yield from _work_rows(
        blind, plan, "one frame", section="copycat", temperature=plan.temperatures[0]
    )
