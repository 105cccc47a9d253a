"""One member at work in its folder; as a program it is what the sweep starts.

``python -m bcprobe.studies.run STUDY FOLDER`` works until it is done, or until its
standard input closes: then it saves what it has and ends, as after Ctrl-C.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bcprobe.errors import InputError
from bcprobe.files import atomic_file
from bcprobe.results import write_table
from bcprobe.studies import get_study
from bcprobe.studies.study import Member, Study

CONFIG, ROWS, LOG = "member.json", "rows.parquet", "log.txt"


def is_done(folder: Path) -> bool:
    """Whether a member's rows are there."""
    return (folder / ROWS).is_file()


def claim(folder: Path, study: str, member: Member) -> None:
    """Make a folder the member's. Raises `InputError` if it is that of other settings."""
    mine = {"study": study, "parameters": json.loads(json.dumps(member.parameters))}
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
    """What a folder says of its member; None if there is none."""
    try:
        return dict(json.loads((folder / CONFIG).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"cannot read '{folder / CONFIG}': {error}") from error


def perform(study: Study, folder: Path) -> None:
    """Do a member's work and write its rows, whole or not at all."""
    config = read_config(folder)
    if config is None:
        raise InputError(f"'{folder}' is no member of '{study.name}'")
    rows = study.work(config["parameters"], folder)
    write_table(rows.assign(member=folder.name), folder / ROWS)


def perform_by_name(study: str, folder: str) -> None:
    """`perform`, for programs that are told names."""
    perform(get_study(study), Path(folder))


def _end_with_input() -> None:
    """Interrupt this process once nobody holds the other end of its standard input."""
    while os.read(0, 1024):  # not sys.stdin, whose lock would be held while Python ends
        pass
    os.kill(os.getpid(), signal.SIGINT)


def main(study: str, folder: str) -> None:
    """Work; bad input is one line on standard error and exit code 2, an interruption 130."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if begun in the background
    try:
        threading.Thread(target=_end_with_input, daemon=True).start()
        perform_by_name(study, folder)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
