"""Studies: questions that take many runs to answer, each a table in the end."""

from __future__ import annotations

from importlib import import_module

from bcprobe.errors import check_name
from bcprobe.studies.study import Study

#: Every study by name; its module has a `STUDY`.
NAMES = ("scaling", "transfer", "layouts", "dagger", "recoveries")
#: How much is spent: seconds; about an hour of two CPU cores; some minutes of a GPU.
SIZES = ("tiny", "cpu", "gpu")


def get_study(name: str) -> Study:
    """The study of that name. Raises `InputError` with the nearest name."""
    found: Study = import_module(f"bcprobe.studies.{check_name('experiment', name, NAMES)}").STUDY
    return found
