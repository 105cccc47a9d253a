"""Options that several verbs share, and how their values are checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcprobe.errors import at_least_one as at_least_one
from bcprobe.model.registry import DEFAULT_CHECKPOINT as DEFAULT_CHECKPOINT

DEFAULT_TASK = "colored_dot_tracking"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Seed = Annotated[int, typer.Option(help="Seed of every draw.", min=0)]
TaskName = Annotated[str, typer.Option("--task", help="Task name; `bcprobe tasks` lists them.")]
TaskNames = Annotated[
    list[str] | None,
    typer.Option("--task", "--tasks", help="Task name, may be repeated; or all."),
]
Layout = Annotated[str, typer.Option(help="Screen layout; `bcprobe tasks --json` lists them.")]
Difficulty = Annotated[str, typer.Option(help="easy, default or hard.")]
Manner = Annotated[
    str,
    typer.Option(help="How the annotators deal with mistakes: usual, graded or two_by_two."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: a GPU if there is one.")]
Threads = Annotated[
    int | None, typer.Option("--threads", help="CPU cores to use; default: all there are.", min=1)
]
CheckpointName = Annotated[
    str, typer.Option("--checkpoint", help="Checkpoint name, folder or hub id; NAME@FRAMES a step.")
]
Details = Annotated[bool, typer.Option("--details", help="Print every row, not the few.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what stands there.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for tables, figures and cards.")]


def task_names(given: list[str] | None, default: tuple[str, ...] = (DEFAULT_TASK,)) -> list[str]:
    """Names of the tasks asked for, each once; ``all`` stands for those trained on.

    Raises `InputError` with the nearest name.
    """
    from bcprobe.tasks import task_list

    return list(task_list(given or default))
