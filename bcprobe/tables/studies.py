"""Tables of the studies' figures: each carries out its study, or goes on with it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bcprobe.errors import InputError
from bcprobe.studies import get_study
from bcprobe.studies.executors import make_place
from bcprobe.studies.sweep import plan, run

#: What is spent on a figure's study; ``bcprobe experiment NAME --plan`` tells how long it takes.
SIZE = "cpu"


def study_table(name: str) -> pd.DataFrame:
    """The table of a study worked in ``runs/NAME-cpu``, where a sweep begun before goes on.

    Raises `InputError` with the first member that failed.
    """
    study, folder = get_study(name), Path("runs") / f"{name}-{SIZE}"
    found = run(study, plan(study, SIZE), folder, make_place("here", None, folder))
    if found.table is None:
        member, reason = next(iter(found.failed.items()))
        raise InputError(f"study '{name}': member '{member}' failed: {reason}")
    return found.table
