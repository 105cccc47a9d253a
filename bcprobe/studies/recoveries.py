"""Recoveries: does a model that has seen states no annotator brings about do better in them?

From the same checkpoint and over equally many frames, one half of the runs learns from the
annotators' episodes alone, the other half from a mixture: half of its episodes are recoveries
(`bcprobe.training.recoveries`), disturbed ones and the checkpoints' own at temperature 1. Both
learn the annotator's exact distribution at every frame, so that this is also a fair DAgger.

Measured are closed-loop work at two temperatures, teacher-forced clicks, and a mistake probe. The
probe is fitted on annotators' episodes and read there out of fold, and on one set of episodes that
the checkpoint worked itself, the same for every model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.dataset import Activations
from bcprobe.activations.extract import collect
from bcprobe.activations.labels import Question, ask
from bcprobe.bootstrap import ratio, score_of
from bcprobe.episodes.embedding_cache import EmbeddingCache
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import generate, open_world
from bcprobe.episodes.record import work as worked
from bcprobe.episodes.store import EPISODES_FILE, read_episodes, write_episodes
from bcprobe.errors import InputError
from bcprobe.evaluation.metrics import step_table
from bcprobe.model.registry import NINE_TASK_SERIES, find_checkpoint, trained_tasks
from bcprobe.model.transformer import ClickTransformer
from bcprobe.probes.linear import check_folds, cross_predict, fit_probes
from bcprobe.probes.metrics import auc
from bcprobe.rng import split_seed
from bcprobe.studies.costs import RATES
from bcprobe.studies.measure import (
    Draws,
    click_rows,
    config_of,
    load,
    shape_of,
    trained,
    unseen,
)
from bcprobe.studies.study import Runs, Study, StudyRun
from bcprobe.training.config import Experiment
from bcprobe.training.shards import WORLDS_PER_SEED, DataConfig
from bcprobe.types import ALL

#: The run whose episodes the others learn from and are probed on; the one that measures the
#: checkpoint itself; the ways to learn.
ROLLOUTS, START, PLAIN, RECOVERIES = "rollouts", "start", "plain", "recoveries"
#: The difference of the two ways, paired by world and seed.
DIFFERENCE = "recoveries_minus_plain"
#: Data seed whose worlds the rollouts take; number of the first test world for probes.
ROLLED, PROBED = 101, 1 << 20
#: Share of a mixed run's episodes that were rolled out, and of its new ones that are disturbed.
VISITED, DISTURBED = 0.25, 1 / 3
#: Weights of rare clicks in the loss, as ``nine-nano-longer`` has them.
WEIGHTS = (
    ("undo", 8.0), ("done", 2.0), ("classify", 3.0), ("commit", 2.0), ("place", 2.0),
    ("select", 10.0),
)  # fmt: skip
EPISODE = 100
#: Closed-loop shares: sums above and below, over clicks; means of episodes stand over ``n``.
SHARES = {
    "success": ("success", "n"),
    "done": ("done", "n"),
    "score": ("score", "n"),
    "steps": ("steps", "n"),
    "mistake_rate": ("mistakes", "clean_placements"),
    "mistakes_per_episode": ("mistakes", "n"),
    "correction_rate": ("corrected", "mistakes"),
    "needless_undo_rate": ("needless_undos", "undos"),
    "needless_undos_per_episode": ("needless_undos", "n"),
}
#: Of these, the shares: exact at none and at all.
COUNTED = (
    "success", "done", "mistake_rate", "correction_rate", "needless_undo_rate", "accuracy",
)  # fmt: skip
COLUMNS = (
    "metric", "task", "method", "temperature", "kind", "site", "estimate", "lower", "upper", "n",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """``rolled`` episodes of each task by each of ``checkpoints`` at temperature 1 for the mixed
    runs; then ``frames`` of each way to learn for each seed, and the measures: ``worlds`` of each
    task in closed loop, ``probed`` annotators' episodes and as many of the checkpoint's own."""

    checkpoint: str = NINE_TASK_SERIES
    checkpoints: tuple[str, ...] = (NINE_TASK_SERIES,)
    seeds: tuple[int, ...] = (0, 1)
    frames: int = 1 << 16
    rolled: int = 10
    worlds: int = 16
    probed: int = 16
    temperatures: tuple[float, ...] = (0.0, 0.5)
    max_steps: int = 300
    difficulty: str = "default"
    rows: int = 4
    row_length: int = 32
    episodes: int = 36
    rate: str = "cpu"


SETTINGS = {
    "tiny": Settings(
        seeds=(0,), frames=32, rolled=1, worlds=1, probed=4, max_steps=40, difficulty="easy",
        rows=1, row_length=16, episodes=4,
    ),
    "cpu": Settings(
        checkpoint="nine-nano-longer", checkpoints=("nine-nano", "nine-nano-longer"),
    ),
    "gpu": Settings(
        checkpoint="nine-small", checkpoints=("nine-small@1048576", "nine-small"),
        frames=1 << 20, rolled=100, worlds=60, probed=60, rows=16, row_length=64,
        episodes=108, rate="gpu",
    ),
}  # fmt: skip


def runs(settings: Settings) -> Runs:
    """The rollouts, the measures of the checkpoint, then both ways to learn for each seed."""
    config, rate = shape_of(settings.checkpoint), RATES[settings.rate]
    tasks = len(trained_tasks(find_checkpoint(settings.checkpoint)))
    named = {**asdict(settings), "model": config.as_dict()}
    shared = {key: named[key] for key in named if key not in ("seeds", "rate")}
    count = tasks * EPISODE * (len(settings.checkpoints) * settings.rolled + settings.probed)
    measured = _measured(settings, tasks * EPISODE)
    first = StudyRun(
        ROLLOUTS,
        {"method": ROLLOUTS, "seed": 0, **shared},
        0,
        rate.inference(config, count),
    )
    start = StudyRun(
        START,
        {"method": START, "seed": 0, **shared},
        0,
        rate.start + rate.inference(config, measured),
        (ROLLOUTS,),
    )
    learned = [
        StudyRun(
            f"{method}-seed-{seed}",
            {"method": method, "seed": seed, **shared},
            settings.frames,
            rate.training(config, settings.frames) + rate.inference(config, measured),
            (ROLLOUTS,),
        )
        for seed in settings.seeds
        for method in (PLAIN, RECOVERIES)
    ]
    return first, start, *learned


def _measured(settings: Settings, frames: int) -> int:
    """Frames looked at to measure a model, where an episode of each task has ``frames``."""
    return frames * ((len(settings.temperatures) + 1) * settings.worlds + 2 * settings.probed)


def experiment(parameters: Mapping[str, Any], visited: Path) -> Experiment:
    """A run from the checkpoint, with or without recoveries."""
    mixed = parameters["method"] == RECOVERIES
    data = DataConfig(
        tuple(trained_tasks(find_checkpoint(parameters["checkpoint"]))),
        difficulty=parameters["difficulty"],
        seed=10 + parameters["seed"],
        episodes=parameters["episodes"],
        personas=2,
        soft=True,
        visited=str(visited) if mixed else "",
        share=VISITED,
        disturbed=DISTURBED if mixed else 0.0,
    )
    return Experiment(
        name=f"recoveries-{parameters['method']}",
        data=data,
        model=config_of(parameters),
        model_seed=parameters["seed"],
        frames=parameters["frames"],
        rows=parameters["rows"],
        row_length=parameters["row_length"],
        optimizer="muon",
        lr=5e-4,
        muon_lr=0.005,
        final_lr=0.02,
        warmup=parameters["frames"] // 16,
        action_weights=WEIGHTS,
        first_save=parameters["frames"],
        validate_every=parameters["frames"],
        validation_episodes=1,
        start_from=str(parameters["checkpoint"]),
    )


def work(parameters: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Rows of a run: `loop_counts`, `click_rows` and `probe_rows`, told apart by ``section``."""
    names = {"method": parameters["method"], "seed": parameters["seed"]}
    if parameters["method"] == ROLLOUTS:
        return roll(parameters, folder).assign(**names)
    visited = folder.parent / ROLLOUTS / "visited"
    name: str | Path = parameters["checkpoint"]
    if parameters["method"] != START:
        name = trained(experiment(parameters, visited), folder / "run")
    model = load(name).eval()
    tasks = trained_tasks(find_checkpoint(parameters["checkpoint"]))
    parts = [part for task in tasks for part in _measures(model, task, parameters)]
    own = read_episodes(folder.parent / ROLLOUTS / "probed")
    parts.append(probe_rows(model, tasks, own, parameters).assign(section="probe"))
    return pd.concat(parts, ignore_index=True).assign(**names)


def roll(parameters: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Store what the checkpoints do at temperature 1; rows of `loop_counts` of each.

    ``visited`` holds episodes in train worlds, of every checkpoint, shuffled; ``probed`` those of
    the checkpoint that is trained on, in test worlds.
    """
    tasks = trained_tasks(find_checkpoint(parameters["checkpoint"]))
    shown = {key: parameters[key] for key in ("difficulty", "max_steps")}
    count, first = parameters["rolled"], ROLLED * WORLDS_PER_SEED
    visited: list[Episode] = []
    for number, name in enumerate(parameters["checkpoints"]):
        seeds = [split_seed("train", first + number * count + place) for place in range(count)]
        visited += _at_one(load(name), tasks, seeds, **shown)
    own = _at_one(
        load(parameters["checkpoint"]), tasks, unseen(parameters["probed"], PROBED), **shown
    )
    order = np.random.default_rng(0).permutation(len(visited))
    for kind, made in (("visited", [visited[i] for i in order]), ("probed", own)):
        if not (folder / kind / EPISODES_FILE).exists():
            write_episodes(made, folder / kind)
    by_kind = [loop_counts(made).assign(kind=kind) for kind, made in _named(visited, own)]
    return pd.concat(by_kind, ignore_index=True).assign(section="loop", temperature=1.0)


def _named(visited: list[Episode], own: list[Episode]) -> Iterator[tuple[str, list[Episode]]]:
    yield "visited", visited
    yield "probed", own


def _at_one(
    model: ClickTransformer, tasks: Sequence[str], seeds: Sequence[int], **shown: Any
) -> list[Episode]:
    """Episodes of a model at temperature 1 on the same seeds of every task."""
    clickers = {task: ModelPolicy(model, 1.0, seed=number) for number, task in enumerate(tasks)}
    return [
        episode
        for task, clicker in clickers.items()
        for episode in worked(clicker, task, seeds, origin="model", **shown)
    ]


def _measures(
    model: ClickTransformer, task: str, parameters: Mapping[str, Any]
) -> Iterator[pd.DataFrame]:
    """Closed-loop and teacher-forced rows of a task, with their ``section``."""
    worlds, difficulty = unseen(parameters["worlds"]), parameters["difficulty"]
    opened = [open_world(task, seed, difficulty=difficulty) for seed in worlds]
    embeddings = EmbeddingCache(model.encoder.see, model.device)
    for temperature in parameters["temperatures"]:
        policy = ModelPolicy(model, temperature, embeddings=embeddings, reach=model.config.reach)
        shown: dict[str, Any] = {"difficulty": difficulty, "max_steps": parameters["max_steps"]}
        made = worked(policy, task, worlds, origin="model", opened=opened, **shown)
        yield loop_counts(made).assign(section="loop", temperature=temperature)
    yield click_rows(model, task, worlds, difficulty=difficulty).assign(section="clicks")


def loop_counts(episodes: Sequence[Episode]) -> pd.DataFrame:
    """What each episode adds to the `SHARES`, a row an episode; ``world`` is its number.

    ``mistakes`` are clicks that brought one into a clean state, ``corrected`` those mended before
    the end; ``needless_undos`` were pressed while no mistake stood.
    """
    steps = step_table(episodes)
    undo, clean = steps["action"] == "undo", ~steps["mistake"]
    counted = steps.assign(
        mistakes=steps["made"] & steps["placement"] & clean,
        clean_placements=steps["placement"] & clean,
        corrected=steps["made"] & steps["placement"] & clean & steps["cleared"],
        undos=undo,
        needless_undos=undo & clean,
    )
    columns = [name for name in counted if name not in steps]
    sums = counted.groupby("episode")[columns].sum().reindex(range(len(episodes)), fill_value=0)
    outcomes = {
        "task": [episode.task for episode in episodes],
        "success": [float(episode.outcome.success) for episode in episodes],
        "done": [float(episode.outcome.done) for episode in episodes],
        "score": [episode.outcome.score for episode in episodes],
        "steps": [float(len(episode)) for episode in episodes],
    }
    return sums.astype(float).assign(**outcomes).rename_axis("world").reset_index()


def probe_rows(
    model: ClickTransformer,
    tasks: Sequence[str],
    own: Sequence[Episode],
    parameters: Mapping[str, Any],
) -> pd.DataFrame:
    """Decision values of one mistake probe of all tasks at [cls], a row a step and site.

    ``kind`` is ``annotator`` (annotators' episodes, read by probes that were not fitted on them;
    ``fold`` says which) or ``own`` (episodes ``own`` of the checkpoint, read by the probe of all
    annotators' episodes). Steps just after a placement: ``truth`` says that it was mistaken.
    Episodes with too few mistaken ones give no rows.
    """
    seeds = unseen(parameters["probed"], PROBED)
    difficulty = parameters["difficulty"]
    episodes = [generate(task, seed, difficulty=difficulty) for task in tasks for seed in seeds]
    fitted, tested = collect(model, episodes), collect(model, own)
    asked, other = _asked(fitted), _asked(tested)
    if asked is None:
        return pd.DataFrame(columns=["world", "task", "truth", "value", "fold", "kind", "site"])
    parts = []
    for site in fitted.values:
        features = asked.features(fitted.values[site])
        found = cross_predict("binary", features, asked.truth, asked.groups)
        rows = _decisions(asked, found.scores, found.folds)
        parts.append(rows.assign(kind="annotator", site=site))
        if other is not None:
            (predictor,) = fit_probes(
                "binary", features, asked.truth, [np.arange(len(asked.truth))]
            )
            values = predictor(other.features(tested.values[site]))
            rows = _decisions(other, values, np.zeros(len(values), dtype=np.int64))
            parts.append(rows.assign(kind="own", site=site))
    return pd.concat(parts, ignore_index=True)


def _asked(found: Activations) -> Question | None:
    """Steps just after a placement, right or mistaken; None where one of the two is too rare."""
    try:
        question = ask(found.labels, "mistake", "matched")
        check_folds(question)
    except InputError:
        return None
    return question


def _decisions(
    question: Question, values: NDArray[np.floating[Any]], folds: NDArray[np.int64]
) -> pd.DataFrame:
    columns = {
        "world": question.groups,
        "task": question.labels["task"],
        "truth": question.truth.astype(bool),
        "value": values,
        "fold": folds,
    }
    return pd.DataFrame(columns)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each number; ``metric`` says which, ``method`` of whom.

    Methods are ``start`` (the checkpoint), ``plain``, ``recoveries`` and
    ``recoveries_minus_plain`` (paired by world and seed). By ``task`` (and `ALL`) and
    ``temperature``: the `SHARES`; by ``kind`` of click: teacher-forced ``accuracy`` and ``nll``;
    by ``kind`` of episodes and ``site``: ``auc`` of the mistake probe, all tasks together.
    Intervals are a bootstrap over worlds and training seeds; probes are not fitted anew.
    """
    rows = rows[rows["method"] != ROLLOUTS]
    made = [*_loop(rows), *_clicks(rows), *_probes(rows)]
    return pd.DataFrame(made, columns=list(COLUMNS))


def _methods(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for method in (START, PLAIN, RECOVERIES):
        yield method, rows[rows["method"] == method]


def _compared(
    rows: pd.DataFrame, columns: Sequence[tuple[str, str, str]], **names: Any
) -> Iterator[dict[str, Any]]:
    """Ratios (metric, above, below) of each method and of the difference, on the same draws.

    A world of one task is drawn apart from that of another. Shares of none or of all count worlds.
    """
    rows = rows.assign(world=rows["task"] + " " + rows["world"].astype(int).astype(str))
    worlds = sorted(rows["world"].unique())
    for metric, above, below in columns:
        found: dict[str, NDArray[np.float64]] = {}
        for method, own in _methods(rows):
            found[method] = Draws(sorted(own["seed"].unique()), worlds).ratio(own, above, below)
            known = {"metric": metric, "method": method, **names}
            units = own.loc[own[below] > 0, "world"].nunique() if metric in COUNTED else None
            yield score_of(found[method], int(own[below].sum()), units).row(**known)
        known = {"metric": metric, "method": DIFFERENCE, **names}
        difference = found[RECOVERIES] - found[PLAIN]
        yield score_of(difference, int(rows[below].sum())).row(**known)


def _loop(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    known = rows[rows["section"] == "loop"].assign(n=1.0)
    ratios = [(metric, above, below) for metric, (above, below) in SHARES.items()]
    for temperature, warm in known.groupby("temperature"):
        for task, own in [(ALL, warm), *warm.groupby("task", sort=False)]:
            yield from _compared(own, ratios, task=task, temperature=temperature)


def _clicks(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    known = rows[rows["section"] == "clicks"]
    ratios = [("accuracy", "hits", "n"), ("nll", "nll", "n")]
    for task, own in [(ALL, known), *known.groupby("task", sort=False)]:
        for kind, clicks in [(ALL, own), *own.groupby("kind", sort=False)]:
            yield from _compared(clicks, ratios, task=task, kind=kind)


def _probes(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    known = rows[rows["section"] == "probe"]
    for (kind, site), own in known.groupby(["kind", "site"], sort=False):
        found: dict[str, NDArray[np.float64]] = {}
        for method, mine in _methods(own):
            found[method] = _aucs(mine, sorted(own["world"].unique()))
            names = {"metric": "auc", "task": ALL, "kind": kind, "site": site}
            n = int((mine["seed"] == mine["seed"].iloc[0]).sum())
            yield score_of(found[method], n).row(method=method, **names)
        difference = found[RECOVERIES] - found[PLAIN]
        yield score_of(difference, n).row(method=DIFFERENCE, **names)


def _aucs(rows: pd.DataFrame, worlds: Sequence[Any]) -> NDArray[np.float64]:
    """Mean AUC over the drawn seeds, of the drawn worlds: float64 [resample]."""
    draws = Draws(sorted(rows["seed"].unique()), worlds)
    place = {world: number for number, world in enumerate(worlds)}
    values = []
    for seed in draws.seeds:
        own = rows[rows["seed"] == seed]
        present = sorted(own["world"].unique())
        kept = draws.by_world[:, [place[world] for world in present]]
        _, episodes = np.unique(own["world"], return_inverse=True)
        truth, folds = own["truth"].to_numpy(bool), own["fold"].to_numpy(np.int64)
        values.append(auc(truth, own["value"].to_numpy(), episodes, folds)(kept))
    drawn = draws.by_seed
    return ratio((drawn * np.stack(values, axis=1)).sum(1), drawn.sum(1))


STUDY = Study("recoveries", SETTINGS, runs, work, summarise)
