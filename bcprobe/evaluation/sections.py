"""The sections of an evaluation: what is measured of a model on the test worlds of one task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from bcprobe.episodes.clickers import RandomClicker, RepeatClicker
from bcprobe.episodes.embedding_cache import EmbeddingCache
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import generate, open_world, work
from bcprobe.episodes.simulator import Clicker, Simulator
from bcprobe.evaluation.closed_loop import loop_rows
from bcprobe.evaluation.forced import AnnotatorAgain, force, forced_rows
from bcprobe.evaluation.grounding import grounding_rows
from bcprobe.evaluation.mistakes import count_table
from bcprobe.evaluation.teacher_forced import (
    ModelPredictor,
    Predictor,
    RepeatPredictor,
    accuracy_rows,
    predict,
    predict_each,
)
from bcprobe.model.precision import own_precision, products_in
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator, split_seed

#: A scrambled history costs ``context`` frames for each answer, so fewer episodes get one:
#: this share of them, but not fewer than the number.
SCRAMBLED_SHARE, SCRAMBLED_LEAST = 0.1, 5

Row = dict[str, Any]


@dataclass(frozen=True)
class TaskSettings:
    """What is evaluated: a task's test worlds in a layout, and how the model draws."""

    task: str
    episodes: int
    temperatures: tuple[float, ...]
    seed: int
    layout: str
    difficulty: str
    max_steps: int
    precision: str
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
class TaskRun:
    """A model before a task's test worlds, open, and the annotator's episodes on them.

    ``embeddings`` keeps what the model's encoder made of screens; ``counts`` gathers `count_table`.
    """

    model: ClickTransformer
    settings: TaskSettings
    opened: Sequence[Simulator]
    episodes: Sequence[Episode]
    embeddings: EmbeddingCache
    counts: list[pd.DataFrame] = field(default_factory=list)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Teacher-forced predictions on the annotator's episodes, one a row."""
        predictor = ModelPredictor(self.model, embeddings=self.embeddings)
        return predict(predictor, self.episodes, opened=self.opened)

    def policy(self, temperature: float, *, looping: bool = False, **options: Any) -> ModelPolicy:
        """The model as a clicker; ``looping`` if nobody will overrule it."""
        reach = self.model.config.reach if looping else None
        seed = self.settings.seed
        return ModelPolicy(
            self.model, temperature, seed, embeddings=self.embeddings, reach=reach, **options
        )

    def work(self, clicker: Clicker, origin: str) -> list[Episode]:
        """Episodes of a clicker that works the worlds on its own."""
        settings = self.settings
        known: dict[str, Any] = {
            "origin": origin,
            "max_steps": settings.max_steps,
            "opened": self.opened,
        }
        return work(clicker, settings.task, settings.world_seeds, **known, **settings.shown)

    def count(self, episodes: Sequence[Episode], **names: Any) -> None:
        """Note the mistakes in episodes on all of the worlds."""
        self.counts.append(count_table(episodes, task=self.settings.task, **names))


Part = Callable[[TaskRun], Iterator[Row]]


def teacher_forced_rows(run: TaskRun) -> Iterator[Row]:
    """Accuracy, likelihood and validity on the annotator's episodes."""
    names = {"section": "teacher_forced", "policy": "model", "task": run.settings.task}
    yield from accuracy_rows(run.predictions, **names)


def grounding_section(run: TaskRun) -> Iterator[Row]:
    """How far the model's clicks fall from the annotator's, by widget and size of the target."""
    names = {"section": "grounding", "policy": "model", "task": run.settings.task}
    yield from grounding_rows(run.predictions, run.model.config.patch, **names)


def closed_loop_rows(run: TaskRun) -> Iterator[Row]:
    """The model at each temperature, the annotator, a random clicker and one that repeats."""
    settings = run.settings
    names: dict[str, Any] = {"section": "closed_loop", "task": settings.task}
    for temperature in settings.temperatures:
        episodes = run.work(run.policy(temperature, looping=True), "model")
        run.count(episodes, policy="model", temperature=temperature)
        yield from loop_rows(episodes, policy="model", temperature=temperature, **names)
    run.count(run.episodes, policy="data")
    yield from loop_rows(run.episodes, policy="annotator", **names)
    rng = generator("random clicker", settings.task, settings.seed)
    for name, clicker in (("random", RandomClicker(rng)), ("repeat", RepeatClicker())):
        yield from loop_rows(run.work(clicker, name), policy=name, **names)


def forced_mistake_rows(run: TaskRun) -> Iterator[Row]:
    """The model, at each temperature, and the annotator after mistakes they did not make."""
    settings = run.settings
    forced = force(settings.task, settings.world_seeds, settings.seed, opened=run.opened)
    names: dict[str, Any] = {"section": "forced_mistakes", "task": settings.task}
    seen = run.model.config.reach - 1
    for temperature in settings.temperatures:
        own = {"policy": "model", "temperature": temperature, **names}
        yield from forced_rows(run.policy(temperature), forced, seen, **own)
    again = AnnotatorAgain(settings.task, [one.world_seed for one in forced])
    yield from forced_rows(again, forced, policy="annotator", **names)


def copycat_rows(run: TaskRun) -> Iterator[Row]:
    """What remains when the history is taken away: does the model copy its last click?

    Teacher-forced: the last click repeated, one frame of context, and on a tenth of the
    episodes the frames before the present one scrambled, beside the same frames in order.
    Closed loop: one frame of context.
    """
    settings, model, embeddings = run.settings, run.model, run.embeddings
    few = max(SCRAMBLED_LEAST, round(SCRAMBLED_SHARE * settings.episodes))
    rng = generator("scrambled history", settings.seed)
    whole: dict[str, Predictor] = {
        "repeat": RepeatPredictor(),
        "one frame": ModelPredictor(model, "one", embeddings=embeddings),
    }
    windows: dict[str, Predictor] = {
        "scrambled history": ModelPredictor(model, "scrambled", rng, embeddings),
        "same window in order": ModelPredictor(model, "window", embeddings=embeddings),
    }
    names = {"section": "copycat", "task": settings.task}
    for predictors, count in ((whole, settings.episodes), (windows, few)):
        shown: dict[str, Any] = {"annotator": False, "opened": run.opened[:count]}
        for name, found in predict_each(predictors, run.episodes[:count], **shown).items():
            yield from accuracy_rows(found, policy=name, **names)
    temperature = settings.temperatures[0]
    blind = run.work(run.policy(temperature, looping=True, one_frame=True), "one frame")
    yield from loop_rows(blind, policy="one frame", temperature=temperature, **names)


#: Parts of an evaluation, by name.
SECTIONS: dict[str, Part] = {
    "teacher_forced": teacher_forced_rows,
    "grounding": grounding_section,
    "closed_loop": closed_loop_rows,
    "forced_mistakes": forced_mistake_rows,
    "copycat": copycat_rows,
}


def evaluate_task(model: ClickTransformer, settings: TaskSettings) -> Found:
    """Scores of the sections that the settings name."""
    seeds = settings.world_seeds
    shown, limit = settings.shown, settings.max_steps
    run = TaskRun(
        model.eval(),
        settings,
        [open_world(settings.task, seed, **shown) for seed in seeds],
        [generate(settings.task, seed, max_steps=limit, **shown) for seed in seeds],
        EmbeddingCache(model.encoder.see, model.device),
    )
    precision = own_precision(settings.precision, model.metadata, model.device)
    rows: list[Row] = []
    with products_in(precision, model.device):
        for name in settings.sections:
            rows += SECTIONS[name](run)
    counts = pd.concat(run.counts, ignore_index=True) if run.counts else None
    return Found(tuple(rows), counts)
