"""The verb that serves annotating, watching and exploring to a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcprobe.cli.console import print_json
from bcprobe.cli.options import DEFAULT_CHECKPOINT, CheckpointName, Json
from bcprobe.errors import InputError


def serve(
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8765,
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder of episodes to explore; may be repeated.")
    ] = None,
    store: Annotated[Path, typer.Option(help="File that keeps the sessions.")] = Path(
        "bcprobe-sessions.sqlite"
    ),
    host: Annotated[
        str, typer.Option(help="Another address than this machine's own; asks for a token.")
    ] = "127.0.0.1",
    open_: Annotated[bool, typer.Option("--open", help="Open a browser at it.")] = False,
    export: Annotated[
        Path | None, typer.Option(help="Only write the kept sessions as Parquet into a folder.")
    ] = None,
    json_: Json = False,
) -> None:
    """Annotate, watch a model and explore episodes in the browser."""
    if export is None:
        from bcprobe.serve.server import serve as run

        return run(port, checkpoint, data or (), store=store, host=host, open_browser=open_)
    from bcprobe.serve.desk import Desk
    from bcprobe.serve.export import write
    from bcprobe.serve.store import Store

    if not store.is_file():
        raise InputError(f"no sessions at '{store}'; name their file with --store")
    count = write(Desk(Store(store), checkpoint), export)
    if json_:
        return print_json({"out": str(export), "episodes": count})
    typer.echo(f"{export}: {count} episodes")
