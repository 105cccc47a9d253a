"""The verb that begins a task of one's own."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from bcprobe.cli.console import print_json
from bcprobe.cli.options import Force, Json
from bcprobe.errors import InputError
from bcprobe.files import check_free

_PACKAGE = Path(__file__).parents[1]
_TEMPLATES = {"tasks": "task.txt", "annotators": "annotator.txt"}


def new_task(
    name: Annotated[str, typer.Argument(help="Name of the task, such as spot_counting.")],
    root: Annotated[
        Path, typer.Option(help="Folder of the package, with tasks/ and annotators/.")
    ] = _PACKAGE,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Write a working minimal task: its world and its annotator, to be changed from there."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(f"a task is named in small letters, digits and _, not '{name}'")
    from bcprobe.tasks import TASKS

    if name in TASKS:
        raise InputError(f"there is a task '{name}' already")
    made = {room: root / room / f"{name}.py" for room in _TEMPLATES}
    for path in made.values():
        if not path.parent.is_dir():
            raise InputError(f"no folder '{path.parent}'; --root is that of the package")
        check_free(path, force=force)
    words = {
        "CLASS": "".join(part.capitalize() for part in name.split("_")),
        "TITLE": name.replace("_", " ").capitalize(),
        "NAME": name,
    }
    for room, path in made.items():
        text = (Path(__file__).parent / "templates" / _TEMPLATES[room]).read_text("utf-8")
        for word, value in words.items():
            text = re.sub(rf"\b{word}(?=\b|Policy)", value, text)
        path.write_text(text, encoding="utf-8")
    if json_:
        return print_json({"name": name, "files": [str(path) for path in made.values()]})
    for path in made.values():
        typer.echo(f"wrote {path}")
    typer.echo(f"next: add {words['CLASS']}() to TASKS in {root / 'tasks' / '__init__.py'},")
    typer.echo(
        f'"{name}": {words["CLASS"]}Policy() to ANNOTATORS in '
        f"{root / 'annotators' / '__init__.py'}, then bcprobe show {name}"
    )
    return None
