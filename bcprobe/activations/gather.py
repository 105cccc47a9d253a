"""Activations of a model on annotators' episodes: from the cache, or made by all cores.

Needs no torch unless something has to be made here (`bcprobe.activations.extract`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcprobe.activations.cache import load_or_make
from bcprobe.activations.dataset import Activations, Pool, Source, combine, make_pool
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.store import episodes_hash
from bcprobe.machine import pick_device
from bcprobe.model.registry import DEFAULT_CHECKPOINT, tasks_for
from bcprobe.parallel import in_processes
from bcprobe.progress import Progress

if TYPE_CHECKING:
    from bcprobe.model.transformer import ClickTransformer

#: Episodes of a job: enough to be worth a process's while, few enough for a bar to move.
JOB = 8
#: Activations of a job, and its episodes.
Part = tuple[Activations, tuple[Episode, ...]]


def activations(
    model: ClickTransformer | str | Path = DEFAULT_CHECKPOINT,
    tasks: str | Sequence[str] | None = None,
    episodes: int = 40,
    *,
    tokens: str | Sequence[str] = ("cls", "placed"),
    sites: Sequence[str] | None = None,
    seed: int = 0,
    layout: str = "original",
    difficulty: str = "default",
    manner: str = "usual",
    untrained: int = 1,
    device: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> Activations:
    """Activations of a model on annotators' episodes in worlds it was never trained on.

    ``model`` is a checkpoint (name, folder, hub id, ``NAME@FRAMES``) or a model in memory, which
    is left as it is and where it is. ``tasks``: a name, several, ``all``, or None for those that
    the checkpoint was trained on; ``episodes`` of each. ``tokens``: ``cls``, ``placed`` (the patch
    under the last placement), ``previous``; ``sites``: hook names, by default the residual stream
    before the first block and after each. ``manner``: how the annotators deal with mistakes, one of
    `bcprobe.annotators.persona.MANNERS`. ``untrained`` models of the same shape are looked at
    beside it. ``device``: ``auto`` is a GPU if there is one; other than on ``cpu`` the work is done
    in this process.

    What was made is kept on disk (`bcprobe.activations.cache`), named by its content. Raises
    `InputError` for unknown names and counts out of range.
    """
    chosen = partial(
        make_pool, episodes=episodes, sites=sites, tokens=tokens, seed=seed, layout=layout,
        difficulty=difficulty, manner=manner, untrained=untrained,
    )  # fmt: skip
    options = {"device": device, "workers": workers, "progress": progress}
    if isinstance(model, (str, Path)):
        return load_pool(chosen(model, tasks_for(tasks, model)), str(model), **options)
    return _of_model(model, tasks, chosen, options)


def load_pool(pool: Pool, checkpoint: str, **options: Any) -> Activations:
    """Activations of all sources as one set; ``checkpoint`` is what the model is called."""
    found = load_or_make(pool.sources, partial(gather_sources, **options))
    return replace(combine(found) if len(found) > 1 else found[0], checkpoint=checkpoint)


def _of_model(
    model: ClickTransformer, tasks: Any, chosen: Any, options: dict[str, Any]
) -> Activations:
    """Activations of a model in memory: of its checkpoint, if it is that still."""
    from bcprobe.activations.extract import same_weights
    from bcprobe.model.checkpoint import save_checkpoint

    folder = getattr(model, "folder", None)
    options = {**options, "device": str(model.device)}
    if folder is not None and same_weights(model, folder):
        return load_pool(chosen(folder, tasks_for(tasks, folder)), folder.name, **options)
    import torch

    with tempfile.TemporaryDirectory() as there:
        saved = save_checkpoint(model, there, dtype=torch.float32)
        return load_pool(chosen(saved, tasks_for(tasks, folder)), "model in memory", **options)


def gather_sources(
    sources: Sequence[Source],
    *,
    device: str = "auto",
    workers: int | None = None,
    progress: bool = False,
) -> Iterator[Activations]:
    """Activations of each source's checkpoint and of untrained models of its shape, in order.

    On the CPU each process (default: one a core) makes its share of the episodes, composes their
    frames and shows them to the models, on one thread; elsewhere this process does. ``progress``
    draws a bar on standard error.
    """
    device = pick_device(device)
    jobs = [(source, part.tolist(), device) for source in sources for part in job_worlds(source)]
    done = in_processes(work, jobs, workers if device == "cpu" else 1)
    with Progress(sum(source.episodes for source in sources), shown=progress) as bar:
        for source in sources:
            parts = []
            for worlds in job_worlds(source):
                bar.advance(0, f"activations: {source.task}")
                parts.append(next(done))
                bar.advance(len(worlds))
            yield _whole(source, parts)


def job_worlds(source: Source) -> list[Any]:
    """World seeds, arrays, of each job into which a source is cut."""
    return np.array_split(source.world_seeds, -(-source.episodes // JOB))


def work(job: tuple[Source, list[int], str]) -> Part:
    """Activations and episodes of a job: a source, world seeds of it, and a device."""
    from bcprobe.activations.extract import gather_worlds

    return gather_worlds(*job)


def _whole(source: Source, parts: Sequence[Part]) -> Activations:
    """A source's parts as if one had gathered them."""
    made, episodes = zip(*parts, strict=True)
    hashes = {
        "checkpoint": made[0].hashes["checkpoint"],
        "episodes": episodes_hash(chain.from_iterable(episodes)),
        "key": source.key,
    }
    return replace(combine(made) if len(made) > 1 else made[0], hashes=hashes)
