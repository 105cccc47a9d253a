"""The sections of an evaluation: what is asked of a model on the test worlds of one task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from bcprobe.episodes.clickers import RandomClicker, RepeatClicker
from bcprobe.episodes.embedding_cache import Sight
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import generate, open_world, work
from bcprobe.episodes.simulator import Clicker, Simulator
from bcprobe.evaluation.closed_loop import loop_rows
from bcprobe.evaluation.forced import AnnotatorAgain, force, forced_rows
from bcprobe.evaluation.mistakes import count_table
from bcprobe.evaluation.progress import Say
from bcprobe.evaluation.teacher_forced import (
    ModelPredictor,
    Predictor,
    RepeatPredictor,
    accuracy_rows,
    predict,
    predict_each,
)
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator, split_seed

#: A scrambled history costs ``context`` frames for each answer, so fewer episodes get one:
#: this share of them, but not fewer than the number.
SCRAMBLED_SHARE, SCRAMBLED_LEAST = 0.1, 5

Row = dict[str, Any]


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
    sections: tuple[str, ...]

    @property
    def world_seeds(self) -> list[int]:
        """Seeds of the test worlds, the same for every model."""
        return [split_seed("test", i) for i in range(self.episodes)]

    @property
    def shown(self) -> dict[str, Any]:
        """How the worlds are shown."""
        return {"layout": self.layout, "difficulty": self.difficulty}


@dataclass(frozen=True)
class Found:
    """Score rows of a task; ``counts`` (`count_table`) if the model worked alone."""

    rows: tuple[Row, ...]
    counts: pd.DataFrame | None


@dataclass
class Bench:
    """A model before a task's test worlds, open, and the annotator's episodes on them.

    ``sight`` holds what the model's eye made of screens; ``counts`` gathers `count_table`.
    """

    model: ClickTransformer
    plan: Plan
    opened: Sequence[Simulator]
    episodes: Sequence[Episode]
    sight: Sight
    counts: list[pd.DataFrame] = field(default_factory=list)

    def policy(self, temperature: float, *, looping: bool = False, **options: Any) -> ModelPolicy:
        """The model as a clicker; ``looping`` if nobody will overrule it."""
        reach = self.model.config.reach if looping else None
        seed = self.plan.seed
        return ModelPolicy(self.model, temperature, seed, sight=self.sight, reach=reach, **options)

    def work(self, clicker: Clicker, origin: str) -> list[Episode]:
        """Episodes of a clicker that works the worlds on its own."""
        plan = self.plan
        known: dict[str, Any] = {
            "origin": origin,
            "max_steps": plan.max_steps,
            "opened": self.opened,
        }
        return work(clicker, plan.task, plan.world_seeds, **known, **plan.shown)

    def count(self, episodes: Sequence[Episode], **names: Any) -> None:
        """Note the mistakes in episodes on all of the worlds."""
        self.counts.append(count_table(episodes, task=self.plan.task, **names))


Part = Callable[[Bench], Iterator[Row]]


def teacher_forced_rows(bench: Bench) -> Iterator[Row]:
    """Accuracy, likelihood and validity on the annotator's episodes."""
    predictor = ModelPredictor(bench.model, sight=bench.sight)
    predictions = predict(predictor, bench.episodes, opened=bench.opened)
    names = {"section": "teacher_forced", "policy": "model", "task": bench.plan.task}
    yield from accuracy_rows(predictions, **names)


def closed_loop_rows(bench: Bench) -> Iterator[Row]:
    """The model at each temperature, the annotator, a random clicker and one that repeats."""
    plan = bench.plan
    names: dict[str, Any] = {"section": "closed_loop", "task": plan.task}
    for temperature in plan.temperatures:
        episodes = bench.work(bench.policy(temperature, looping=True), "model")
        bench.count(episodes, policy="model", temperature=temperature)
        yield from loop_rows(episodes, policy="model", temperature=temperature, **names)
    bench.count(bench.episodes, policy="data")
    yield from loop_rows(bench.episodes, policy="annotator", **names)
    rng = generator("random clicker", plan.task, plan.seed)
    for name, clicker in (("random", RandomClicker(rng)), ("repeat", RepeatClicker())):
        yield from loop_rows(bench.work(clicker, name), policy=name, **names)


def forced_mistake_rows(bench: Bench) -> Iterator[Row]:
    """The model, at each temperature, and the annotator after mistakes they did not make."""
    plan = bench.plan
    forced = force(plan.task, plan.world_seeds, plan.seed, opened=bench.opened)
    names: dict[str, Any] = {"section": "forced_mistakes", "task": plan.task}
    seen = bench.model.config.reach - 1
    for temperature in plan.temperatures:
        own = {"policy": "model", "temperature": temperature, **names}
        yield from forced_rows(bench.policy(temperature), forced, seen, **own)
    again = AnnotatorAgain(plan.task, [one.world_seed for one in forced])
    yield from forced_rows(again, forced, policy="annotator", **names)


def copycat_rows(bench: Bench) -> Iterator[Row]:
    """What remains when the history is taken away: does the model copy its last click?

    Teacher-forced: the last click repeated, one frame of context, and on a tenth of the
    episodes the frames before the present one scrambled, beside the same frames in order.
    Closed loop: one frame of context.
    """
    plan, model, sight = bench.plan, bench.model, bench.sight
    few = max(SCRAMBLED_LEAST, round(SCRAMBLED_SHARE * plan.episodes))
    rng = generator("scrambled history", plan.seed)
    whole: dict[str, Predictor] = {
        "repeat": RepeatPredictor(),
        "one frame": ModelPredictor(model, "one", sight=sight),
    }
    windows: dict[str, Predictor] = {
        "scrambled history": ModelPredictor(model, "scrambled", rng, sight),
        "same window in order": ModelPredictor(model, "window", sight=sight),
    }
    names = {"section": "copycat", "task": plan.task}
    for predictors, count in ((whole, plan.episodes), (windows, few)):
        shown: dict[str, Any] = {"annotator": False, "opened": bench.opened[:count]}
        for name, found in predict_each(predictors, bench.episodes[:count], **shown).items():
            yield from accuracy_rows(found, policy=name, **names)
    temperature = plan.temperatures[0]
    blind = bench.work(bench.policy(temperature, looping=True, one_frame=True), "one frame")
    yield from loop_rows(blind, policy="one frame", temperature=temperature, **names)


#: Parts of an evaluation, by name.
SECTIONS: dict[str, Part] = {
    "teacher_forced": teacher_forced_rows,
    "closed_loop": closed_loop_rows,
    "forced_mistakes": forced_mistake_rows,
    "copycat": copycat_rows,
}


def evaluate_task(model: ClickTransformer, plan: Plan, say: Say) -> Found:
    """Scores of the plan's sections; ``say`` gets a line before each."""
    say(f"{plan.task}: the annotator's episodes")
    seeds = plan.world_seeds
    bench = Bench(
        model.eval(),
        plan,
        [open_world(plan.task, seed, **plan.shown) for seed in seeds],
        [generate(plan.task, seed, max_steps=plan.max_steps, **plan.shown) for seed in seeds],
        Sight(model.encoder.see, model.device),
    )
    rows: list[Row] = []
    for name in plan.sections:
        say(f"{plan.task}: {name.replace('_', ' ')}")
        rows += SECTIONS[name](bench)
    counts = pd.concat(bench.counts, ignore_index=True) if bench.counts else None
    return Found(tuple(rows), counts)
