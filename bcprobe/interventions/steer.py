"""The whole experiment on directions: locate, move along, erase, and let the model work alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from bcprobe.errors import InputError
from bcprobe.interventions.closed_loop import steer_loop
from bcprobe.interventions.directions import (
    Material,
    Site,
    bases,
    compare,
    fit,
    gather,
    random_directions,
)
from bcprobe.interventions.erase import erase, leace, random_erasures
from bcprobe.interventions.maps import EVERY_LAYER, Patching, patch
from bcprobe.interventions.pairs import FIRST_WORLD, Pair, twins
from bcprobe.interventions.patch import Add, Change
from bcprobe.model.transformer import ClickTransformer
from bcprobe.progress import track
from bcprobe.rng import split_seed

#: Token groups at which directions are tried, each at its last strong layer.
TRIED = ("placed", "cls")
#: Worlds of the closed loop start here, after those of pairs.
LOOP_WORLD = FIRST_WORLD + 500_000
#: Pairs that a learned subspace sees, and pairs of each other task.
ALIGNED, ALIGNED_OTHERS = 8, 1


@dataclass(frozen=True, eq=False)
class Steering:
    """What directions of the mistake do, task by task.

    ``directions`` as `bcprobe.interventions.directions.compare` makes it, ``erasure`` as
    `bcprobe.interventions.erase.erase`, ``loop`` as
    `bcprobe.interventions.closed_loop.steer_loop` (empty where no world was asked for).
    """

    directions: pd.DataFrame
    erasure: pd.DataFrame
    loop: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """The directions' rows."""
        return self.directions

    def plot(self) -> Any:
        """The directions as a figure."""
        from bcprobe.figures import causes

        return causes.plot_directions(self.directions)

    def as_dict(self) -> dict[str, Any]:
        """JSON form: rows of each table."""
        return {
            name: table.astype(object).where(table.notna(), None).to_dict("records")
            for name, table in self.__dict__.items()
        }


def locate(found: Patching) -> list[Site]:
    """The last strong layer of each of `TRIED`, the strongest token group first."""
    change, whole = found.effects()

    def share(site: Site) -> float:
        numbers = [
            number
            for number, cell in enumerate(found.cells)
            if (cell.component, cell.tokens, cell.layer, cell.lag)
            == ("resid", site.tokens, site.layer, 0)
        ]
        return float(change[:, :, numbers[0], 0].sum(0) @ (1 / whole[:, :, 0].sum(0)))

    sites = [Site(tokens, found.layer_of(tokens)) for tokens in TRIED]
    return sorted(sites, key=share, reverse=True)


def steer(
    model: ClickTransformer,
    tasks: Sequence[str],
    *,
    pairs: int = 16,
    fitted: int = 28,
    worlds: int = 8,
    ranks: Sequence[int] = (1, 2),
    random: int = 100,
    max_steps: int = 150,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = False,
) -> Steering:
    """Directions of the mistake side by side, at the sites that swaps between twins name.

    For each task: a map of ``pairs`` twins says where; directions are fitted on ``fitted`` others
    (of the task, of all, of the other tasks), moved along and erased on the pairs of the map, and
    at the strongest site over ``worlds`` closed-loop worlds (0: none). Raises `InputError` for
    unknown tasks or numbers out of range.
    """
    if min(pairs, random) < 2 or fitted < ALIGNED or worlds < 0 or not tasks:
        raise InputError(
            f"pairs is {pairs}, random {random}, fitted {fitted}, worlds {worlds}; they must be 2, "
            f"2, {ALIGNED} and 0 or more"
        )
    train = {task: twins(task, fitted, seed=seed + 1) for task in tasks}
    materials = {task: gather(model, train[task], workers) for task in tasks}
    parts = [
        _steered(
            model,
            task,
            train,
            materials,
            pairs=pairs,
            worlds=worlds,
            ranks=ranks,
            random=random,
            max_steps=max_steps,
            seed=seed,
            workers=workers,
        )
        for task in track(list(tasks), "directions", shown=progress)
    ]
    tables = [[part[n] for part in parts if len(part[n])] for n in range(3)]
    return Steering(*(pd.concat(t, ignore_index=True) if t else pd.DataFrame() for t in tables))


def _steered(
    model: ClickTransformer,
    task: str,
    train: dict[str, list[Pair]],
    materials: dict[str, Material],
    *,
    pairs: int,
    worlds: int,
    ranks: Sequence[int],
    random: int,
    max_steps: int,
    seed: int,
    workers: int | None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    tested = twins(task, pairs, seed=seed)
    found = patch(model, tested, components=("resid",), tokens=TRIED, workers=workers)
    sites = locate(found)
    others = [one for name in train if name != task for one in train[name][:ALIGNED_OTHERS]]
    options: dict[str, Any] = {"random": random, "seed": seed, "workers": workers}
    moved, erased = [], []
    for number, site in enumerate(sites):
        learned = bases(
            model, site, train[task][:ALIGNED], others, ranks=ranks if number == 0 else (1,),
            seed=seed,
        )  # fmt: skip
        moved.append(compare(model, task, site, materials, tested, learned=learned, **options))
        erased.append(erase(model, site, materials[task], tested, **options))
    every = Site(sites[0].tokens, EVERY_LAYER)
    moved.append(compare(model, task, every, materials, tested, **options))
    seeds = [split_seed("test", LOOP_WORLD + number) for number in range(worlds)]
    loop = pd.DataFrame()
    if worlds:
        conditions = dict(_conditions(model, sites[0], materials[task], seed))
        loop = steer_loop(
            model, task, sites[0], conditions, seeds, max_steps=max_steps, seed=seed
        ).assign(tokens=sites[0].tokens, layer=sites[0].layer)
    return pd.concat(moved, ignore_index=True), pd.concat(erased, ignore_index=True), loop


def _conditions(
    model: ClickTransformer, site: Site, material: Material, seed: int
) -> Iterator[tuple[str, list[Change]]]:
    """Edits of the closed loop: the class means' difference either way, erasure, random ones."""
    x, truth, _ = material.rows(site.tokens, site.layer)
    norm = float(np.linalg.norm(x[truth].mean(0) - x[~truth].mean(0)))
    unit, chance = fit(x, truth, "mean_difference"), random_directions(x, 1, seed)[0][0]
    for name, vector in (("less mistake", -unit), ("more mistake", unit), ("random", chance)):
        moved = torch.tensor(norm * vector, dtype=torch.float32, device=model.device)
        yield name, [Add(moved)]
    yield "LEACE", [leace(x, truth).change(model.device)]
    yield "random erasure", [next(random_erasures(x, 1, 1, seed)).change(model.device)]
