"""Verbs about models: train, evaluate, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcprobe.cli.console import print_json, print_scores, print_table
from bcprobe.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointName,
    Device,
    Force,
    Json,
    Layout,
    Out,
    Seed,
    TaskNames,
    Threads,
    at_least_one,
)
from bcprobe.errors import InputError


def train(
    out: Annotated[Path, typer.Option(help="Folder of the run: new, or its own with --resume.")],
    experiment: Annotated[
        str | None, typer.Option(help="Name of an experiment; tiny takes seconds.")
    ] = None,
    task: TaskNames = None,
    frames: Annotated[int | None, typer.Option(help="Length of the run; default: its own.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="End after so much time, however many frames that is.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(help="Checkpoint of the same shape to start from: name or folder.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes that make episodes.")] = 1,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the model.")] = None,
    accumulation: Annotated[
        int | None, typer.Option(help="Parts of a step, one after another; more need less memory.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of matrix products: bf16, fp32, or auto: the faster here.")
    ] = "auto",
    log: Annotated[str, typer.Option(help="none, tensorboard or wandb.")] = "none",
    seed: Annotated[int | None, typer.Option(help="Seed of data and weights.", min=0)] = None,
    json_: Json = False,
) -> None:
    """Train a named experiment, or the nano network on tasks of your choice (--task).

    Episodes are made on the fly. On two cores about 600 frames a second: dots-nano takes a quarter
    of an hour, nine-nano an hour; `bcprobe experiments` lists all with estimated times, and
    docs/train_your_own.md says how to write one.
    Ctrl-C, SIGTERM and SIGUSR1 finish the step and save. Started by `accelerate launch` or
    `torchrun`, the processes share each batch.
    """
    import os
    import time

    began = time.monotonic()

    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch: huge pages, a third faster
    from dataclasses import replace

    from bcprobe.experiments import get_experiment, nano_of
    from bcprobe.training.loop import train as run
    from bcprobe.training.processes import launched_as_main

    if (experiment is None) == (not task):
        raise InputError("say what to train: --experiment NAME, or --task NAME (may be repeated)")
    plan = nano_of(task) if task else get_experiment(experiment or "")
    if seed is not None:
        plan = replace(plan, model_seed=seed, data=replace(plan.data, seed=seed))
    folder = run(
        plan,
        out,
        resume=resume,
        frames=frames,
        minutes=minutes,
        elapsed=time.monotonic() - began,
        start_from=start_from,
        device=device,
        workers=at_least_one("--workers", workers),
        threads=threads,
        accumulation=accumulation,
        log=log,
        precision=precision,
    )
    if not launched_as_main():
        return None
    if json_:
        return print_json({"out": str(folder), "experiment": plan.name})
    typer.echo(f"wrote {folder}: the checkpoint")
    typer.echo(f"next: bcprobe evaluate --checkpoint {folder}")


def evaluate(
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskNames = None,
    episodes: Annotated[int, typer.Option(help="Test worlds.")] = 20,
    temperature: Annotated[list[float] | None, typer.Option(help="May be repeated.")] = None,
    section: Annotated[
        list[str] | None,
        typer.Option(
            help="teacher_forced, grounding, closed_loop, forced_mistakes, copycat; default: all."
        ),
    ] = None,
    layout: Layout = "original",
    workers: Annotated[
        int | None, typer.Option(help="Tasks evaluated side by side; default: one a core.", min=1)
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    precision: Annotated[
        str, typer.Option(help="Matrix products: bf16, fp32, or auto (as the checkpoint asks).")
    ] = "auto",
    card: Annotated[
        bool, typer.Option("--card", help="Write the checkpoint's README.md from the scores.")
    ] = False,
    details: Annotated[
        bool, typer.Option("--details", help="Print every score, not the few of the summary.")
    ] = False,
    out: Out = None,
    force: Force = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Measure a checkpoint on unseen worlds: teacher-forced, closed loop, forced mistakes.

    Default: the tasks that the checkpoint was trained on. 20 episodes of one task take half a
    minute of a core or more, the nine tasks some minutes.
    """
    from bcprobe.machine import use_cores
    from bcprobe.model.registry import tasks_for

    use_cores(threads)
    tasks_for(task, checkpoint)  # names that there are not are told before torch is loaded
    from bcprobe.evaluation.model_card import write_model_card
    from bcprobe.evaluation.suite import SECTIONS
    from bcprobe.evaluation.suite import evaluate as run
    from bcprobe.evaluation.summary import tables
    from bcprobe.files import output_folder
    from bcprobe.machine import pick_device
    from bcprobe.results import write_table

    files = None if out is None else output_folder(out, ("evaluation.parquet",), force=force)
    found = run(
        checkpoint,
        task,
        episodes,
        temperature or (0.0, 0.5, 1.0),
        seed,
        layout=layout,
        sections=section or list(SECTIONS),
        device=pick_device(device),
        precision=precision,
        workers=workers,
    )
    if files is not None:
        with files as folder:
            write_table(found.table(), folder / "evaluation.parquet")
    if card:
        write_model_card(found)
    if json_:
        return print_json(found.as_dict())
    if details:
        for (name, part), scores in found.table().groupby(["task", "section"], sort=False):
            print_scores(scores.drop(columns=["task", "section"]), f"{name}: {part}")
        return None
    for title, columns, rows in tables(found.table()):
        print_table(columns, rows, title)


def checkpoints(json_: Json = False) -> None:
    """List the checkpoints: parameters, frames learned from, tasks, saved steps."""
    from bcprobe.model.registry import checkpoint_folders
    from bcprobe.model.registry import checkpoints as listed

    table, folders = listed(), [str(folder) for folder in checkpoint_folders()]
    if json_:
        found = table.rename(columns={"checkpoint": "name"}).to_dict("records")
        return print_json({"folders": folders, "checkpoints": found})
    rows = [
        [
            row.checkpoint,
            f"{row.parameters / 1e6:.1f} M",
            "" if row.frames is None else f"{row.frames:,}",
            len(row.tasks),
            row.head,
            ", ".join(map(str, row.steps)),
        ]
        for row in table.itertuples()
    ]
    columns = ["checkpoint", "size", "frames", "tasks", "head", "steps (NAME@FRAMES)"]
    print_table(columns, rows)
    typer.echo(f"default: {DEFAULT_CHECKPOINT}; size in parameters; looked in {', '.join(folders)}")
