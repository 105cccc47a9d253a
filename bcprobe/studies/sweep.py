"""A study carried out: planned, run, resumed, and its one table written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bcprobe.errors import InputError, check_name
from bcprobe.results import read_table, write_table
from bcprobe.studies.executors import Place
from bcprobe.studies.run import ROWS, claim, is_done
from bcprobe.studies.study import Member, Members, Study

#: Told of a member that begins (None), or that ended: why it failed, or empty.
Say = Callable[[Member, str | None], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """The table, if every member is done, and else why some are not, by name."""

    table: pd.DataFrame | None
    failed: Mapping[str, str] = field(default_factory=dict)


def plan(study: Study, size: str, seed: int = 0) -> Members:
    """The members of a study at a size; ``seed`` is added to the seeds of its runs.

    Raises `InputError` for an unknown size.
    """
    settings = study.settings[check_name("size", size, study.settings)]
    seeds = tuple(seed + one for one in settings.seeds)
    return study.members(replace(settings, seeds=seeds))


def member_folder(out: Path, member: Member | str) -> Path:
    """Where a member works."""
    return out / "members" / (member if isinstance(member, str) else member.name)


def left(members: Iterable[Member], out: Path) -> Members:
    """The members whose rows are not there yet."""
    return tuple(one for one in members if not is_done(member_folder(out, one)))


def run(
    study: Study,
    members: Members,
    out: Path,
    place: Place,
    say: Say = lambda member, reason: None,
    **metadata: str,
) -> Outcome:
    """Work what is left of a study's members in the folder ``out``, and write its table there.

    The table ``out/NAME.parquet`` is written once every member is done; ``metadata`` goes into
    it. A member that fails is named in the outcome, so are those that need it, and the rest
    goes on. ``KeyboardInterrupt`` lets those at work save and is raised again. Raises
    `InputError` before anything is begun if a member's folder is that of other settings.
    """
    for one in members:
        claim(member_folder(out, one), study.name, one)
    failed = _Sweep(study, out, place, say).work(left(members, out))
    if failed:
        return Outcome(None, failed)
    rows = [read_table(member_folder(out, one) / ROWS) for one in members]
    table = study.summarise(pd.concat(rows, ignore_index=True))
    write_table(table, out / f"{study.name}.parquet", study=study.name, **metadata)
    return Outcome(table)


class _Sweep:
    """Hands members to free slots until none is left that can be worked."""

    def __init__(self, study: Study, out: Path, place: Place, say: Say) -> None:
        self.study, self.out, self.place, self.say = study, out, place, say
        self.failed: dict[str, str] = {}
        self.free = deque(place.slots)
        self.running: dict[Future[str], tuple[Member, str]] = {}

    def work(self, members: Members) -> dict[str, str]:
        """Work them all; why some failed, by name."""
        waiting = list(members)
        with ThreadPoolExecutor(len(self.place.slots)) as pool:
            try:
                while waiting or self.running:
                    waiting = self._start(waiting, pool)
                    self._collect()
            except BaseException:
                self.place.stop()
                raise
        return self.failed

    def _start(self, waiting: list[Member], pool: ThreadPoolExecutor) -> list[Member]:
        """Start what can be; what goes on waiting."""
        kept = []
        for member in waiting:
            missing = [name for name in member.needs if not is_done(self._folder(name))]
            broken = next((name for name in missing if name in self.failed), None)
            if broken is not None:
                self._end(member, f"needs {broken}, which failed")
            elif missing or not self.free:
                kept.append(member)
            else:
                self._submit(member, pool)
        if kept and len(kept) == len(waiting) and not self.running:
            raise InputError(f"member '{kept[0].name}' needs one that the study does not have")
        return kept

    def _submit(self, member: Member, pool: ThreadPoolExecutor) -> None:
        slot = self.free.popleft()
        self.say(member, None)
        job = pool.submit(self.place.work, self.study.name, self._folder(member), member, slot)
        self.running[job] = member, slot

    def _collect(self) -> None:
        """Wait for one to end."""
        if not self.running:
            return
        for job in wait(self.running, return_when=FIRST_COMPLETED).done:
            member, slot = self.running.pop(job)
            self.free.append(slot)
            reason = job.result()
            if not reason and not is_done(self._folder(member)):
                reason = "ended without its rows"
            self._end(member, reason)

    def _end(self, member: Member, reason: str) -> None:
        if reason:
            self.failed[member.name] = reason
        self.say(member, reason)

    def _folder(self, member: Member | str) -> Path:
        return member_folder(self.out, member)
