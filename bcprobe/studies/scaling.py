"""Scaling: loss on unseen worlds against frames and FLOPs, for networks of several sizes.

All runs see the same frames in the same order; seeds differ in their first weights. The
learning rate stays as it is after the warm-up, so that a saved step is a run of that length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.bootstrap import score_of
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.registry import list_steps
from bcprobe.studies import power_law
from bcprobe.studies.costs import RATES
from bcprobe.studies.measure import (
    Draws,
    click_rows,
    config_of,
    draws_of,
    load,
    trained,
    unseen,
)
from bcprobe.studies.study import Runs, Study, StudyRun
from bcprobe.tasks import TRAINING_TASKS
from bcprobe.training.config import Experiment
from bcprobe.training.flops import step_flops
from bcprobe.training.shards import DataConfig

#: Clicks whose accuracy is compared at equal loss.
KINDS = ("place_right", "undo", "done")
#: Frames of an episode, about; and refits behind an interval.
EPISODE, REFITS = 110, 200
#: Learning rate at width 128, which falls with the square root of the width; and that of hidden
#: matrices, which Muon scales by itself.
RATE, WIDTH, MUON_RATE = 1.5e-3, 128, 0.01
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """``sizes``: width, layers and heads. ``frames`` learned from, ``first`` the first saved step;
    ``episodes`` test worlds of each task. ``rate`` names what it runs on."""

    sizes: tuple[tuple[int, int, int], ...]
    frames: int
    first: int
    episodes: int
    seeds: tuple[int, ...] = (0, 1)
    tasks: tuple[str, ...] = ("colored_dot_tracking",)
    difficulty: str = "default"
    rows: int = 4
    row_length: int = 32
    rate: str = "cpu"


SETTINGS = {
    "tiny": Settings(
        ((8, 1, 1), (16, 1, 2), (24, 2, 2), (32, 2, 2)), 64, 16, 2, (0, 1),
        difficulty="easy", rows=1, row_length=16,
    ),
    "cpu": Settings(
        ((24, 2, 2), (40, 3, 2), (64, 4, 2), (96, 4, 4), (128, 5, 4)), 1 << 17, 1 << 11, 30,
    ),
    "gpu": Settings(
        ((32, 2, 2), (64, 4, 2), (128, 5, 4), (256, 6, 4), (384, 8, 6)), 1 << 19, 1 << 12, 8,
        tasks=TRAINING_TASKS, rows=16, rate="gpu",
    ),
}  # fmt: skip


def shape(d_model: int, n_layers: int, n_heads: int) -> ClickTransformerConfig:
    """A network of `nano`'s plan (patches of 80 x 90 px, six frames of context) in another size."""
    stem = ((8, 6, d_model // 4), (5, 5, d_model), (2, 3, d_model))
    return ClickTransformerConfig(d_model, n_layers, n_heads, stem=stem, head="fine_pointer")


def runs(settings: Settings) -> Runs:
    """One for each size and seed."""
    return tuple(
        _member(settings, size, seed) for size in settings.sizes for seed in settings.seeds
    )


def _member(settings: Settings, size: tuple[int, int, int], seed: int) -> StudyRun:
    config, rate = shape(*size), RATES[settings.rate]
    plain = {k: v for k, v in asdict(settings).items() if k not in ("sizes", "seeds", "rate")}
    looks = settings.episodes * len(settings.tasks) * EPISODE
    steps = len(_powers(settings.first, settings.frames))
    seconds = rate.training(config, settings.frames) + steps * rate.inference(config, looks)
    return StudyRun(
        name=f"width-{size[0]}-seed-{seed}",
        parameters={**plain, "model": config.as_dict(), "seed": seed},
        frames=settings.frames,
        seconds=seconds,
    )


def _powers(first: int, last: int) -> list[int]:
    return [1 << k for k in range(last.bit_length()) if first <= 1 << k <= last]


def experiment(parameters: Mapping[str, Any]) -> Experiment:
    """The training of a run."""
    config, first = config_of(parameters), parameters["first"]
    tasks = tuple(parameters["tasks"])
    return Experiment(
        name=f"scaling-{config.d_model}",
        data=DataConfig(
            tasks, difficulty=parameters["difficulty"], episodes=4 * len(tasks) + 20, soft=True
        ),
        model=config,
        model_seed=parameters["seed"],
        frames=parameters["frames"],
        rows=parameters["rows"],
        row_length=parameters["row_length"],
        optimizer="muon",
        lr=RATE * (WIDTH / config.d_model) ** 0.5,
        muon_lr=MUON_RATE,
        final_lr=1.0,
        warmup=4 * first,
        action_weights=(("undo", 6.0), ("done", 2.0)),
        first_save=first,
        validate_every=parameters["frames"],
        validation_episodes=1,
    )


def work(parameters: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Train, then look at the test worlds from every saved step.

    Columns: ``width``, ``parameters``, ``seed``, ``frames``, ``flops``, and `click_rows`. The
    annotator's own likelihood is measured beside the last step.
    """
    plan = experiment(parameters)
    run = trained(plan, folder / "run")
    steps = [frames for frames in list_steps(run) if frames >= parameters["first"]]
    parts = []
    for frames in steps:
        model = load(f"{run}@{frames}")
        own = [
            click_rows(
                model,
                task,
                unseen(parameters["episodes"]),
                difficulty=parameters["difficulty"],
                annotator=frames == steps[-1],
            )
            for task in parameters["tasks"]
        ]
        names = {"frames": frames, "flops": step_flops(plan.model, frames)}
        names["parameters"] = sum(weight.numel() for weight in model.parameters())
        parts.append(pd.concat(own).assign(**names))
    found = pd.concat(parts, ignore_index=True)
    return found.assign(width=plan.model.d_model, seed=parameters["seed"])


@dataclass(frozen=True, eq=False)
class Curves:
    """Loss [size, step, resample] and accuracy by kind, of networks of so many ``parameters``
    [size] after so many ``frames`` [step]; ``n`` clicks behind each."""

    parameters: Floats
    frames: Floats
    flops: Floats
    loss: Floats
    accuracy: Mapping[str, Floats]
    n: Mapping[str, int]


def curves(rows: pd.DataFrame) -> Curves:
    """Means over tasks, seeds and worlds, drawn anew together for all sizes and steps."""
    rows = rows.assign(world=rows["task"] + " " + rows["world"].astype(str))
    draws = draws_of(rows)
    sizes, frames = (
        np.sort(rows[name].unique()).astype(float) for name in ("parameters", "frames")
    )
    cells = [
        [rows[(rows["parameters"] == size) & (rows["frames"] == at)] for at in frames]
        for size in sizes
    ]
    flops = np.array([[cell["flops"].iloc[0] for cell in line] for line in cells])

    def ratio(above: str, kind: str = "") -> Floats:
        return np.array([[_ratio(draws, cell, above, kind) for cell in line] for line in cells])

    one = cells[0][0]
    n = {kind: int(one.loc[one["kind"] == kind, "n"].sum()) for kind in KINDS}
    accuracy = {kind: ratio("hits", kind) for kind in KINDS}
    return Curves(sizes, frames, flops, ratio("nll"), accuracy, {**n, "": int(one["n"].sum())})


def _ratio(draws: Draws, rows: pd.DataFrame, above: str, kind: str) -> Floats:
    return draws.ratio(rows[rows["kind"] == kind] if kind else rows, above, "n")


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each number; ``metric`` says which.

    ``loss`` by ``parameters``, ``frames`` and ``flops``; ``annotator_loss``, what the annotator
    itself would score; the ``fit`` (``name`` of each number) and ``frames_to_loss`` at the loss
    ``level`` that the worst size has one step before its last; ``fewer_frames``, by what factor
    ten times the parameters lower them; ``accuracy_at_loss`` of each kind (``name``) there.
    """
    found = curves(rows)
    last = rows[rows["annotator_nll"].notna()]
    draws = draws_of(last)
    own = score_of(draws.ratio(last, "annotator_nll", "n"), int(last["n"].sum()))
    made = [*_losses(found), own.row(metric="annotator_loss")]
    made += [*_fits(found), *_equal_loss(found)]
    columns = ("metric", "name", "parameters", "frames", "flops", "level")
    return pd.DataFrame(made, columns=[*columns, "estimate", "lower", "upper", "n"])


def _losses(found: Curves) -> Iterator[dict[str, Any]]:
    for i, size in enumerate(found.parameters):
        for j, frames in enumerate(found.frames):
            names = {"parameters": size, "frames": frames, "flops": found.flops[i, j]}
            for kind in ("", *KINDS):
                values = found.accuracy[kind][i, j] if kind else found.loss[i, j]
                metric = "accuracy" if kind else "loss"
                score = score_of(values, found.n[kind])
                yield score.row(metric=metric, name=kind, **names)


def _fits(found: Curves) -> Iterator[dict[str, Any]]:
    size, data = (
        part.ravel() for part in np.meshgrid(found.parameters, found.frames, indexing="ij")
    )
    first = power_law.fit(size, data, found.loss[..., 0].ravel())
    drawn = [
        power_law.fit(size, data, found.loss[..., k].ravel(), first) for k in range(1, REFITS + 1)
    ]
    fits = np.stack([first, *drawn], axis=1)  # (number, resample)
    for name, values in zip(power_law.NAMES, fits, strict=True):
        yield score_of(values, len(size)).row(metric="fit", name=name)


def _equal_loss(found: Curves) -> Iterator[dict[str, Any]]:
    """What each size takes for, and does at, the lowest loss that all reach before the last step.

    Before it, so that sizes still reach it when worlds are drawn anew.
    """
    level = float(found.loss[:, :-1, 0].min(1).max())
    resamples = range(found.loss.shape[2])
    needed = np.array(
        [[power_law.frames_to(level, found.frames, c[:, k]) for k in resamples] for c in found.loss]
    )
    names: dict[str, Any] = {"level": level}
    for size, values in zip(found.parameters, needed, strict=True):
        score = score_of(values, found.n[""])
        yield score.row(metric="frames_to_loss", parameters=size, **names)
    factors = np.array(
        [power_law.factor_per_ten(found.parameters, needed[:, k]) for k in resamples]
    )
    yield score_of(factors, len(found.parameters)).row(metric="fewer_frames", **names)
    for kind, values in found.accuracy.items():
        for size, loss, own in zip(found.parameters, found.loss, values, strict=True):
            at = [power_law.at_loss(level, loss[:, k], own[:, k]) for k in resamples]
            score = score_of(np.array(at), found.n[kind])
            yield score.row(metric="accuracy_at_loss", name=kind, parameters=size, **names)


STUDY = Study("scaling", SETTINGS, runs, work, summarise)
