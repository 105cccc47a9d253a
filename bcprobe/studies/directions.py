"""Does a mistake direction fitted on some episodes read and steer others?

A direction is fitted once per site, at [cls], on the episodes of some tasks (or of one layout)
and then read, or added, where it was not fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bcprobe.activations.extract import collect
from bcprobe.activations.labels import Question, ask
from bcprobe.bootstrap import mean_score
from bcprobe.episodes.record import generate
from bcprobe.errors import InputError
from bcprobe.files import atomic_file
from bcprobe.interventions.directions import Site, random_directions
from bcprobe.interventions.pairs import twins
from bcprobe.interventions.patch import Add, Bench, Edit, Place
from bcprobe.interventions.targets import ClickTargets
from bcprobe.model.transformer import ClickTransformer
from bcprobe.probes.directions import fit_direction
from bcprobe.probes.linear import HeldOut, score

LATENT = "mistake"
#: Coefficients, in units of the distance between the two sides' means along the direction.
ALPHAS = (-1.0, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Examples:
    """Steps of annotators' episodes with the label (a mistake stands): features of each site."""

    question: Question
    features: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A unit direction [d] at a site, pointing to mistakes, and the distance of the sides."""

    unit: NDArray[np.float64]
    scale: float


def examples(
    model: ClickTransformer, task: str, worlds: Sequence[int], **shown: Any
) -> Examples | None:
    """The question of a task's test worlds; None if the label has one value only."""
    episodes = [generate(task, world, **shown) for world in worlds]
    activations = collect(model, episodes)
    try:
        question = ask(activations.labels, LATENT)
    except InputError:
        return None
    values = activations.values.items()
    return Examples(question, {site: question.features(found) for site, found in values})


def fit(parts: Sequence[Examples | None]) -> dict[str, Fitted]:
    """The direction of each site over all parts. Raises `InputError` if there is none to fit."""
    known = [part for part in parts if part is not None]
    if not known:
        raise InputError(f"no episode in which to fit '{LATENT}'; use more episodes")
    truth = np.concatenate([part.question.truth for part in known])
    fitted = {}
    for site in known[0].features:
        features = np.concatenate([part.features[site] for part in known])
        found = fit_direction("binary", features, truth, LATENT)
        if np.linalg.norm(found.directions[0]) > 0:
            fitted[site] = Fitted(found.directions[0], float(found.separation[0]))
    return fitted


def save(fitted: dict[str, Fitted], path: Path) -> None:
    """Write the directions, for the runs that need them."""
    arrays: dict[str, Any] = {site: np.append(one.unit, one.scale) for site, one in fitted.items()}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_saved(path: Path) -> dict[str, Fitted]:
    """Directions that `save` wrote."""
    with np.load(path) as arrays:
        return {site: Fitted(arrays[site][:-1], float(arrays[site][-1])) for site in arrays.files}


def auc_rows(
    fitted: dict[str, Fitted], tested: Examples | None, **names: Any
) -> Iterator[dict[str, Any]]:
    """AUC of the projections on each site's direction in steps that it was not fitted on."""
    if tested is None:
        return
    question = tested.question
    folds = np.zeros(len(question.truth), dtype=np.int64)
    for site, one in fitted.items():
        values = tested.features[site].astype(float) @ one.unit
        reading = HeldOut("binary", question.truth, values, question.groups, folds)
        yield score(reading).score.row(metric="auc", site=site, **names)


def steering_rows(
    model: ClickTransformer,
    fitted: dict[str, Fitted],
    task: str,
    pairs: int,
    **shown: Any,
) -> Iterator[dict[str, Any]]:
    """P(Undo) after right and wrong placements with each site's direction added, and a random one.

    Twins are of worlds that nothing was fitted on. Raises `InputError` if the task has no
    placement to err at.
    """
    cls = Site("cls", 0)
    names, moves = [], []
    for site, one in fitted.items():
        even, _ = random_directions(np.eye(len(one.unit)), 1)
        for name, unit in (("mistake", one.unit), ("random", even[0])):
            for alpha in ALPHAS:
                names.append({"site": site, "direction": name, "alpha": alpha})
                vector = torch.from_numpy(alpha * one.scale * unit)
                moves.append((site, vector.to(model.device, torch.float32)))
    found = []
    for pair in twins(task, pairs):
        bench = Bench(model, pair)
        tokens = cls.positions(model.config, pair, 0)
        edits = [Edit(((Place(site, 0, tokens), Add(vector)),)) for site, vector in moves]
        undo = ClickTargets(model, [pair.button("Undo")])
        answers = [bench.run(side, edits, undo)[0][:, 0, 0].exp() for side in (0, 1)]
        found.append(torch.stack(answers).numpy(force=True))
    values = np.array(found)  # (pair, side, edit)
    for number, own in enumerate(names):
        for side, start in enumerate(("right", "wrong")):
            score = mean_score(values[:, side, number], np.arange(len(values)))
            yield score.row(metric="p_undo", side=start, **own, **shown)
