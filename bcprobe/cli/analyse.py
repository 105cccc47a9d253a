"""Verbs about what is inside: probe, intervene, figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    at_least_one,
)
from bcprobe.console import number, print_json, print_table, progress
from bcprobe.errors import check_name

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
    task: TaskName = DEFAULT_TASK,
    site: Annotated[
        list[str] | None, typer.Option(help="Hook name, may be repeated; default: every layer.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Counterfactual twins.")] = 100,
    loops: Annotated[int, typer.Option(help="Worlds worked closed loop.")] = 20,
    episodes: Annotated[int, typer.Option(help="Test episodes behind the direction.")] = 200,
    layout: Layout = "original",
    out: Out = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Steer, ablate and swap a latent's direction: the next click, and whole episodes."""
    check_name("latent", latent, LATENTS)
    from bcprobe.probes.steering import intervene as run
    from bcprobe.results import write_table

    found = run(
        checkpoint,
        task,
        latent,
        sites=site or None,
        pairs=at_least_one("--pairs", pairs),
        episodes=at_least_one("--episodes", episodes),
        loops=at_least_one("--loops", loops),
        seed=seed,
        layout=layout,
    )
    if out is not None:
        write_table(found.table(), out / "intervention.parquet")
    if json_:
        return print_json(found.as_dict())
    rows = [
        [_short(r.site), r.start, f"{r.operation} {r.direction}", r.alpha, r.metric, number(r), r.n]
        for r in found.table().itertuples()
    ]
    names = ["site", "after", "edit", "alpha", "metric", "estimate [95 %]", "n"]
    print_table(names, rows, f"{latent}, {checkpoint}, {task}, {found.pairs} pairs")


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
