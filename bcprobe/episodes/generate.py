"""Annotators' episodes by task and number, from worlds of a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bcprobe.annotators.persona import MANNERS
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.errors import at_least_one, check_name
from bcprobe.gui.layouts import get_layout
from bcprobe.parallel import in_processes
from bcprobe.progress import Progress
from bcprobe.rng import split_seed, split_seeds
from bcprobe.tasks import get_task, task_list

#: Episodes of a job for another process.
JOB = 8


def episode(
    task: str = "colored_dot_tracking",
    seed: int = 0,
    *,
    split: str = "test",
    layout: str = "original",
    difficulty: str = "default",
    annotator_seed: int | None = None,
    **options: Any,
) -> Episode:
    """The annotator's episode in world number ``seed`` of a split, by default of ``test``.

    ``split`` is ``train``, ``validation`` or ``test``; their worlds never meet. ``annotator_seed``
    draws the persona and its clicks (default: that of the world). Further ``options`` are those of
    `bcprobe.episodes.record.generate`. Raises `InputError` for unknown names and negative seeds.
    """
    (name,) = task_list((task,))
    shown: dict[str, Any] = {"layout": layout, "difficulty": difficulty, **options}
    return generate(name, split_seed(split, seed), annotator_seed=annotator_seed, **shown)


def episodes(
    tasks: str | Sequence[str] = "all",
    n: int = 20,
    *,
    split: str = "test",
    first: int = 0,
    layout: str = "original",
    difficulty: str = "default",
    manner: str = "usual",
    hash_frames: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> list[Episode]:
    """Annotators' episodes: ``n`` of each task, in worlds ``first``, ``first + 1``... of a split.

    All cores work at them. ``manner`` is one of `bcprobe.annotators.persona.MANNERS`.
    ``hash_frames`` composes every frame to fill `Episode.frame_hash`.
    Raises `InputError` for unknown names, and for numbers below 1.
    """
    shown = {"layout": layout, "difficulty": difficulty, "hash_frames": hash_frames}
    shown["manner"] = check_name("manner", manner, MANNERS)
    worlds = split_seeds(split, at_least_one("n", n), first)
    chosen = task_list(tasks)
    get_layout(layout)
    for task in chosen:
        check_name("difficulty", difficulty, get_task(task).settings)
    jobs = [
        (task, worlds[start : start + JOB], shown)
        for task in chosen
        for start in range(0, len(worlds), JOB)
    ]
    made: list[Episode] = []
    with Progress(len(jobs), shown=progress) as bar:
        for job, part in zip(jobs, in_processes(_generate, jobs, workers), strict=True):
            made += part
            bar.advance(label=f"episodes: {job[0]}")
    return made


def _generate(job: tuple[str, list[int], dict[str, Any]]) -> list[Episode]:
    task, seeds, shown = job
    return [generate(task, seed, **shown) for seed in seeds]
