"""The whole intervention experiment on a checkpoint: dose response, ablation, swap, closed loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import MAX_STEPS, work
from bcprobe.errors import InputError
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.probes.activations import make_source
from bcprobe.probes.cache import load_or_make
from bcprobe.probes.directions import Direction, fit_direction
from bcprobe.probes.interventions import (
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
from bcprobe.probes.linear import ask
from bcprobe.probes.workers import gather_source
from bcprobe.results import Score, mean_score, wilson
from bcprobe.rng import split_seed

#: Doses, in units of the distance between the two sides' means along the direction.
ALPHAS = (-2.0, -1.0, 1.0, 2.0)
RANDOM = 3
#: Test worlds of the interventions start here, far from those the direction was fitted on.
FIRST_WORLD = 1 << 30
COLUMNS = (
    "site", "layer", "start", "operation", "direction", "alpha", "metric",
    "estimate", "lower", "upper", "n",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Intervention:
    """What edits at [cls] do to the next click, and to whole episodes.

    ``scores`` is tidy (`COLUMNS`): ``start`` is the twin looked at (``right`` or ``wrong``
    placement, ``episode`` for closed loop), ``direction`` is ``probe``, ``random``, ``all``
    (the whole vector) or empty (no edit). ``p_undo`` is the probability of the Undo button,
    ``map_shift`` the total variation from the unedited click map.
    """

    checkpoint: str
    task: str
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
        names = ("checkpoint", "task", "latent", "episodes", "pairs")
        return {**{name: getattr(self, name) for name in names}, "scores": rows}


def intervene(
    checkpoint: str | Path = "dots-nano",
    task: str = "colored_dot_tracking",
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

    Directions are fitted as in `bcprobe.probes.run.run` on ``episodes`` test episodes;
    ``pairs`` twins and ``loops`` closed-loop worlds come from others. The closed loop uses
    the site at which the direction moves P(undo) most. Raises `InputError` for unknown names.
    """
    if min(pairs, loops) < 1:
        raise InputError(f"pairs is {pairs} and loops {loops}; both must be 1 or more")
    source = make_source(checkpoint, task, episodes, sites=sites, seed=seed, layout=layout)
    activations = load_or_make(source, partial(gather_source, progress=progress))
    question = ask(activations.labels, latent)
    if question.latent.kind != "binary":
        raise InputError(f"latent '{latent}' is not binary; choose mistake or undo_next")
    model = load_checkpoint(checkpoint)
    first = FIRST_WORLD + seed * (pairs + loops)
    worlds = [split_seed("test", first + i) for i in range(pairs + loops)]
    twins = make_twins(task, worlds[:pairs], model.config.context, layout, seed)
    bench = Bench(model, twins, task, layout)
    rows: list[dict[str, Any]] = []
    effect: dict[str, tuple[float, Direction]] = {}
    for site in source.sites if sites is None else sites:
        features = question.features(activations.at(site))
        direction = fit_direction("binary", features, question.truth, latent)
        if np.linalg.norm(direction.directions) > 0:
            found = list(_edit_rows(bench, site, direction, seed))
            rows += [{"site": site, "layer": source.layer(site), **row} for row in found]
            effect[site] = _pull(found), direction
    best = max(effect, key=lambda site: effect[site][0])
    closed = _loop_rows(model, task, worlds[pairs:], best, effect[best][1], layout, seed)
    rows += [{"site": best, "layer": source.layer(best), **row} for row in closed]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Intervention(str(checkpoint), task, latent, episodes, len(twins), table)


def _pull(rows: Sequence[dict[str, Any]]) -> float:
    """How far adding the probe's direction once moves P(undo) after a right placement."""
    return next(
        row["estimate"]
        for row in rows
        if (row["start"], row["direction"], row["alpha"], row["metric"])
        == ("right", "probe", 1.0, "p_undo")
    )


def _edit_rows(
    bench: Bench, site: str, direction: Direction, seed: int
) -> Iterator[dict[str, Any]]:
    plain = [bench.look(side) for side in (0, 1)]
    for side, start in enumerate(("right", "wrong")):
        heat, _ = plain[side]
        yield from _scores(bench, heat, heat, start=start, operation="none", direction="")
        other = plain[1 - side][1][site]
        for names, edits in _edits(direction, other, seed):
            looks = [bench.look(side, site, edit)[0] for edit in edits]
            yield from _scores(bench, torch.stack(looks), heat, start=start, **names)


def _edits(
    direction: Direction, other: Tensor, seed: int
) -> Iterator[tuple[dict[str, Any], list[Edit]]]:
    """Names of each operation, and its edits: one, or one per random direction."""
    unit = torch.from_numpy(direction.directions[0]).float()
    scale, centre = float(direction.separation[0]), float(direction.centre[0])
    drawn = random_directions(RANDOM, len(unit), seed)
    for alpha in ALPHAS:
        kind = {"operation": "add", "alpha": alpha}
        yield {**kind, "direction": "probe"}, [add(unit, alpha * scale)]
        yield {**kind, "direction": "random"}, [add(one, alpha * scale) for one in drawn]
    yield {"operation": "ablate", "direction": "probe"}, [ablate(unit, centre)]
    yield {"operation": "swap", "direction": "probe"}, [swap(unit, other)]
    yield {"operation": "swap", "direction": "random"}, [swap(one, other) for one in drawn]
    yield {"operation": "swap", "direction": "all"}, [lambda x: other]


def _scores(bench: Bench, heat: Tensor, plain: Tensor, **names: Any) -> Iterator[dict[str, Any]]:
    """Rows of the mean effects over pairs, of click maps [pair, ...] or [edit, pair, ...]."""
    looks = heat if heat.ndim == 4 else heat[None]
    values = {
        "p_undo": np.mean([bench.p_undo(one) for one in looks], axis=0),
        "map_shift": np.mean([map_shift(one, plain) for one in looks], axis=0),
    }
    for metric, found in values.items():
        score = mean_score(found, np.arange(len(found)))
        yield {"alpha": 0.0, **names, "metric": metric, **_numbers(score)}


def _loop_rows(
    model: Any,
    task: str,
    worlds: Sequence[int],
    site: str,
    direction: Direction,
    layout: str,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Closed loop at temperature 0, steered all along: success, Undo clicks and mistakes."""
    unit = torch.from_numpy(direction.directions[0]).float()
    scale = float(direction.separation[0])
    for name, one in (("probe", unit), ("random", random_directions(1, len(unit), seed)[0])):
        for alpha in (-1.0, 0.0, 1.0):
            clicker = ModelPolicy(Steered(model, site, add(one, alpha * scale)), 0.0, seed)
            made = work(clicker, task, worlds, origin="steered", layout=layout, max_steps=MAX_STEPS)
            names = {"start": "episode", "operation": "add", "direction": name, "alpha": alpha}
            undos = [sum(s.undo_next for s in e.steps) / len(e) for e in made]
            wrong = [sum(s.latents.mistake for s in e.steps) / len(e) for e in made]
            scores = {
                "success": wilson(sum(e.outcome.success for e in made), len(made)),
                "undo_share": mean_score(undos, range(len(undos))),
                "mistaken_share": mean_score(wrong, range(len(wrong))),
            }
            for metric, score in scores.items():
                yield {**names, "metric": metric, **_numbers(score)}


def _numbers(score: Score) -> dict[str, float | int]:
    return {name: getattr(score, name) for name in ("estimate", "lower", "upper", "n")}
