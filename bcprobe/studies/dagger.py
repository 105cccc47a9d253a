"""DAgger: does learning what to do where the network itself ends up improve its worst tasks?

On the tasks with the lowest closed-loop score, the network and the annotator take turns by chance
(beta is the annotator's share), the annotator says at every visited state what it would do, and
the network learns its exact distribution there, beside new episodes. Against it: as many frames
of plain cloning, which learns the same distribution at the annotator's own states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcprobe.annotators.policy import Annotator
from bcprobe.bootstrap import score_of
from bcprobe.episodes.clickers import annotator_before
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import work as worked
from bcprobe.episodes.simulator import Clicker, Simulator
from bcprobe.episodes.store import EPISODES_FILE, read_episodes, write_episodes
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.registry import NINE_TASK_SERIES, find_checkpoint, trained_tasks
from bcprobe.results import read_table
from bcprobe.rng import generator, split_seed
from bcprobe.studies.costs import RATES, Rate
from bcprobe.studies.measure import (
    click_rows,
    config_of,
    draws_of,
    load,
    loop_rows,
    loop_scores,
    shape_of,
    trained,
    unseen,
)
from bcprobe.studies.run import ROWS
from bcprobe.studies.study import Runs, Study, StudyRun
from bcprobe.training.config import Experiment
from bcprobe.training.shards import WORLDS_PER_SEED, DataConfig
from bcprobe.types import Click

#: Frames of an episode, about; the data seed whose worlds the rollouts take.
EPISODE, ROLLOUTS = 150, 100
#: The run that says which tasks are the worst.
CHOICE = "choice"
COLUMNS = ("metric", "task", "method", "kind", "estimate", "lower", "upper", "n")


@dataclass(frozen=True)
class Settings:
    """``worst`` tasks of the checkpoint, by ``worlds`` in closed loop. ``rounds`` of ``rolled``
    episodes each, with ``frames`` of fine-tuning after each; of its episodes a ``share`` (0-1)
    comes from the rollouts."""

    checkpoint: str = NINE_TASK_SERIES
    worst: int = 2
    betas: tuple[float, ...] = (0.0, 0.1)
    seeds: tuple[int, ...] = (0, 1)
    rolled: int = 50
    rounds: int = 1
    frames: int = 1 << 14
    share: float = 0.5
    worlds: int = 20
    max_steps: int = 300
    difficulty: str = "default"
    rows: int = 4
    row_length: int = 32
    rate: str = "cpu"


SETTINGS = {
    "tiny": Settings(
        seeds=(0,), worst=1, betas=(0.1,), rolled=2, rounds=2, frames=32, worlds=2, max_steps=10,
        difficulty="easy", rows=1, row_length=16,
    ),
    "cpu": Settings(),
    "gpu": Settings(frames=1 << 16, worlds=60, rows=16, rate="gpu"),
}  # fmt: skip


def runs(settings: Settings) -> Runs:
    """The choice of tasks, on other worlds; then for each task, every method once for each seed."""
    config, rate = shape_of(settings.checkpoint), RATES[settings.rate]
    named = asdict(settings)
    general = ("checkpoint", "worlds", "max_steps", "difficulty")
    plain = {key: named[key] for key in general}
    tasks = len(trained_tasks(find_checkpoint(settings.checkpoint)))
    loops = rate.inference(config, settings.worlds * settings.max_steps)
    choice = StudyRun(CHOICE, {"method": CHOICE, **plain}, 0, rate.start + 2 * tasks * loops)
    own = {key: named[key] for key in named if key not in ("worst", "betas", "seeds", "rate")}
    own["model"] = config.as_dict()
    seconds = _seconds(settings, config, rate) + 2 * loops
    methods = ["cloning", *(f"beta-{beta:g}" for beta in settings.betas)]
    runs = [
        StudyRun(
            f"{method}-worst-{rank + 1}-seed-{seed}",
            {"method": method, "rank": rank, "seed": seed, **own},
            settings.rounds * settings.frames,
            seconds,
            (CHOICE,),
        )
        for rank in range(settings.worst)
        for method in methods
        for seed in settings.seeds
    ]
    return choice, *runs


def _seconds(settings: Settings, config: ClickTransformerConfig, rate: Rate) -> float:
    rollouts = rate.inference(config, settings.rolled * EPISODE)
    return settings.rounds * (rate.training(config, settings.frames) + rollouts)


class Turns:
    """A model and the annotators of the worlds' seeds, who take turns by chance.

    ``beta`` (0-1) is the chance that a click is the annotator's; it watches the others.
    """

    def __init__(self, clicker: Clicker, seeds: Sequence[int], beta: float) -> None:
        self.clicker, self.seeds, self.beta = clicker, seeds, beta
        self.rng = generator("turns", seeds[0], str(beta))

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Both sit down before the worlds."""
        self.simulators = simulators
        self.clicker.start(simulators)
        pairs = zip(simulators, self.seeds, strict=True)
        self.annotators: list[Annotator] = [annotator_before(one, seed) for one, seed in pairs]

    def act(self, live: Sequence[int]) -> list[Click]:
        """The click of whoever's turn it is, world by world."""
        return [
            self._turn(index, click)
            for index, click in zip(live, self.clicker.act(live), strict=True)
        ]

    def _turn(self, index: int, click: Click) -> Click:
        annotator, state = self.annotators[index], self.simulators[index].state
        if self.rng.random() < self.beta:
            return annotator.act(state)
        annotator.watch(state, click)
        return click


def roll(name: str | Path, task: str, parameters: Mapping[str, Any], number: int) -> list[Episode]:
    """Episodes of the model and the annotator in turns, in train worlds of their own."""
    count = parameters["rolled"]
    first = ROLLOUTS * WORLDS_PER_SEED + (parameters["seed"] * 1000 + number) * count
    seeds = [split_seed("train", first + place) for place in range(count)]
    model = ModelPolicy(load(name), 1.0, seed=number)
    clicker = Turns(model, seeds, float(parameters["method"].removeprefix("beta-")))
    shown = {"difficulty": parameters["difficulty"], "max_steps": parameters["max_steps"]}
    return worked(clicker, task, seeds, origin="model and annotator", **shown)


def experiment(
    parameters: Mapping[str, Any], task: str, start: str | Path, visited: Path | None, number: int
) -> Experiment:
    """A round's fine-tuning, with what was visited so far beside new episodes."""
    data = DataConfig(
        (task,),
        difficulty=parameters["difficulty"],
        seed=1 + parameters["seed"] + 100 * number,
        episodes=16,
        visited="" if visited is None else str(visited),
        share=parameters["share"],
        soft=True,
    )
    return Experiment(
        name=f"dagger-{parameters['method']}",
        data=data,
        model=config_of(parameters),
        model_seed=parameters["seed"],
        frames=parameters["frames"],
        rows=parameters["rows"],
        row_length=parameters["row_length"],
        optimizer="muon",
        lr=3e-4,
        muon_lr=0.004,
        warmup=parameters["frames"] // 16,
        first_save=parameters["frames"],
        validate_every=parameters["frames"],
        validation_episodes=1,
        start_from=str(start),
    )


def work(parameters: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Rows of `loop_rows` and, with ``kind``, of `click_rows`; ``method`` says how it learned.

    Those of method `CHOICE` choose the tasks, on validation worlds.
    """
    if parameters["method"] == CHOICE:
        model = load(parameters["checkpoint"])
        tasks = trained_tasks(find_checkpoint(parameters["checkpoint"]))
        chosen = [_loops(model, task, "validation", parameters) for task in tasks]
        tested = [_tested(model, task, parameters) for task in tasks]
        parts = [pd.concat(chosen).assign(method=CHOICE), pd.concat(tested).assign(method="none")]
        return pd.concat(parts, ignore_index=True).assign(seed=0)
    task = worst_tasks(folder.parent / CHOICE)[parameters["rank"]]
    name: str | Path = parameters["checkpoint"]
    for number in range(parameters["rounds"]):
        visited = None
        if parameters["method"] != "cloning":
            visited = _visit(name, task, parameters, folder, number)
        plan = experiment(parameters, task, name, visited, number)
        name = trained(plan, folder / f"run-{number}")
    found = _tested(load(name), task, parameters)
    return found.assign(method=parameters["method"], seed=parameters["seed"])


def _visit(
    name: str | Path, task: str, parameters: Mapping[str, Any], folder: Path, number: int
) -> Path:
    """Folder of all episodes rolled out up to this round."""
    visited = folder / f"visited-{number}"
    if not (visited / EPISODES_FILE).exists():
        before = folder / f"visited-{number - 1}"
        made = [] if number == 0 else read_episodes(before)
        write_episodes([*made, *roll(name, task, parameters, number)], visited)
    return visited


def _tested(model: Any, task: str, parameters: Mapping[str, Any]) -> pd.DataFrame:
    worlds, difficulty = unseen(parameters["worlds"]), parameters["difficulty"]
    loops = _loops(model, task, "test", parameters)
    clicks = click_rows(model, task, worlds, difficulty=difficulty)
    return pd.concat([loops, clicks], ignore_index=True)


def _loops(model: Any, task: str, split: str, parameters: Mapping[str, Any]) -> pd.DataFrame:
    worlds = [split_seed(split, number) for number in range(parameters["worlds"])]
    shown = {key: parameters[key] for key in ("max_steps", "difficulty")}
    return loop_rows(model, task, worlds, **shown)


def worst_tasks(folder: Path) -> list[str]:
    """Tasks of the choice by closed-loop score, the lowest first; of equals, by success."""
    rows = read_table(folder / ROWS, ("task", "score", "method"))
    loops = rows[rows["method"] == CHOICE]
    means = loops.groupby("task", sort=False)[["score", "success"]].mean()
    return [str(task) for task in means.sort_values(["score", "success"], kind="stable").index]


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each number; ``metric`` says which.

    By ``task`` and ``method`` (``none``: the checkpoint, on all its tasks; ``cloning``;
    ``beta-B``):
    ``success``, ``done``, ``score`` and ``steps`` in closed loop, and teacher-forced
    ``accuracy`` and ``nll`` by ``kind`` of click.
    """
    made: list[dict[str, Any]] = []
    rows = rows[rows["method"] != CHOICE]
    for (task, method), own in rows.groupby(["task", "method"], sort=False):
        names = {"task": task, "method": method}
        loops = own[own["kind"].isna()]
        made += loop_scores(loops, draws_of(loops), **names)
        made += _accuracies(own[own["kind"].notna()], names)
    return pd.DataFrame(made, columns=list(COLUMNS))


def _accuracies(rows: pd.DataFrame, names: dict[str, Any]) -> Iterator[dict[str, Any]]:
    draws = draws_of(rows)
    for kind, own in [("all", rows), *rows.groupby("kind", sort=False)]:
        for metric, column in (("accuracy", "hits"), ("nll", "nll")):
            values: np.ndarray[Any, Any] = draws.ratio(own, column, "n")
            units = own["world"].nunique() if metric == "accuracy" else None
            score = score_of(values, int(own["n"].sum()), units)
            yield score.row(metric=metric, kind=kind, **names)


STUDY = Study("dagger", SETTINGS, runs, work, summarise)
