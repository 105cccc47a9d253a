"""Verbs about what is inside: probe, activations, figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcprobe.cli.console import number, print_json, print_table
from bcprobe.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointName,
    Device,
    Force,
    Json,
    Layout,
    Manner,
    Out,
    Seed,
    TaskNames,
    at_least_one,
)
from bcprobe.errors import InputError, check_name
from bcprobe.files import output_folder
from bcprobe.model.registry import tasks_for
from bcprobe.progress import track

if TYPE_CHECKING:
    from bcprobe.probes.result import ProbeResult

#: What a probe's score is held against: as hard a question, without the trained network's inside.
BASELINES = ("untrained", "pixels", "pixels_cnn", "previous_action", "click_history", "p_undo")
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
    out: Out = None,
    force: Force = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Read a latent from the residual stream, layer by layer, with controls.

    Tasks default to those the checkpoint was trained on. Over several tasks: within each,
    pooled, with each left out, and from each to each.
    """
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
    best = found.best
    where = f"{latent} ({found.metric}, {best.negatives} negatives) at {_short(best.site)}"
    title = f"{where}, {checkpoint}, {count} episodes of each task"
    if several:
        _print_tasks(found, title)
    else:
        rows = [
            [row.kind, row.negatives, _short(row.site), number(row), row.n]
            for row in found.table().itertuples()
            if row.token in ("", "cls") and (row.negatives != "all" or best.negatives == "all")
        ]
        print_table(["probe", "negatives", "site", f"{found.metric} [95 %]", "n"], rows, title)
    for name, reason in found.skipped.items():
        typer.echo(f"{name} is skipped: {reason}")
    if out is not None:
        typer.echo(f"wrote {out}: table, plot and direction card")
    typer.echo(_conclusion(found))


def _conclusion(found: ProbeResult) -> str:
    """The best layer with its score, and the highest baseline beside it, in one line."""
    best = found.best
    line = f"best: after layer {best.layer}, {best.negatives} negatives"
    if best.score is not None:
        line = f"{line}, {found.metric} {best.score} on episodes that did not choose it"
    known = {name: one for name, one in found.controls().items() if name in BASELINES}
    beside = found.baselines()
    alike = beside[beside["negatives"] == "errable"] if len(beside) else beside
    found_by = {row.kind: row.estimate for row in alike.itertuples()}
    if "probe" in found_by:  # compared with the probe on the same steps
        rest = {name: value for name, value in found_by.items() if name in BASELINES}
        highest = max(rest, key=rest.__getitem__, default="")
        shown = f", highest baseline {highest} {rest[highest]:.3f}" if rest else ""
        return f"{line}; errable negatives: probe {found_by['probe']:.3f}{shown}"
    if not known:
        return line
    highest = max(known, key=lambda name: known[name].estimate)
    return f"{line}; highest baseline: {highest} {known[highest].estimate:.3f}"


def _print_tasks(found: ProbeResult, title: str) -> None:
    """A row per task with a column per scheme, then the controls of the pooled probe."""
    summary = found.summary()
    schemes = [name for name in summary.columns if name != "task"]
    rows = [
        [row["task"], *("" if row[name] != row[name] else number(row[name]) for name in schemes)]
        for _, row in summary.iterrows()
    ]
    print_table(["task", *(name.replace("_", " ") for name in schemes)], rows, title)
    controls = [[name, number(score), score.n] for name, score in found.controls().items()]
    print_table(["control of the pooled probe", found.metric, "n"], controls)
    added = found.baselines()
    if len(added):
        shown = [[row.what, row.negatives, number(row), row.n] for row in added.itertuples()]
        print_table(["mean over tasks, within", "negatives", found.metric, "n"], shown)


def _short(site: str) -> str:
    """Site as a table shows it: ``0.resid_pre`` for ``blocks.0.hook_resid_pre``."""
    return site.replace("blocks.", "").replace("hook_", "")


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
    force: Force = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Write labelled activations as shards, for `datasets` or a trainer of one's own.

    A few episodes are in memory at a time; the same command again goes on where it stopped.
    """
    from bcprobe.activations.dataset import make_pool
    from bcprobe.activations.export import export

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
        bool, typer.Option("--recompute", help="Make the tables anew first, from checkpoints.")
    ] = False,
    json_: Json = False,
) -> None:
    """Draw figures (PDF and PNG) from their tables: NAME.parquet of each.

    With all, those whose tables are in the folder.
    """
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
