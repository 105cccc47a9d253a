"""What runs of several studies do: train, predict, work in closed loop; means over their seeds.

Raw rows are one a world, so that the summary can draw worlds and seeds anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bcprobe.bootstrap import RESAMPLES, draw_counts, ratio, score_of, with_all
from bcprobe.episodes.model_policy import ModelPolicy, StepModel
from bcprobe.episodes.record import generate, open_world, work
from bcprobe.evaluation.teacher_forced import ModelPredictor, predict
from bcprobe.machine import pick_device
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.config import ClickTransformerConfig, config_from_dict
from bcprobe.model.registry import find_checkpoint, read_card
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed
from bcprobe.training.config import Experiment
from bcprobe.training.loop import train
from bcprobe.training.saving import EXPERIMENT_FILE

#: Columns of `loop_rows` that are 0 or 1.
SHARES = ("success", "done")
#: Most processes that make episodes for one GPU.
WORKERS = 8


def trained(experiment: Experiment, folder: Path) -> Path:
    """Folder of the trained checkpoint; a run begun there goes on where it was left off."""
    on_gpu = pick_device("auto").startswith("cuda")
    return train(
        experiment,
        folder,
        resume=(folder / EXPERIMENT_FILE).exists(),
        workers=min(WORKERS, torch.get_num_threads()) if on_gpu else 1,
        save_seconds=60.0,
        progress=False,
    )


def load(name: str | Path) -> ClickTransformer:
    """A checkpoint's model, on the GPU if there is one."""
    return load_checkpoint(name, pick_device("auto"))


def shape_of(checkpoint: str | Path) -> ClickTransformerConfig:
    """Shape of a checkpoint's model."""
    return config_from_dict(read_card(find_checkpoint(checkpoint))["model"])


def unseen(count: int, first: int = 0) -> list[int]:
    """Seeds of test worlds, the same for every run."""
    return [split_seed("test", first + number) for number in range(count)]


def click_rows(
    model: ClickTransformer,
    task: str,
    worlds: Sequence[int],
    *,
    layout: str = "original",
    difficulty: str = "default",
    annotator: bool = False,
) -> pd.DataFrame:
    """Teacher-forced sums, a row for each world and kind of click.

    Columns: ``task``, ``world`` (its number), ``kind`` (`bcprobe.evaluation.metrics.kinds`), ``n``
    clicks, ``hits``, ``nll`` and, with ``annotator``, ``annotator_nll`` (sums, nats).
    """
    shown: dict[str, Any] = {"layout": layout, "difficulty": difficulty}
    opened = [open_world(task, seed, **shown) for seed in worlds]
    episodes = [generate(task, seed, **shown) for seed in worlds]
    found = predict(ModelPredictor(model), episodes, annotator=annotator, opened=opened)
    sums = found.assign(n=1, hits=found["hit"].astype(float)).rename(columns={"episode": "world"})
    columns = ["n", "hits", "nll", "annotator_nll"]
    return sums.groupby(["task", "world", "kind"])[columns].sum(min_count=1).reset_index()


def loop_rows(
    model: StepModel,
    task: str,
    worlds: Sequence[int],
    *,
    temperature: float = 0.0,
    layout: str = "original",
    difficulty: str = "default",
    max_steps: int,
) -> pd.DataFrame:
    """A model in closed loop, a row for each world: ``success``, ``done``, ``score``, ``steps``."""
    shown: dict[str, Any] = {"layout": layout, "difficulty": difficulty, "max_steps": max_steps}
    made = work(ModelPolicy(model, temperature), task, worlds, origin="model", **shown)
    rows = [
        {
            "task": task,
            "world": number,
            "success": float(episode.outcome.success),
            "done": float(episode.outcome.done),
            "score": episode.outcome.score,
            "steps": float(len(episode)),
        }
        for number, episode in enumerate(made)
    ]
    return pd.DataFrame(rows)


class Draws:
    """How often each seed and each world is drawn: every one once, then resample by resample."""

    def __init__(self, seeds: Sequence[Any], worlds: Sequence[Any], resamples: int = RESAMPLES):
        rng = np.random.default_rng(0)
        self.seeds, self.worlds = list(seeds), list(worlds)
        self.by_seed = with_all(draw_counts(len(self.seeds), resamples, rng))
        self.by_world = with_all(draw_counts(len(self.worlds), resamples, rng))

    def sums(self, table: pd.DataFrame, column: str) -> NDArray[np.float64]:
        """Sum of a column over the drawn seeds and worlds: float64 [resample].

        ``table`` has ``seed`` and ``world``; the first value counts every one once.
        """
        grid = table.pivot_table(index="seed", columns="world", values=column, aggfunc="sum")
        grid = grid.reindex(index=self.seeds, columns=self.worlds).fillna(0.0)
        return np.asarray(((self.by_seed @ grid.to_numpy()) * self.by_world).sum(1))

    def ratio(self, table: pd.DataFrame, above: str, below: str) -> NDArray[np.float64]:
        """Ratio of two columns' sums: float64 [resample]; nan where there is nothing below."""
        return ratio(self.sums(table, above), self.sums(table, below))


def draws_of(rows: pd.DataFrame, resamples: int = RESAMPLES) -> Draws:
    """Draws over the seeds and worlds of a table."""
    return Draws(sorted(rows["seed"].unique()), sorted(rows["world"].unique()), resamples)


def loop_scores(rows: pd.DataFrame, draws: Draws, **names: Any) -> list[dict[str, Any]]:
    """Scores of `loop_rows` with ``seed``, whose runs share worlds: seeds and worlds drawn anew.

    Shares of none or of all count worlds (`bcprobe.bootstrap.exact`).
    """
    known, made = rows.assign(n=1.0), []
    for metric in (*SHARES, "score", "steps"):
        units = len(draws.worlds) if metric in SHARES else None
        found = score_of(draws.ratio(known, metric, "n"), len(known), units)
        made.append(found.row(metric=metric, **names))
    return made


def config_of(parameters: Mapping[str, Any]) -> ClickTransformerConfig:
    """The shape that parameters hold as ``model``."""
    return config_from_dict(dict(parameters["model"]))
