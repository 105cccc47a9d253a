"""What a study is: runs that work by themselves, and a table made of what they find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StudyRun:
    """A piece of work, as plain data.

    ``parameters`` is everything its rows depend on, as JSON holds it. ``frames`` are those it
    learns from and ``seconds`` the time it is estimated to take, on one core or one GPU. It starts
    when the runs that it ``needs`` are done.
    """

    name: str
    parameters: dict[str, Any]
    frames: int = 0
    seconds: float = 0.0
    needs: tuple[str, ...] = field(default=())


Runs = tuple[StudyRun, ...]


@dataclass(frozen=True)
class Study:
    """A question, and how it is answered.

    ``settings`` of each size (`bcprobe.studies.SIZES`) give the ``runs``. ``work(parameters,
    folder)`` does the work of a run and returns its rows; what it leaves in its folder lets it
    continue after a stop, and is there for the runs that need it, as ``folder.parent / name``.
    ``summarise(rows)`` makes the tidy table, with ``estimate``, ``lower``, ``upper`` and ``n``,
    from the rows of all runs, whose column ``run`` holds the run's name.
    """

    name: str
    settings: Mapping[str, Any]
    runs: Callable[[Any], Runs]
    work: Callable[[Mapping[str, Any], Path], pd.DataFrame]
    summarise: Callable[[pd.DataFrame], pd.DataFrame]
