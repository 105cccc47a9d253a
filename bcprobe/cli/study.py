"""The verb that carries out a study: plan, run, resume."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcprobe.cli.console import print_json, print_scores, print_table
from bcprobe.cli.options import Json, Seed, at_least_one
from bcprobe.studies import NAMES, SIZES, get_study

if TYPE_CHECKING:
    import pandas as pd

    from bcprobe.studies.study import Member, Members
    from bcprobe.studies.sweep import Say


def experiment(
    name: Annotated[str, typer.Argument(help=", ".join(NAMES))],
    plan: Annotated[
        bool, typer.Option("--plan", help="Only list the members, with frames and time.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; default: runs/NAME-SIZE.")
    ] = None,
    size: Annotated[str, typer.Option(help=f"{', '.join(SIZES)}: how much is spent.")] = "cpu",
    jobs: Annotated[
        int | None, typer.Option(help="Members at a time; default: one per GPU, one on a CPU.")
    ] = None,
    cluster: Annotated[
        str, typer.Option(help="here; slurm, or local to try submitit without one.")
    ] = "here",
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Carry out a study of several runs, or go on with it; one table comes out.

    Members that are done stay done. One that fails is named and the rest goes on; the exit code
    is then 1. The same command again does what is left.
    """
    from bcprobe.studies.executors import make_place
    from bcprobe.studies.sweep import left, run
    from bcprobe.studies.sweep import plan as planned

    study = get_study(name)
    members = planned(study, size, seed)
    folder = Path("runs") / f"{name}-{size}" if out is None else out
    todo = left(members, folder)
    if plan:
        return _print_plan(f"{name}, size {size}", members, todo, json_)
    place = make_place(cluster, None if jobs is None else at_least_one("--jobs", jobs), folder)
    command = ["bcprobe", "experiment", name, "--size", size, "--seed", str(seed)]
    with _Told(todo) as say:
        found = run(study, members, folder, place, say, command=shlex.join(command))
    if found.table is None:
        for member, reason in found.failed.items():
            sys.stderr.write(f"{member}: {reason}\n")
        if json_:
            print_json({"study": name, "out": str(folder), "failed": dict(found.failed)})
        raise typer.Exit(1)
    if json_:
        rows = plain_rows(found.table)
        return print_json({"study": name, "out": str(folder), "failed": {}, "rows": rows})
    print_scores(found.table, f"{name}, size {size}")
    typer.echo(f"{folder / name}.parquet: {len(found.table)} rows")


def _print_plan(title: str, members: Members, todo: Members, json_: bool) -> None:
    missing = {one.name for one in todo}
    if json_:
        listed = [
            {
                "name": one.name,
                "frames": one.frames,
                "seconds": round(one.seconds),
                "needs": list(one.needs),
                "done": one.name not in missing,
                "parameters": one.parameters,
            }
            for one in members
        ]
        return print_json({"members": listed, "seconds_left": round(_total(todo))})
    rows = [
        [one.name, f"{one.frames:,}", minutes(one.seconds), "" if one.name in missing else "yes"]
        for one in members
    ]
    frames = sum(one.frames for one in todo)
    rows.append(["left", f"{frames:,}", minutes(_total(todo)), f"{len(todo)} of {len(members)}"])
    columns = ["member", "frames", "time", "done"]
    print_table(columns, rows, f"{title}: frames to learn from, time on one core or one GPU")


def _total(members: Members) -> float:
    return sum(member.seconds for member in members)


def minutes(seconds: float) -> str:
    """Time in minutes, or hours and minutes."""
    whole = round(seconds / 60)
    if whole < 1:
        return "< 1 min"
    return f"{whole} min" if whole < 100 else f"{whole // 60} h {whole % 60:02d} min"


class _Told:
    """Something to tell of members: a bar by estimated time on a terminal, lines elsewhere."""

    def __init__(self, members: Members) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self.terminal = console.is_terminal
        self.bar = Progress(console=console, transient=True, disable=not self.terminal)
        self.task = self.bar.add_task("", total=_total(members) or 1.0)
        self.count, self.ended = len(members), 0

    def __enter__(self) -> Say:
        self.bar.start()
        return self.tell

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def tell(self, member: Member, reason: str | None) -> None:
        """Show that a member begins (None) or ended."""
        if reason is None:
            self.bar.update(self.task, description=f"{self.ended}/{self.count} {member.name}")
            return
        self.ended += 1
        self.bar.update(self.task, advance=member.seconds)
        if reason or not self.terminal:
            line = f"{self.ended}/{self.count} {member.name}: {reason or 'done'}"
            self.bar.console.print(line, highlight=False, soft_wrap=True, markup=False)


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON holds them: nan is None, counts are whole."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{**row, "n": int(row["n"])} for row in rows]
