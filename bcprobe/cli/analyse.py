"""Verbs about what is inside: probe, intervene, figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcprobe.cli.options import (
    DEFAULT_CHECKPOINT,
    DEFAULT_TASK,
    CheckpointName,
    Json,
    Layout,
    Out,
    Seed,
    TaskName,
    TaskNames,
    at_least_one,
    tasks_of,
)
from bcprobe.console import number, print_json, print_table, progress
from bcprobe.errors import check_name

if TYPE_CHECKING:
    import pandas as pd

LATENTS = ("mistake", "phase", "position", "progress", "undo_next", "mistake_kind")


def probe(
    latent: Annotated[str, typer.Option(help=", ".join(LATENTS))] = "mistake",
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskName = DEFAULT_TASK,
    site: Annotated[
        list[str] | None, typer.Option(help="Hook name, may be repeated; default: every layer.")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Test episodes.")] = 200,
    layout: Layout = "original",
    out: Out = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Read a latent from the residual stream, layer by layer, with controls."""
    check_name("latent", latent, LATENTS)
    from bcprobe.probes.run import run

    found = run(
        latent,
        checkpoint,
        task,
        sites=site or None,
        episodes=at_least_one("--episodes", episodes),
        seed=seed,
        layout=layout,
    )
    if out is not None:
        from bcprobe.figures import probe_layers, style

        found.write(out, lambda table, *where: style.save(probe_layers.plot(table), *where))
    if json_:
        return print_json(found.as_dict())
    title = f"{latent} ({found.metric}), {checkpoint}, {task}, {episodes} episodes"
    rows = [
        [row.kind, row.negatives, _short(row.site), number(row), row.n]
        for row in found.table().itertuples()
    ]
    print_table(["probe", "negatives", "site", f"{found.metric} [95 %]", "n"], rows, title)
    if out is not None:
        typer.echo(f"{out}: table, plot and direction card")


def _short(site: str) -> str:
    """Site as a table shows it: ``0.resid_pre`` for ``blocks.0.hook_resid_pre``."""
    return site.replace("blocks.", "").replace("hook_", "")


def intervene(
    latent: Annotated[str, typer.Option(help="mistake or undo_next.")] = "mistake",
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskNames = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Hook name, may be repeated; default: every layer.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Counterfactual twins of each task.")] = 40,
    loops: Annotated[int, typer.Option(help="Worlds of each task worked closed loop.")] = 10,
    episodes: Annotated[int, typer.Option(help="Test episodes of each task to fit on.")] = 60,
    layout: Layout = "original",
    out: Out = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Steer, ablate and swap a latent's direction: the next click, and whole episodes.

    Tasks default to those the checkpoint was trained on; with several, each is also moved
    along the direction fitted on all the others.
    """
    check_name("latent", latent, LATENTS)
    tasks = tasks_of(checkpoint, task)
    from bcprobe.probes.steering import intervene as run
    from bcprobe.results import write_table

    found = run(
        checkpoint,
        tasks,
        latent,
        sites=site or None,
        pairs=at_least_one("--pairs", pairs),
        episodes=at_least_one("--episodes", episodes),
        loops=at_least_one("--loops", loops),
        seed=seed,
        layout=layout,
    )
    if out is not None:
        from bcprobe.figures import steering, style

        write_table(found.table(), out / "intervention.parquet")
        style.save(steering.plot(found.table()), out, "intervention")
    if json_:
        return print_json(found.as_dict())
    shown = found.table()
    if len(tasks) > 1:
        shown = shown[shown["task"] == "all"]
    which = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks together"
    title = f"{latent}, {checkpoint}, {which}"
    _print_effects(shown[shown["metric"] == "p_undo"], f"P(Undo), {title}, {found.pairs} pairs")
    _print_effects(shown[shown["start"] == "episode"], f"closed loop at T = 1, {title}")


def _print_effects(table: pd.DataFrame, title: str) -> None:
    """A row for each edit; a column for each twin or, of episodes, for each metric."""
    across = "metric" if (table["start"] == "episode").all() else "start"
    edits = table.groupby(["site", "operation", "direction", "alpha"], sort=False)
    columns = list(dict.fromkeys(table[across].str.replace("_", " ")))
    rows = [
        [_short(site), f"{operation} {direction}", dose, *map(number, part.itertuples())]
        for (site, operation, direction, dose), part in edits
    ]
    print_table(["site", "edit", "alpha", *columns], rows, title)


def figure(
    name: Annotated[str, typer.Argument(help="Figure name, or all.")] = "all",
    out: Annotated[Path, typer.Option(help="Folder of tables and figures.")] = Path("figures"),
    recompute: Annotated[bool, typer.Option(help="Make the tables anew first.")] = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Redraw figures (PDF and PNG) from the tables they were saved with."""
    from bcprobe.figures import FIGURES, redraw

    names = list(FIGURES) if name == "all" else [check_name("figure", name, FIGURES)]
    if recompute:
        from bcprobe.results import write_table
        from bcprobe.tables import TABLES

        for one in progress(names, "tables"):
            write_table(TABLES[one](), out / f"{one}.parquet")
    files = [str(path) for one in progress(names, "figures") for path in redraw(one, out)]
    if json_:
        return print_json({"figures": names, "files": files})
    typer.echo("\n".join(files))
