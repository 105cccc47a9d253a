"""Verbs about many runs: study, experiments."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcprobe.cli.console import print_json, print_scores, print_table
from bcprobe.cli.options import Json, Seed, Threads, at_least_one
from bcprobe.studies import NAMES, SIZES, get_study

if TYPE_CHECKING:
    import pandas as pd

    from bcprobe.studies.study import Runs, StudyRun


def study(
    name: Annotated[str, typer.Argument(help=", ".join(NAMES))],
    plan: Annotated[
        bool, typer.Option("--plan", help="Only list the runs, with frames and time.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; default: runs/NAME-SIZE.")
    ] = None,
    size: Annotated[str, typer.Option(help=f"{', '.join(SIZES)}: how much is spent.")] = "cpu",
    jobs: Annotated[
        int | None, typer.Option(help="Runs at a time; default: one per GPU, one on a CPU.")
    ] = None,
    cluster: Annotated[
        str, typer.Option(help="here; slurm, or local to try submitit without one.")
    ] = "here",
    threads: Threads = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Carry out a study of several training runs, or resume it; one table comes out.

    Size tiny takes minutes, cpu hours, gpu minutes to hours of a large one; --plan tells before.
    Runs that are done stay done. A run that fails is named, the others continue, and the exit code
    is then 1. The same command again does what is left.
    """
    from bcprobe.machine import use_cores

    use_cores(threads)
    from bcprobe.studies.executors import make_executor
    from bcprobe.studies.sweep import carry_out, left
    from bcprobe.studies.sweep import plan as planned

    found = get_study(name)
    runs = planned(found, size, seed)
    folder = Path("runs") / f"{name}-{size}" if out is None else out
    todo = left(runs, folder)
    if plan:
        return _print_plan(f"{name}, size {size}", runs, todo, json_)
    executor = make_executor(
        cluster, None if jobs is None else at_least_one("--jobs", jobs), folder
    )
    command = ["bcprobe", "study", name, "--size", size, "--seed", str(seed)]
    with _Report(todo) as report:
        outcome = carry_out(found, runs, folder, executor, report, command=shlex.join(command))
    if outcome.table is None:
        for run, reason in outcome.failed.items():
            sys.stderr.write(f"{run}: {reason}\n")
        if json_:
            print_json({"study": name, "out": str(folder), "failed": dict(outcome.failed)})
        raise typer.Exit(1)
    if json_:
        rows = plain_rows(outcome.table)
        return print_json({"study": name, "out": str(folder), "failed": {}, "rows": rows})
    print_scores(outcome.table, f"{name}, size {size}")
    typer.echo(f"{folder / name}.parquet: {len(outcome.table)} rows")


def _print_plan(title: str, runs: Runs, todo: Runs, json_: bool) -> None:
    missing = {run.name for run in todo}
    if json_:
        listed = [
            {
                "name": run.name,
                "frames": run.frames,
                "seconds": round(run.seconds),
                "needs": list(run.needs),
                "done": run.name not in missing,
                "parameters": run.parameters,
            }
            for run in runs
        ]
        return print_json({"runs": listed, "seconds_left": round(_total(todo))})
    rows = [
        [run.name, f"{run.frames:,}", duration(run.seconds), "" if run.name in missing else "yes"]
        for run in runs
    ]
    frames = sum(run.frames for run in todo)
    rows.append(["left", f"{frames:,}", duration(_total(todo)), f"{len(todo)} of {len(runs)}"])
    columns = ["run", "frames", "time", "done"]
    print_table(columns, rows, f"{title}: frames to learn from, time on one core or one GPU")


def _total(runs: Runs) -> float:
    return sum(run.seconds for run in runs)


def duration(seconds: float) -> str:
    """Time in minutes, hours or days, whichever is short."""
    if seconds < 30:
        return "< 1 min"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


class _Report:
    """A bar by estimated time, and a line for each run that ended."""

    def __init__(self, runs: Runs) -> None:
        from bcprobe.progress import Progress

        self.bar = Progress(_total(runs) or 1.0)
        self.count, self.ended = len(runs), 0

    def __enter__(self) -> _Report:
        self.bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.__exit__(*error)

    def __call__(self, run: StudyRun, reason: str | None) -> None:
        """Show that a run begins (None), ended (empty) or failed."""
        if reason is None:
            self.bar.advance(0, f"{self.ended}/{self.count} {run.name}")
            return
        self.ended += 1
        self.bar.advance(run.seconds)
        self.bar.write(f"{self.ended}/{self.count} {run.name}: {reason or 'done'}")


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON holds them: nan is None, counts are whole."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{**row, "n": int(row["n"])} for row in rows]


def experiments(json_: Json = False) -> None:
    """List the named experiments of `bcprobe train`: tasks, size, frames, estimated time.

    Your own choice of tasks: `bcprobe train --task NAME`. Your own experiment, a function in
    bcprobe/experiments.py: docs/train_your_own.md.
    """
    import torch

    from bcprobe.experiments import EXPERIMENTS
    from bcprobe.model.transformer import ClickTransformer
    from bcprobe.studies.costs import RATES

    found = []
    for name, make in EXPERIMENTS.items():
        plan = make()
        with torch.device("meta"):
            model = ClickTransformer(plan.model)
        seconds = {device: RATES[device].training(plan.model, plan.frames) for device in RATES}
        found.append(
            {
                "name": name,
                "about": _about(make.__doc__ or ""),
                "tasks": list(plan.data.tasks),
                "parameters": sum(weights.numel() for weights in model.parameters()),
                "frames": plan.frames,
                "seconds": {device: round(value) for device, value in seconds.items()},
            }
        )
    if json_:
        return print_json({"experiments": found})
    rows = [
        [
            one["name"],
            len(one["tasks"]),
            f"{one['parameters'] / 1e6:.1f} M",
            f"{one['frames']:,}",
            *(duration(value) for value in one["seconds"].values()),
        ]
        for one in found
    ]
    columns = ["experiment", "tasks", "parameters", "frames", "one core", "one GPU"]
    print_table(columns, rows, "bcprobe train --experiment NAME --out FOLDER")
    typer.echo(
        "estimates for a core with products in bfloat16 (one without takes twice as long); "
        "two cores halve them"
    )
    for one in found:
        typer.echo(f"{one['name']}: {one['about']}")


def _about(text: str) -> str:
    """First line of a docstring; names of other experiments as they are typed."""
    return re.sub(r"`(\w+)`", lambda name: name[1].replace("_", "-"), text.splitlines()[0])
