"""The verb that swaps activations between twins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bcprobe.cli.console import number, print_json, print_table
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


def patch(
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskName = DEFAULT_TASK,
    pairs: Annotated[int, typer.Option(help="Pairs of twins.")] = 24,
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
    out: Out = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Swap activations between twins, one right and one wrong: where is the mistake?

    By layer, token group, frame and component. 0: nothing changes; 1: the answer becomes the
    other twin's. Components of attention are taken head by head.
    """
    from bcprobe.interventions.maps import patch as run
    from bcprobe.interventions.pairs import twins
    from bcprobe.model.checkpoint import load_checkpoint

    at_least_one("--lags", lags)
    model = load_checkpoint(checkpoint)
    made = twins(task, at_least_one("--pairs", pairs), lags=lags, layout=layout, seed=seed)
    given: dict[str, Any] = {"components": component} if component else {}
    found = run(
        model, made, tokens=tokens or None, layers=layer or None, progress=not json_, **given
    )
    table = found.table()
    if out is not None:
        _write(out, found)
    if json_:
        return print_json(found.as_dict())
    title = f"{checkpoint}, {task}, {len(made)} pairs"
    effects = table[table["metric"] == "effect"]
    for (name, start, lag, later), part in effects.groupby(
        ["component", "start", "lag", "later"], sort=False
    ):
        where = f"{name}, {start} twin edited" + _when(lag, later)
        layers = sorted(part["layer"].unique())
        keys = ["tokens"] if part["head"].isna().all() else ["tokens", "head"]
        rows = []
        for key, own in part.groupby(keys, sort=False):
            label = key[0] if len(keys) == 1 else f"{key[0]}, head {key[1]:.0f}"
            by_layer = {row.layer: number(row) for row in own.itertuples()}
            rows.append([label, *(by_layer.get(one, "") for one in layers)])
        print_table(["tokens", *(f"{one:.0f}" for one in layers)], rows, f"{title}: {where}")
    if out is not None:
        typer.echo(f"wrote {out}: table and figure")


def _when(lag: int, later: int) -> str:
    if later == 0:
        return ""
    return f", frame {lag} after the placement, asked at {later}"


def _write(out: Path, found: object) -> None:
    from bcprobe.figures import style
    from bcprobe.results import write_table

    table = found.table()  # type: ignore[attr-defined]
    write_table(table, out / "patching.parquet")
    if "resid" in set(table["component"]):
        style.save(found.plot(), out, "patching")  # type: ignore[attr-defined]
