"""The whole evaluation of a checkpoint, by the protocol of the paper's comparisons."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.episodes.clickers import RandomClicker, RepeatClicker
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import MAX_STEPS, generate, work
from bcprobe.episodes.simulator import Clicker
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
from bcprobe.gui.layouts import get_layout
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator, split_seed
from bcprobe.tasks import get_task
from bcprobe.types import Episode

#: A scrambled history costs ``context`` frames for each answer, so fewer episodes get one:
#: this share of them, but not fewer than the number.
SCRAMBLED_SHARE, SCRAMBLED_LEAST = 0.1, 5

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
    say: Callable[[str], None]

    @property
    def world_seeds(self) -> list[int]:
        """Seeds of the test worlds, the same for every model."""
        return [split_seed("test", i) for i in range(self.episodes)]

    @property
    def shown(self) -> dict[str, Any]:
        """How the worlds are shown."""
        return {"layout": self.layout, "difficulty": self.difficulty}


Part = Callable[[ClickTransformer, Plan, Sequence[Episode]], Iterator[Row]]


def teacher_forced_rows(
    model: ClickTransformer, plan: Plan, episodes: Sequence[Episode]
) -> Iterator[Row]:
    """Accuracy, likelihood and validity on the annotator's episodes."""
    plan.say(f"{plan.task}: teacher-forced, {sum(map(len, episodes))} clicks")
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
    names = {"section": "forced_mistakes", "task": plan.task}
    shown = (plan.layout, plan.difficulty)
    for temperature in plan.temperatures:
        plan.say(f"{plan.task}: {len(forced)} forced mistakes at T = {temperature:g}")
        own: dict[str, Any] = {"policy": "model", "temperature": temperature, **names}
        clicker = ModelPolicy(model, temperature, plan.seed)
        yield from forced_rows(clicker, forced, *shown, **own)
    again = AnnotatorAgain(plan.task, [one.world_seed for one in forced])
    yield from forced_rows(again, forced, *shown, policy="annotator", **names)


def copycat_rows(model: ClickTransformer, plan: Plan, episodes: Sequence[Episode]) -> Iterator[Row]:
    """What remains when the history is taken away: does the model copy its last click?

    Teacher-forced: the last click repeated, one frame of context, and on a tenth of the
    episodes the frames before the present one scrambled, beside the same frames in order.
    Closed loop: one frame of context.
    """
    few = episodes[: max(SCRAMBLED_LEAST, round(SCRAMBLED_SHARE * len(episodes)))]
    scramble = ModelPredictor(model, "scrambled", generator("scrambled history", plan.seed))
    controls: list[tuple[str, Predictor, Sequence[Episode]]] = [
        ("repeat", RepeatPredictor(), episodes),
        ("one frame", ModelPredictor(model, "one"), episodes),
        ("scrambled history", scramble, few),
        ("same window in order", ModelPredictor(model, "window"), few),
    ]
    for name, predictor, chosen in controls:
        plan.say(f"{plan.task}: copycat control, {name}, {len(chosen)} episodes")
        predictions = predict(predictor, chosen, annotator=False)
        yield from accuracy_rows(predictions, section="copycat", policy=name, task=plan.task)
    blind = ModelPolicy(model, plan.temperatures[0], plan.seed, one_frame=True)
    yield from _work_rows(
        blind, plan, "one frame", section="copycat", temperature=plan.temperatures[0]
    )


def _work_rows(
    clicker: Clicker, plan: Plan, policy: str, section: str = "closed_loop", **names: Any
) -> Iterator[Row]:
    """Scores of a clicker that works the plan's worlds on its own."""
    plan.say(f"{plan.task}: {policy} works {plan.episodes} worlds{_warmth(names)}")
    episodes = work(
        clicker,
        plan.task,
        plan.world_seeds,
        origin=policy,
        max_steps=plan.max_steps,
        **plan.shown,
    )
    yield from loop_rows(episodes, section=section, policy=policy, task=plan.task, **names)


def _warmth(names: dict[str, Any]) -> str:
    return f" at T = {names['temperature']:g}" if "temperature" in names else ""


#: Parts of an evaluation, by name.
SECTIONS: dict[str, Part] = {
    "teacher_forced": teacher_forced_rows,
    "closed_loop": closed_loop_rows,
    "forced_mistakes": forced_mistake_rows,
    "copycat": copycat_rows,
}


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
    sections: Iterable[str] = SECTIONS,
    device: str = "cpu",
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Evaluation of a checkpoint on the first ``episodes`` test worlds of each task.

    ``seed`` drives the model's draws, the random clicker and the places of the forced
    mistakes; the worlds are the same whatever it is. ``say`` gets a line of progress after
    each part (default: standard error). Raises `InputError` for unknown names and for
    numbers out of range.
    """
    settings: dict[str, Any] = {
        "episodes": episodes,
        "temperatures": tuple(float(t) for t in temperatures),
        "seed": seed,
        "layout": layout,
        "difficulty": difficulty,
        "max_steps": max_steps,
    }
    plans = [Plan(task, **settings, say=say or _to_stderr) for task in tasks]
    parts = [SECTIONS[check_name("section", name, SECTIONS)] for name in sections]
    for plan in plans:
        _check(plan)
    if isinstance(checkpoint, ClickTransformer):
        name, model = "model", checkpoint.to(device)
    else:
        name, model = str(checkpoint), load_checkpoint(checkpoint, device)
    rows = [found for plan in plans for found in _rows(model, plan, parts)]
    return Evaluation(name, settings, score_table(rows))


def _rows(model: ClickTransformer, plan: Plan, parts: Iterable[Part]) -> Iterator[Row]:
    plan.say(f"{plan.task}: the annotator works {plan.episodes} worlds")
    episodes = [
        generate(plan.task, seed, max_steps=plan.max_steps, **plan.shown)
        for seed in plan.world_seeds
    ]
    for part in parts:
        yield from part(model, plan, episodes)


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


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
