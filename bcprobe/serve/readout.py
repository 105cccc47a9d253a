"""The mistake read-out that is shown beside a model at work: a probe at two tokens of every layer.

For checkpoints that ship, the fitted numbers ship too (``readouts/``, made by
``python -m bcprobe.serve.readout NAME``); for others they are fitted once and kept in the cache.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bcprobe.activations.cache import cache_folder
from bcprobe.annotators import get_annotator
from bcprobe.annotators.persona import draw_persona
from bcprobe.episodes.clickers import AnnotatorClicker
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import work
from bcprobe.files import atomic_file
from bcprobe.model.registry import checkpoint_hash, find_checkpoint, trained_tasks
from bcprobe.rng import generator

#: Where the probe reads: the summary token, and the patch under the last placement.
TOKENS = ("cls", "placed")
#: Episodes of each task for the fit, and as many again to judge it by; of one task alone.
EPISODES, ALONE = 12, 60
#: Whose episodes: annotators who err so often and look so often before they undo, for mistakes are
#: rare with usual ones.
CARELESS: dict[str, Any] = {"error_rate": 0.25, "delay": 0.5}
#: Test worlds of the fit begin at this number, beyond those of other measurements.
FIRST_WORLD = 900_000
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Readout:
    """Probes of ``mistake`` on all steps: ``weights`` [token, site, d].

    ``intercepts`` [token, site] belong to them. ``separations`` [token, site] are the distances
    between both sides' means along the unit direction, in the activations' units. ``aucs``
    [token, site] were found on worlds that the fit never saw: ``episodes`` of each of ``tasks``.
    """

    sites: tuple[str, ...]
    weights: Floats
    intercepts: Floats
    separations: Floats
    aucs: Floats
    tasks: tuple[str, ...]
    episodes: int

    def best(self, token: str) -> int:
        """Number of the site that is read best at a token."""
        return int(self.aucs[TOKENS.index(token)].argmax())

    def direction(self, token: str, site: int) -> Floats:
        """Unit direction [d] along which ``mistake`` grows."""
        weights = self.weights[TOKENS.index(token), site]
        return weights / max(float(np.linalg.norm(weights)), 1e-12)

    def read(self, token: str, site: int, x: Floats) -> float:
        """Probability, 0-1, that a mistake stands, read from activations [d]."""
        number = TOKENS.index(token)
        value = float(x @ self.weights[number, site] + self.intercepts[number, site])
        return float(1 / (1 + np.exp(-np.clip(value, -60, 60))))

    def about(self) -> dict[str, Any]:
        """What a page tells of it."""
        return {
            "sites": list(self.sites),
            "tasks": len(self.tasks),
            "episodes": self.episodes,
            "auc": {t: [round(float(a), 4) for a in self.aucs[i]] for i, t in enumerate(TOKENS)},
            "best": {token: self.best(token) for token in TOKENS},
        }


def find_readout(checkpoint: str) -> Readout | None:
    """The read-out of a checkpoint, shipped or from the cache; None if it is still to be fitted."""
    name = f"{checkpoint_hash(find_checkpoint(checkpoint))[:16]}.safetensors"
    for path in (shipped_folder() / name, _cached(name)):
        if path.is_file():
            try:
                return _load(path)
            except (OSError, KeyError, ValueError, SafetensorError):
                continue  # damaged: made again
    return None


def shipped_folder() -> Path:
    """Folder of the read-outs that come with the package."""
    return Path(str(files("bcprobe.serve"))) / "readouts"


def _cached(name: str) -> Path:
    return cache_folder() / "readouts" / name


def keep_readout(checkpoint: str, readout: Readout, folder: Path | None = None) -> Path:
    """Write a read-out into a folder (default: the cache)."""
    name = f"{checkpoint_hash(find_checkpoint(checkpoint))[:16]}.safetensors"
    path = _cached(name) if folder is None else folder / name
    arrays = ("weights", "intercepts", "separations", "aucs")
    known = {"sites": readout.sites, "tasks": readout.tasks, "episodes": readout.episodes}
    with atomic_file(path) as temporary:
        tensors = {n: np.ascontiguousarray(getattr(readout, n), np.float32) for n in arrays}
        save_file(tensors, temporary, metadata={"readout": json.dumps(known)})
    return path


def _load(path: Path) -> Readout:
    with safe_open(path, framework="numpy") as file:
        known = json.loads(file.metadata()["readout"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Readout(
        sites=tuple(known["sites"]),
        tasks=tuple(known["tasks"]),
        episodes=known["episodes"],
        **arrays,
    )


def fitting(checkpoint: str) -> Iterator[Readout | None]:
    """Fit the probes of a checkpoint on `CARELESS` annotators in the tasks it was trained on.

    Gives None after every two episodes looked at, and last the read-out. Minutes for nine tasks on
    one core.
    """
    from bcprobe.activations.dataset import combine
    from bcprobe.activations.extract import collect
    from bcprobe.activations.sites import residual_sites
    from bcprobe.model.checkpoint import load_checkpoint
    from bcprobe.probes.linear import C
    from bcprobe.probes.logistic import fit_logistics
    from bcprobe.probes.metrics import auc
    from bcprobe.rng import split_seed
    from bcprobe.tasks import TRAINING_TASKS

    model = load_checkpoint(checkpoint)
    tasks = trained_tasks(find_checkpoint(checkpoint)) or TRAINING_TASKS
    each = 2 * (ALONE if len(tasks) == 1 else EPISODES)
    sites = residual_sites(model.config)
    parts = []
    for task in tasks:
        for i in range(0, each, 2):
            pair = [careless(task, split_seed("test", FIRST_WORLD + i + k)) for k in (0, 1)]
            parts.append(collect(model, pair, sites, TOKENS))
            yield None
    seen = combine(parts)
    shape = (len(TOKENS), len(sites))
    weights = np.zeros((*shape, model.config.d_model), np.float32)
    intercepts, separations, aucs = (np.zeros(shape, np.float32) for _ in range(3))
    for t, token in enumerate(TOKENS):
        asked = seen.ask("mistake", negatives="all", token=token)
        fit = (asked.labels["world_seed"] % 2 == 0).to_numpy()
        truth = asked.truth.astype(bool)
        for s, site in enumerate(sites):
            x = asked.features(seen.at(site, token))
            found = fit_logistics(x[fit], truth[fit], np.ones((int(fit.sum()), 1)), C)
            weights[t, s], intercepts[t, s] = found.weights[0], found.intercepts[0]
            norm = max(float(np.linalg.norm(found.weights[0])), 1e-12)  # [cls] begins the same
            along = x[fit] @ found.weights[0] / norm
            separations[t, s] = along[truth[fit]].mean() - along[~truth[fit]].mean()
            read = found.read(x[~fit], 0)
            groups = np.zeros(len(read), np.int64)
            aucs[t, s] = auc(truth[~fit], read, groups)(np.ones((1, 1)))[0]
    yield Readout(sites, weights, intercepts, separations, aucs, tuple(tasks), each // 2)


def careless(task: str, world_seed: int) -> Episode:
    """Episode of a `CARELESS` annotator."""
    rng = generator("careless annotator", task, world_seed)
    persona = replace(draw_persona(get_annotator(task).habits, rng), **CARELESS)
    clicker = AnnotatorClicker([persona], [rng])
    return work(clicker, task, [world_seed], origin="annotator")[0]


def main(names: list[str]) -> None:
    """Fit the read-outs of checkpoints and put them among those that ship."""
    for name in names:
        found = next(one for one in fitting(name) if one is not None)
        path = keep_readout(name, found, shipped_folder())
        sys.stdout.write(f"{name}: {path.name}, AUC {np.round(found.aucs, 3).tolist()}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
