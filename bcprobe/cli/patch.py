"""The verbs that change activations: swaps between twins, directions moved and erased."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bcprobe.cli.console import print_json
from bcprobe.cli.options import (
    DEFAULT_CHECKPOINT,
    DEFAULT_TASK,
    CheckpointName,
    Details,
    Device,
    Force,
    Json,
    Layout,
    Out,
    Seed,
    TaskName,
    TaskNames,
    Threads,
    at_least_one,
)
from bcprobe.cli.report import (
    print_patching,
    print_steering,
    strongest_cell,
    strongest_direction,
)
from bcprobe.machine import use_cores


def patch(
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskName = DEFAULT_TASK,
    pairs: Annotated[int, typer.Option(help="Pairs of twins.")] = 24,
    shift: Annotated[
        float | None,
        typer.Option(help="Pairs of worlds: the same right click, the truth so many px further."),
    ] = None,
    lags: Annotated[
        int, typer.Option(help="Frames after the placement, the mistake standing in all of them.")
    ] = 1,
    component: Annotated[
        list[str] | None,
        typer.Option(
            help="resid, attn_out, mlp_out, z, q, k, v, pattern, memory; may be repeated."
        ),
    ] = None,
    tokens: Annotated[
        list[str] | None,
        typer.Option(
            help="cls, placed, undo, previous, others, patches, registers, all; may be repeated."
        ),
    ] = None,
    layer: Annotated[list[int] | None, typer.Option(help="Layer, may be repeated.")] = None,
    layout: Layout = "original",
    details: Details = False,
    device: Device = "auto",
    threads: Threads = None,
    out: Out = None,
    force: Force = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Swap activations between twins, one right and one wrong: where is the mistake?

    By layer, token group, frame and component. 0: nothing changes; 1: the answer becomes the
    other side's. With --shift the sides are two worlds, not two clicks. Components of attention
    are taken head by head. 24 pairs of a nano network take half a minute on two cores.
    """
    device = _checked([task], checkpoint, device)
    from bcprobe.files import output_folder
    from bcprobe.interventions.maps import patch as run
    from bcprobe.interventions.pairs import twins
    from bcprobe.model.checkpoint import load_checkpoint

    at_least_one("--lags", lags)
    use_cores(threads)
    names = ("patching.parquet", "patching.pdf", "patching.png")
    files = None if out is None else output_folder(out, names, force=force)
    model = load_checkpoint(checkpoint, device)
    count = at_least_one("--pairs", pairs)
    made = twins(task, count, lags=lags, layout=layout, shift=shift, seed=seed)
    given: dict[str, Any] = {"components": component} if component else {}
    found = run(
        model, made, tokens=tokens or None, layers=layer or None, progress=not json_, **given
    )
    table = found.table()
    if files is not None:
        with files as folder:
            _write(folder, found)
    if json_:
        return print_json(found.as_dict())
    moved = "" if shift is None else f", truth moved {shift:g} px"
    print_patching(table, f"{checkpoint}, {task}, {len(made)} pairs{moved}", details=details)
    if out is not None:
        typer.echo(f"wrote {out}: table and figure")
    typer.echo(strongest_cell(table))


def _checked(tasks: list[str], checkpoint: str, device: str) -> str:
    """The device's name; names that there are not are told before torch is loaded."""
    from bcprobe.machine import pick_device
    from bcprobe.model.registry import find_checkpoint
    from bcprobe.tasks import task_list

    if tasks:
        task_list(tasks)
    find_checkpoint(checkpoint)
    return pick_device(device)


def _write(out: Path, found: Any) -> None:
    from bcprobe.figures import style
    from bcprobe.results import write_table

    table = found.table()
    write_table(table, out / "patching.parquet")
    if "resid" in set(table["component"]):
        style.save(found.plot(), out, "patching")


def _write_steering(out: Path, found: Any) -> None:
    from bcprobe.figures import style
    from bcprobe.results import write_table

    tables = {"directions": found.directions, "erasure": found.erasure, "steered": found.loop}
    for name, table in tables.items():
        if len(table):
            write_table(table, out / f"{name}.parquet")
    style.save(found.plot(), out, "directions")


def steer(
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskNames = None,
    pairs: Annotated[int, typer.Option(help="Twins of each task to test on.")] = 16,
    fitted: Annotated[int, typer.Option(help="Other twins of each task to fit on.")] = 28,
    worlds: Annotated[int, typer.Option(help="Worlds of each task worked closed loop.")] = 8,
    details: Details = False,
    device: Device = "auto",
    threads: Threads = None,
    out: Out = None,
    force: Force = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Move along the mistake's directions, or erase them, at the sites that swaps name.

    Logistic, difference of means, LDA and alignment search, each from the task itself and from
    the others, against 100 random directions; LEACE and iterated projection; then whole episodes.
    Tasks default to those the checkpoint was trained on.
    """
    device = _checked(task or [], checkpoint, device)
    from bcprobe.files import output_folder
    from bcprobe.interventions.steer import steer as run
    from bcprobe.model.checkpoint import load_checkpoint
    from bcprobe.model.registry import tasks_for

    tasks = list(tasks_for(task, checkpoint))
    use_cores(threads)
    names = ("directions.parquet", "erasure.parquet", "directions.pdf", "directions.png")
    more = ("steered.parquet",) if worlds else ()
    files = None if out is None else output_folder(out, (*names, *more), force=force)
    model = load_checkpoint(checkpoint, device)
    found = run(
        model,
        tasks,
        pairs=at_least_one("--pairs", pairs),
        fitted=at_least_one("--fitted", fitted),
        worlds=worlds,
        seed=seed,
        progress=not json_,
    )
    if files is not None:
        with files as folder:
            _write_steering(folder, found)
    if json_:
        return print_json(found.as_dict())
    print_steering(found.directions, checkpoint, details=details)
    if out is not None:
        typer.echo(f"wrote {out}: tables and figure")
    typer.echo(strongest_direction(found.directions))
