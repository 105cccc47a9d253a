"""Episodes that a model works on its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import MAX_STEPS, work
from bcprobe.errors import at_least_one
from bcprobe.machine import pick_device
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.precision import own_precision, products_in
from bcprobe.model.registry import DEFAULT_CHECKPOINT, tasks_for
from bcprobe.model.transformer import ClickTransformer
from bcprobe.progress import Progress
from bcprobe.rng import split_seeds


def rollout(
    model: ClickTransformer | str | Path = DEFAULT_CHECKPOINT,
    tasks: str | Sequence[str] | None = None,
    n: int = 20,
    *,
    temperature: float = 0.0,
    split: str = "test",
    first: int = 0,
    seed: int = 0,
    layout: str = "original",
    difficulty: str = "default",
    max_steps: int = MAX_STEPS,
    device: str = "auto",
    progress: bool = True,
) -> list[Episode]:
    """Episodes worked by a model in closed loop: ``n`` of each task, their outcomes with them.

    ``model`` is a checkpoint (name, folder, hub id, ``NAME@FRAMES``) or a model in memory, which
    works where it is. ``tasks`` as `bcprobe.activations` takes them; worlds are ``first``,
    ``first + 1``... of a split. ``temperature`` 0 takes the likeliest click; ``seed`` makes the
    draws of others. Raises `InputError` for unknown names and numbers out of range.
    """
    worlds = split_seeds(split, at_least_one("n", n), first)
    names = tasks_for(tasks, model)
    if not isinstance(model, ClickTransformer):
        model = load_checkpoint(model, pick_device(device))
    shown: dict[str, Any] = {"layout": layout, "difficulty": difficulty, "max_steps": max_steps}
    precision = own_precision("auto", model.metadata, model.device)
    made: list[Episode] = []
    with Progress(len(names), shown=progress) as bar:
        for task in names:
            bar.advance(0, f"closed loop: {task}")
            reach = model.config.reach if temperature == 0 else None
            policy = ModelPolicy(model, temperature, seed, reach=reach)
            with products_in(precision, model.device):
                made += work(policy, task, worlds, origin="model", **shown)
            bar.advance()
    return made
