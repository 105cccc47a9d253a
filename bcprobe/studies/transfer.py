"""Transfer to a task held out of training: how many of its episodes does a network need?

The multi-task checkpoint is fine-tuned, and a network of its shape trained from nothing, on so
many different episodes, gone through again and again; both are taught the annotator's whole
distribution at each frame, as the checkpoint was. Beside them the checkpoint zero-shot, and
with episodes of the new task before its eyes. The mistake direction of the checkpoint's own tasks
is read and added on the new task, before and after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.registry import NINE_TASK_SERIES, find_checkpoint, trained_tasks
from bcprobe.studies.costs import RATES
from bcprobe.studies.directions import auc_rows, examples, fit, read_saved, save, steering_rows
from bcprobe.studies.in_context import Prompted
from bcprobe.studies.measure import (
    config_of,
    draws_of,
    load,
    loop_rows,
    loop_scores,
    shape_of,
    trained,
    unseen,
)
from bcprobe.studies.study import Runs, Study, StudyRun
from bcprobe.tasks import HELD_OUT_TASKS
from bcprobe.training.config import Experiment
from bcprobe.training.shards import DataConfig

#: Frames of an episode of shape matching, about; of the tasks that directions are fitted on.
EPISODE, OTHERS = 10, 100
#: Seconds that drawing the shapes adds to a frame, each of few in its world.
DRAW = 1.5e-3
DIRECTIONS = "directions.npz"
COLUMNS = (
    "metric", "start", "episodes", "when", "site", "direction", "alpha", "side",
    "estimate", "lower", "upper", "n",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """``episodes`` to learn from, ``scratch`` those that only a network from nothing gets.

    ``frames`` is the length of every run (longer where the episodes would not be seen once);
    ``worlds`` are worked in closed loop. Directions are fitted on ``fitted`` episodes of each task,
    tested on ``probed`` of the new one and added at ``pairs`` twins; ``tuned`` names the run of so
    many episodes whose directions are evaluated afterwards.
    """

    episodes: tuple[int, ...] = (50, 100, 250, 500, 1000, 2000)
    scratch: tuple[int, ...] = (8000,)
    seeds: tuple[int, ...] = (0, 1, 2)
    checkpoint: str = NINE_TASK_SERIES
    task: str = HELD_OUT_TASKS[0]
    frames: int = 10_240
    worlds: int = 40
    max_steps: int = 40
    fitted: int = 12
    probed: int = 60
    pairs: int = 40
    tuned: int = 500
    difficulty: str = "default"
    group: int = 100
    rows: int = 4
    row_length: int = 32
    rate: str = "cpu"


SETTINGS = {
    "tiny": Settings(
        (2, 4), (6,), (0,), frames=64, worlds=2, max_steps=12, fitted=2, probed=6, pairs=4, tuned=4,
        difficulty="easy", group=12, rows=1, row_length=16,
    ),
    "cpu": Settings(),
    "gpu": Settings(frames=1 << 15, worlds=100, fitted=40, probed=200, pairs=100, rate="gpu"),
}  # fmt: skip


def runs(settings: Settings) -> Runs:
    """The checkpoint zero-shot and prompted; every training run; directions before and after."""
    config = shape_of(settings.checkpoint)
    named = asdict(settings)
    plain = {key: named[key] for key in ("checkpoint", "task", "worlds", "max_steps", "difficulty")}
    rate = RATES[settings.rate]
    loops = rate.inference(config, settings.worlds * settings.max_steps)
    untrained = tuple(
        StudyRun(name.replace("_", "-"), {"what": name, **plain}, seconds=rate.start + loops)
        for name in ("zero_shot", "in_context")
    )
    return *untrained, *_runs(settings, config, plain, loops), *_insides(settings, config, plain)


def _runs(
    settings: Settings, config: ClickTransformerConfig, plain: dict[str, Any], loops: float
) -> Iterator[StudyRun]:
    counts = {
        "fine_tuned": settings.episodes,
        "scratch": (*settings.episodes, *settings.scratch),
    }
    known = {key: asdict(settings)[key] for key in ("group", "rows", "row_length")}
    known["model"] = config.as_dict()
    for start, numbers in counts.items():
        for count in numbers:
            frames = max(settings.frames, EPISODE * count)
            seconds = RATES[settings.rate].training(config, frames) + DRAW * frames + loops
            for seed in settings.seeds:
                own = {"what": start, "episodes": count, "seed": seed, "frames": frames}
                name = f"{start.replace('_', '-')}-{count}-seed-{seed}"
                yield StudyRun(name, {**plain, **known, **own}, frames, seconds)


def _insides(
    settings: Settings, config: ClickTransformerConfig, plain: dict[str, Any]
) -> Iterator[StudyRun]:
    known = {key: asdict(settings)[key] for key in ("fitted", "probed", "pairs")}
    rate = RATES[settings.rate]
    tuned = f"fine-tuned-{settings.tuned}-seed-{settings.seeds[0]}"
    frames = settings.fitted * OTHERS * 9 + (settings.probed + 3 * settings.pairs) * EPISODE
    seconds = rate.start + rate.inference(config, frames)
    yield StudyRun("inside-before", {"what": "before", **plain, **known}, 0, seconds)
    after = {"what": "after", "tuned": tuned, **plain, **known}
    yield StudyRun("inside-after", after, 0, seconds, (tuned, "inside-before"))


def experiment(parameters: Mapping[str, Any]) -> Experiment:
    """The training of a run: on a fixed number of episodes, from weights or from nothing."""
    tuned = parameters["what"] == "fine_tuned"
    data = DataConfig(
        (parameters["task"],),
        difficulty=parameters["difficulty"],
        seed=1 + parameters["seed"],
        episodes=parameters["group"],
        worlds=parameters["episodes"],
        soft=True,
    )
    return Experiment(
        name=f"transfer-{parameters['what']}",
        data=data,
        model=config_of(parameters),
        model_seed=parameters["seed"],
        frames=parameters["frames"],
        rows=parameters["rows"],
        row_length=parameters["row_length"],
        optimizer="muon",
        lr=5e-4 if tuned else 1.5e-3,
        muon_lr=0.005 if tuned else 0.02,
        warmup=parameters["frames"] // 16,
        first_save=parameters["frames"],
        validate_every=parameters["frames"],
        validation_episodes=1,
        start_from=parameters["checkpoint"] if tuned else "",
    )


def work(parameters: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Rows of `loop_rows` (``what`` is how it began), or of what lies inside (`directions`)."""
    what = parameters["what"]
    if what in ("before", "after"):
        return pd.DataFrame(_inside(parameters, folder))
    name: str | Path = parameters["checkpoint"]
    if what in ("fine_tuned", "scratch"):
        name = trained(experiment(parameters), folder / "run")
    model: Any = load(name)
    if what == "in_context":
        shown = {"difficulty": parameters["difficulty"]}
        model = Prompted(model, parameters["task"], parameters["worlds"], **shown)
    found = loop_rows(
        model,
        parameters["task"],
        unseen(parameters["worlds"]),
        difficulty=parameters["difficulty"],
        max_steps=parameters["max_steps"],
    )
    known = {"episodes": parameters.get("episodes", 0), "seed": parameters.get("seed", 0)}
    return found.assign(start=what, **known)


def _inside(parameters: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """What the directions read and do; those of the checkpoint as it was, and fitted anew after."""
    shown = {"difficulty": parameters["difficulty"]}
    task, when = parameters["task"], parameters["what"]
    name: str | Path = parameters["checkpoint"]
    tasks = trained_tasks(find_checkpoint(name))
    if when == "after":
        name = folder.parent / parameters["tuned"] / "run"
    model = load(name)
    own = [examples(model, one, unseen(parameters["fitted"]), **shown) for one in tasks]
    fitted = {when: fit(own)}
    if when == "before":
        save(fitted[when], folder / DIRECTIONS)
    else:
        fitted["kept"] = read_saved(folder.parent / "inside-before" / DIRECTIONS)
    tested = examples(model, task, unseen(parameters["probed"]), **shown)
    for which, directions in fitted.items():
        yield from auc_rows(directions, tested, when=which)
        yield from steering_rows(model, directions, task, parameters["pairs"], when=which)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each number; ``metric`` says which.

    In closed loop on the new task: ``success``, ``done``, ``score`` (pairs right) and ``steps``, by
    ``start`` (``fine_tuned``, ``scratch``, ``zero_shot``, ``in_context``) and ``episodes`` learned
    from. Of the mistake direction, by ``when`` (``before``; ``after``, fitted anew; ``kept``, the
    one before in the network after): ``auc`` and, by ``direction``, ``alpha`` and ``side``,
    ``p_undo`` and ``p_undo_change``, what adding the direction changes against subtracting it.
    """
    loops = rows[rows["start"].notna()]
    made: list[dict[str, Any]] = []
    for (start, episodes), own in loops.groupby(["start", "episodes"], sort=False):
        made += loop_scores(own, draws_of(own), start=start, episodes=int(episodes))
    inside = rows[rows["start"].isna()]
    made += [*inside.to_dict("records"), *_changes(inside)]
    return pd.DataFrame(made, columns=list(COLUMNS))


def _changes(inside: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """P(Undo) with a direction added less that with it subtracted; without an interval."""
    moved = inside[inside["metric"] == "p_undo"]
    if moved.empty:
        return
    by = ["when", "site", "direction", "side"]
    grid = moved.pivot_table(index=by, columns="alpha", values="estimate", sort=False)
    for names, change in (grid[1.0] - grid[-1.0]).items():
        named = dict(zip(by, names, strict=True))
        n = int(moved["n"].iloc[0])
        yield {"metric": "p_undo_change", **named, "estimate": change, "n": n}


STUDY = Study("transfer", SETTINGS, runs, work, summarise)
