"""Tables of the studies' figures: each carries out its study, or goes on with it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bcprobe.errors import InputError
from bcprobe.studies import get_study
from bcprobe.studies.executors import make_executor
from bcprobe.studies.sweep import carry_out, plan

#: What is spent on a figure's study; ``bcprobe study NAME --plan`` tells how long it takes.
SIZE = "cpu"


def study_table(name: str) -> pd.DataFrame:
    """The table of a study worked in ``runs/NAME-cpu``, where a sweep begun before goes on.

    Raises `InputError` with the first run that failed.
    """
    study, folder = get_study(name), Path("runs") / f"{name}-{SIZE}"
    found = carry_out(study, plan(study, SIZE), folder, make_executor("here", None, folder))
    if found.table is None:
        run, reason = next(iter(found.failed.items()))
        raise InputError(f"study '{name}': run '{run}' failed: {reason}")
    return found.table
