"""The whole intervention experiment on a checkpoint: dose response, ablation, swap, closed loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bcprobe.activations.cache import load_or_make
from bcprobe.activations.dataset import Activations, make_source
from bcprobe.activations.gather import gather_sources
from bcprobe.activations.labels import Question, ask
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import MAX_STEPS, work
from bcprobe.errors import InputError
from bcprobe.interventions.cls_edits import (
    Bench,
    Edit,
    Steered,
    ablate,
    add,
    make_twins,
    map_shift,
    random_directions,
    swap,
)
from bcprobe.interventions.effects import Effect, effect_table, note
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import DEFAULT_CHECKPOINT
from bcprobe.model.transformer import ClickTransformer
from bcprobe.probes.directions import Direction, fit_direction
from bcprobe.rng import split_seed
from bcprobe.types import PLACING

#: Doses, in units of the distance between the two sides' means along the direction.
ALPHAS = (-2.0, -1.0, 1.0, 2.0)
LOOP_ALPHAS = (-1.0, 1.0)
#: Temperature of the closed loop: at 0 a model errs too rarely to be seen recovering.
LOOP_TEMPERATURE = 1.0
RANDOM = 3
#: Test worlds of the interventions start here, far from those the direction was fitted on.
FIRST_WORLD = 1 << 30


@dataclass(frozen=True, eq=False)
class Intervention:
    """What edits at [cls] do to the next click, and to whole episodes.

    ``scores`` is tidy (`bcprobe.interventions.effects.COLUMNS`): ``task`` is a task, or ``all`` of
    several; ``start`` is the twin looked at (``right`` or ``wrong`` placement, ``episode`` for
    closed loop); ``direction`` is ``probe`` (fitted on the task itself), ``others`` (on all
    tasks but this one), ``random``, ``all`` (the whole vector) or empty (no edit). Of twins,
    ``p_undo`` is the probability of the Undo button and ``map_shift`` the total variation from
    the unedited click map. Of closed loops, ``success``, ``undo_share`` of clicks,
    ``mistake_rate`` of placements in a clean state, and ``recovered``, the share of mistakes
    mended.
    """

    checkpoint: str
    tasks: tuple[str, ...]
    latent: str
    episodes: int
    pairs: int
    scores: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """The scores, one a row."""
        return self.scores

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        rows = [
            {key: None if value != value else value for key, value in row.items()}
            for row in self.scores.to_dict("records")
        ]
        names = ("checkpoint", "tasks", "latent", "episodes", "pairs")
        return {**{name: getattr(self, name) for name in names}, "scores": rows}


@dataclass(frozen=True, eq=False)
class Material:
    """One task's annotated activations, the question asked of them, and unseen worlds."""

    task: str
    activations: Activations
    question: Question
    pair_worlds: tuple[int, ...]
    loop_worlds: tuple[int, ...]

    def features(self, site: str) -> np.ndarray:
        """Activations [row, d] of the steps asked about."""
        return self.question.features(self.activations.at(site))


def intervene(
    checkpoint: str | Path = DEFAULT_CHECKPOINT,
    tasks: Sequence[str] = ("colored_dot_tracking",),
    latent: str = "mistake",
    *,
    sites: Sequence[str] | None = None,
    pairs: int = 100,
    episodes: int = 200,
    loops: int = 20,
    seed: int = 0,
    layout: str = "original",
    progress: bool = True,
) -> Intervention:
    """Steer, ablate and swap a latent's direction at every site; then steer closed loop.

    Directions are fitted as in `bcprobe.probes.one_task.run` on ``episodes`` test episodes of each
    task; ``pairs`` twins and ``loops`` closed-loop worlds of each come from others. With
    several tasks each is also moved along the direction of all the others. The closed loop
    uses the site at which a task's own direction moves P(undo) most, on average. Raises
    `InputError` for unknown names.
    """
    if min(pairs, loops) < 1 or not tasks:
        raise InputError(f"pairs is {pairs} and loops {loops}; both must be 1 or more")
    options: dict[str, Any] = {"sites": sites, "seed": seed, "layout": layout}
    sources = [make_source(checkpoint, task, episodes, **options) for task in tasks]
    first = FIRST_WORLD + seed * (pairs + loops)
    worlds = tuple(split_seed("test", first + i) for i in range(pairs + loops))
    materials = []
    gathered = load_or_make(sources, partial(gather_sources, progress=progress))
    for source, activations in zip(sources, gathered, strict=True):
        question = ask(activations.labels, latent)
        if question.latent.kind != "binary":
            raise InputError(f"latent '{latent}' is not binary; choose mistake or undo_next")
        materials.append(
            Material(source.task, activations, question, worlds[:pairs], worlds[pairs:])
        )
    model = load_checkpoint(checkpoint)
    chosen = tuple(sources[0].sites if sites is None else sites)
    directions = {
        (material.task, site): fit_directions(materials, material, site)
        for material in materials
        for site in chosen
    }
    found, count = [], 0
    for material in materials:
        twins = make_twins(material.task, material.pair_worlds, model.config.context, layout, seed)
        bench, count = Bench(model, twins, material.task, layout), count + len(twins)
        for site in chosen:
            found += list(
                _edited(bench, material.task, site, directions[material.task, site], seed)
            )
    best = max(chosen, key=lambda site: _pull(found, site))
    for material in materials:
        made = _looped(model, material, best, directions[material.task, best], layout, seed)
        found += list(made)
    layers = {site: sources[0].layer(site) for site in chosen}
    table = effect_table(found, layers)
    return Intervention(str(checkpoint), tuple(tasks), latent, episodes, count, table)


def fit_directions(
    materials: Sequence[Material], material: Material, site: str
) -> dict[str, Direction]:
    """The task's own direction (``probe``) and, of several tasks, that of all ``others``.

    A direction of length zero, of a site that holds nothing, is left out.
    """
    others = [one for one in materials if one is not material]
    asked = {"probe": [material], **({"others": others} if others else {})}
    fitted = {
        name: fit_direction(
            "binary",
            np.concatenate([one.features(site) for one in chosen]),
            np.concatenate([one.question.truth for one in chosen]),
            material.question.latent.name,
        )
        for name, chosen in asked.items()
    }
    return {name: one for name, one in fitted.items() if np.linalg.norm(one.directions) > 0}


def _pull(found: Iterable[Effect], site: str) -> float:
    """How far adding a task's own direction once moves P(undo) after right placements.

    A task is moved further where it starts lower, so what counts is the mean over tasks.
    """
    means: dict[str, list[float]] = {"add": [], "none": []}
    for one in found:
        names = one.names
        if (names["site"], names["start"], names["metric"]) == (site, "right", "p_undo") and (
            names["operation"] == "none" or (names["direction"], names["alpha"]) == ("probe", 1.0)
        ):
            means[names["operation"]].append(float(one.values.mean()))
    return float(np.mean(means["add"]) - np.mean(means["none"])) if means["add"] else -np.inf


def _edited(
    bench: Bench, task: str, site: str, directions: Mapping[str, Direction], seed: int
) -> Iterator[Effect]:
    for side, start in enumerate(("right", "wrong")):
        heat, other = bench.look(side), bench.at_cls(1 - side, site)
        names = {"task": task, "site": site, "start": start}
        yield from _seen(bench, heat, heat, **names, operation="none", direction="")
        for kind, edits in _edits(directions, other, seed):
            looks = torch.stack([bench.look(side, site, edit) for edit in edits])
            yield from _seen(bench, looks, heat, **names, **kind)


def _edits(
    directions: Mapping[str, Direction], other: Tensor, seed: int
) -> Iterator[tuple[dict[str, Any], list[Edit]]]:
    """Names of each operation, and its edits: one, or one per random direction."""
    drawn = random_directions(RANDOM, other.shape[1], seed)
    for name, direction in directions.items():
        unit, scale, centre = _plain(direction)
        for alpha in ALPHAS:
            dose = {"operation": "add", "alpha": alpha}
            yield {**dose, "direction": name}, [add(unit, alpha * scale)]
            if name == "probe":
                yield {**dose, "direction": "random"}, [add(one, alpha * scale) for one in drawn]
        yield {"operation": "ablate", "direction": name}, [ablate(unit, centre)]
        yield {"operation": "swap", "direction": name}, [swap(unit, other)]
    yield {"operation": "swap", "direction": "random"}, [swap(one, other) for one in drawn]
    yield {"operation": "swap", "direction": "all"}, [lambda x: other]


def _plain(direction: Direction) -> tuple[Tensor, float, float]:
    """Unit direction [d], the distance of the two sides along it, and its mean."""
    unit = torch.from_numpy(direction.directions[0]).float()
    return unit, float(direction.separation[0]), float(direction.centre[0])


def _seen(bench: Bench, heat: Tensor, plain: Tensor, **names: Any) -> Iterator[Effect]:
    """Effects on each pair, of click maps [pair, ...] or, averaged, [edit, pair, ...]."""
    looks = heat if heat.ndim == 4 else heat[None]
    values = {
        "p_undo": np.mean([bench.p_undo(one) for one in looks], axis=0),
        "map_shift": np.mean([map_shift(one, plain) for one in looks], axis=0),
    }
    for metric, found in values.items():
        yield note(found, np.arange(len(found)), metric=metric, **names)


def _looped(
    model: ClickTransformer,
    material: Material,
    site: str,
    directions: Mapping[str, Direction],
    layout: str,
    seed: int,
) -> Iterator[Effect]:
    """Whole episodes, steered at every step, or left alone."""
    names = {"task": material.task, "site": site, "start": "episode"}
    yield from _worked(model, material, layout, seed, **names, operation="none", direction="")
    if "probe" not in directions:
        return
    moves = {name: _plain(direction)[:2] for name, direction in directions.items()}
    unit, scale = moves["probe"]
    moves["random"] = random_directions(1, len(unit), seed)[0], scale
    for name, (unit, scale) in moves.items():
        for alpha in LOOP_ALPHAS:
            steered = Steered(model, site, add(unit, alpha * scale))
            kind = {"operation": "add", "direction": name, "alpha": alpha}
            yield from _worked(steered, material, layout, seed, **names, **kind)


def _worked(
    model: ClickTransformer | Steered, material: Material, layout: str, seed: int, **names: Any
) -> Iterator[Effect]:
    made = work(
        ModelPolicy(model, LOOP_TEMPERATURE, seed),
        material.task,
        material.loop_worlds,
        origin="steered",
        layout=layout,
        max_steps=MAX_STEPS,
    )
    parts: dict[str, list[list[float]]] = {
        "success": [[float(episode.outcome.success)] for episode in made],
        "undo_share": [[float(step.undo_next) for step in episode.steps] for episode in made],
        "mistake_rate": [_mistaken(episode) for episode in made],
        "recovered": [_recovered(episode) for episode in made],
    }
    for metric, of in parts.items():
        groups = np.repeat(np.arange(len(of)), [len(values) for values in of])
        yield note(np.concatenate([*of, []]), groups, metric=metric, **names)


def _mistaken(episode: Episode) -> list[float]:
    """Of each placement in a clean state, whether it was a mistake (1) or not (0)."""
    steps = episode.steps
    return [
        float(after.latents.mistake)
        for step, after in pairwise(steps)
        if step.action in PLACING and step.valid and not step.latents.mistake
    ]


def _recovered(episode: Episode) -> list[float]:
    """Of each time a mistake stood, whether the state became clean again (1) or not (0)."""
    wrong = [step.latents.mistake for step in episode.steps]
    ended = [float(before and not now) for before, now in pairwise(wrong)]
    return [1.0] * int(sum(ended)) + [0.0] * int(bool(wrong) and wrong[-1])
