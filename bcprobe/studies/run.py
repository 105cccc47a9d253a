"""One run in its folder: the settings it was begun with, its log, and the rows it found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bcprobe.errors import InputError
from bcprobe.files import atomic_file
from bcprobe.results import write_table
from bcprobe.studies import get_study
from bcprobe.studies.study import Study, StudyRun

CONFIG, ROWS, LOG = "run.json", "rows.parquet", "log.txt"


def is_done(folder: Path) -> bool:
    """Whether the rows of a run are there."""
    return (folder / ROWS).is_file()


def claim(folder: Path, study: str, run: StudyRun) -> None:
    """Give a folder to a run. Raises `InputError` if it was begun with other settings."""
    mine = {"study": study, "parameters": json.loads(json.dumps(run.parameters))}
    theirs = read_config(folder)
    if theirs is not None and theirs != mine:
        what = _difference(theirs, mine)
        raise InputError(f"'{folder}' was begun with other settings: {what}; choose another --out")
    if theirs is None:
        with atomic_file(folder / CONFIG) as temporary:
            temporary.write_text(json.dumps(mine, indent=1) + "\n")


def _difference(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    if theirs.get("study") != mine["study"]:
        return f"study is {theirs.get('study')} there, {mine['study']} here"
    there, here = theirs.get("parameters", {}), mine["parameters"]
    name = next(name for name in {**here, **there} if there.get(name) != here.get(name))
    return f"{name} is {there.get(name)} there, {here.get(name)} here"


def read_config(folder: Path) -> dict[str, Any] | None:
    """Study and parameters of the run in a folder; None if there is none."""
    try:
        return dict(json.loads((folder / CONFIG).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"cannot read '{folder / CONFIG}': {error}") from error


def execute(study: Study, folder: Path) -> None:
    """Do the work of the run in a folder and write its rows, whole or not at all."""
    config = read_config(folder)
    if config is None:
        raise InputError(f"'{folder}' is no run of '{study.name}'")
    rows = study.work(config["parameters"], folder)
    write_table(rows.assign(run=folder.name), folder / ROWS)


def execute_by_name(study: str, folder: str) -> None:
    """`execute`, for processes that are told names."""
    execute(get_study(study), Path(folder))
