"""Verbs about what is inside: probe, activations, figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bcprobe.cli.console import print_json
from bcprobe.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointName,
    Details,
    Device,
    Force,
    Json,
    Layout,
    Manner,
    Out,
    Seed,
    TaskNames,
    Threads,
    at_least_one,
)
from bcprobe.cli.report import conclusion, print_probe
from bcprobe.errors import InputError, check_name
from bcprobe.files import output_folder
from bcprobe.machine import use_cores
from bcprobe.model.registry import tasks_for
from bcprobe.progress import track

LATENTS = ("mistake", "phase", "position", "progress", "undo_next", "mistake_kind")


def probe(
    latent: Annotated[str, typer.Option(help=", ".join(LATENTS))] = "mistake",
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskNames = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Hook name, may be repeated; default: every layer.")
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            help="Test episodes of each task; default: 200 of one, 40 of each of several."
        ),
    ] = None,
    rigor: Annotated[
        str,
        typer.Option(help="default, or full: more refits, complexity, CNN, five untrained models."),
    ] = "default",
    own: Annotated[
        int, typer.Option(help="Episodes of each task that the model works itself, to test on.")
    ] = 0,
    layout: Layout = "original",
    manner: Manner = "usual",
    device: Device = "auto",
    threads: Threads = None,
    details: Details = False,
    out: Out = None,
    force: Force = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Read a latent from the residual stream, layer by layer, with controls.

    Tasks default to those the checkpoint was trained on. Over several tasks: within each,
    pooled (fitted on all), with each left out (fitted on the others), and from each to each. Nine
    tasks of a nano network take a minute or two on two cores, and seconds when repeated.
    """
    use_cores(threads)
    check_name("latent", latent, LATENTS)
    tasks = list(tasks_for(task, checkpoint))
    several = len(tasks) > 1
    usual = 40 if several else 200
    count = at_least_one("--episodes", usual if episodes is None else episodes)
    options: dict[str, Any] = {
        "sites": site or None,
        "episodes": count,
        "seed": seed,
        "layout": layout,
        "manner": manner,
        "device": device,
        "rigor": check_name("rigor", rigor, ("default", "full")),
    }
    names = (f"{latent}_probe.{kind}" for kind in ("parquet", "json", "pdf", "png"))
    cards = ("card.json", "direction.safetensors", "README.md")
    files = None if out is None else output_folder(out, (*names, *cards), force=force)
    from bcprobe.probes.protocol import run

    found = run(latent, checkpoint, tasks, own=own, **options)
    if files is not None:
        from bcprobe.figures import style

        with files as folder:
            found.write(folder, lambda table, *where: style.save(found.plot(), *where))
    if json_:
        return print_json(found.as_dict())
    print_probe(found, checkpoint, count, details=details)
    if out is not None:
        typer.echo(f"wrote {out}: table, plot and direction card")
    typer.echo(conclusion(found))


def activations(
    out: Annotated[Path, typer.Option("--out", help="Folder of the shards: new, or half done.")],
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskNames = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Hook name, may be repeated; default: every layer.")
    ] = None,
    token: Annotated[
        list[str] | None, typer.Option(help="cls, placed, previous; default: cls and placed.")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Test episodes of each task.")] = 40,
    format: Annotated[str, typer.Option(help="parquet or safetensors.")] = "parquet",
    layout: Layout = "original",
    manner: Manner = "usual",
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Write labelled activations as shards, for `datasets` or a trainer of one's own.

    A few episodes are in memory at a time; the same command again goes on where it stopped.
    """
    from bcprobe.activations.dataset import make_pool
    from bcprobe.activations.export import export

    use_cores(threads)
    pool = make_pool(
        checkpoint,
        tasks_for(task, checkpoint),
        at_least_one("--episodes", episodes),
        sites=site or None,
        tokens=token or ("cls", "placed"),
        seed=seed,
        layout=layout,
        manner=manner,
        untrained=0,
    )
    made = export(pool.sources, out, format, force=force, device=device)
    files = sorted(path.name for path in made.iterdir())
    if json_:
        return print_json({"out": str(made), "files": files})
    typer.echo(f"wrote {made}: {len(files)} files, {pool.episodes} episodes")


def figure(
    name: Annotated[str, typer.Argument(help="Figure name, or all.")] = "all",
    tables: Annotated[Path, typer.Option("--from", help="Folder of the tables.")] = Path("figures"),
    out: Annotated[
        Path | None, typer.Option(help="Folder to draw into; default: that of the tables.")
    ] = None,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="Make the tables anew first, from checkpoints: minutes each, some hours.",
        ),
    ] = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Draw figures (PDF and PNG) from their tables: NAME.parquet of each.

    With all, those whose tables are in the folder.
    """
    use_cores(threads)
    from bcprobe.figures import FIGURES, redraw

    names = list(FIGURES) if name == "all" else [check_name("figure", name, FIGURES)]
    if recompute:
        from bcprobe.results import write_table
        from bcprobe.tables import TABLES

        for one in track(names, "tables"):
            write_table(TABLES[one](), tables / f"{one}.parquet")
    there = [one for one in names if (tables / f"{one}.parquet").is_file()]
    if not there:
        raise InputError(f"no table '{tables / names[0]}.parquet'; say where it is with --from")
    folder = tables if out is None else out
    files = [str(path) for one in track(there, "figures") for path in redraw(one, tables, folder)]
    if json_:
        return print_json({"figures": there, "files": files})
    typer.echo("\n".join(files))
