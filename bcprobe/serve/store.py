"""Sessions on disk: who works which world, and every click, in one SQLite file (WAL).

A click is in the file before anybody hears of it, so whatever is killed afterwards loses nothing.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bcprobe.errors import InputError
from bcprobe.types import GENERATOR_VERSION, Click

SCHEMA_VERSION = 1
#: Clicks that a session may hold.
MOST_STEPS = 3000
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_SCHEMA = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, task TEXT NOT NULL, layout TEXT NOT NULL,
    difficulty TEXT NOT NULL, world_seed INTEGER NOT NULL, created REAL NOT NULL,
    generator_version INTEGER NOT NULL, recording TEXT NOT NULL, settings TEXT NOT NULL);
CREATE TABLE steps (
    session TEXT NOT NULL REFERENCES sessions(id), number INTEGER NOT NULL, x INTEGER NOT NULL,
    y INTEGER NOT NULL, time_ms REAL, source TEXT NOT NULL, nonce TEXT NOT NULL,
    reading TEXT NOT NULL, PRIMARY KEY (session, number)) WITHOUT ROWID;
CREATE TABLE comparisons (
    task TEXT, layout TEXT, difficulty TEXT, world_seed INTEGER, checkpoint TEXT, rows TEXT,
    PRIMARY KEY (task, layout, difficulty, world_seed, checkpoint));
"""


class ConflictError(Exception):
    """Somebody else has clicked in the session since: another tab, say."""


@dataclass(frozen=True)
class Session:
    """What a session is about. ``kind``: ``annotate`` or ``watch``; ``created`` in s since 1970.

    ``recording`` tells of a person's device, ``settings`` of the model that is watched.
    """

    id: str
    kind: str
    task: str
    layout: str
    difficulty: str
    world_seed: int
    created: float = 0.0
    generator_version: int = GENERATOR_VERSION
    recording: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """A click as it is kept.

    ``source`` says how it was made: ``pointer``, ``key`` or ``button`` by a person, ``model``, or
    ``trip`` for a mistake made for the model. ``nonce`` names the request; ``reading`` is what the
    model held before the click.
    """

    click: Click
    time_ms: float | None = None
    source: str = "pointer"
    nonce: str = ""
    reading: dict[str, Any] = field(default_factory=dict)


class Store:
    """The file of sessions. Threads may share it, and several servers may have it open."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, timeout=10, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._prepare()
        except sqlite3.Error as error:
            raise InputError(f"cannot keep sessions in '{path}': {error}") from error

    def _prepare(self) -> None:
        with self._writing() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise InputError(
                    f"'{self.path}' has schema {version}, newer than "
                    f"{SCHEMA_VERSION}; update bcprobe"
                )
            if version == 0:
                if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise InputError(f"'{self.path}' is a database, but not one of sessions")
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The database within one transaction, which a failure takes back."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def create(self, kind: str, task: str, world_seed: int, **known: Any) -> Session:
        """A new session, in the file."""
        name = "".join(secrets.choice(_LETTERS) for _ in range(12))
        session = Session(name, kind, task, world_seed=world_seed, created=time.time(), **known)
        row = asdict(session)
        row |= {key: json.dumps(row[key]) for key in ("recording", "settings")}
        with self._writing() as db:
            names = ", ".join(row)
            marks = ", ".join(f":{key}" for key in row)
            db.execute(f"INSERT INTO sessions ({names}) VALUES ({marks})", row)
        return session

    def session(self, name: str) -> Session | None:
        """The session of that name, if there is one."""
        found = self._read(f"SELECT {_COLUMNS} FROM sessions WHERE id = ?", name)
        return _session(found[0]) if found else None

    def sessions(self, kind: str | None = None, most: int = 500) -> list[tuple[Session, int]]:
        """Sessions with the number of their clicks, the newest first."""
        found = self._read(
            f"SELECT {_COLUMNS}, (SELECT count(*) FROM steps WHERE session = id) FROM sessions "
            "WHERE ?1 IS NULL OR kind = ?1 ORDER BY created DESC LIMIT ?2",
            kind,
            most,
        )
        return [(_session(row[:-1]), row[-1]) for row in found]

    def change(self, session: Session, **fields: dict[str, Any]) -> None:
        """Set ``recording`` or ``settings``."""
        with self._writing() as db:
            for name, value in fields.items():
                if name not in ("recording", "settings"):
                    raise ValueError(f"'{name}' of a session never changes")
                db.execute(
                    f"UPDATE sessions SET {name} = ? WHERE id = ?", (json.dumps(value), session.id)
                )

    def count(self, session: Session) -> int:
        """How many clicks were made."""
        return self._read("SELECT count(*) FROM steps WHERE session = ?", session.id)[0][0]

    def steps(self, session: Session, first: int = 0) -> list[Made]:
        """Clicks from number ``first`` on, in order."""
        found = self._read(
            "SELECT x, y, time_ms, source, nonce, reading FROM steps "
            "WHERE session = ? AND number >= ? ORDER BY number",
            session.id,
            first,
        )
        return [
            Made(Click(x, y), time_ms, source, nonce, json.loads(reading))
            for x, y, time_ms, source, nonce, reading in found
        ]

    def append(self, session: Session, number: int, made: Sequence[Made]) -> None:
        """Write clicks ``number``, ``number + 1``...; all of them or none.

        Raises `ConflictError` if the session has another number of clicks by now, and `InputError`
        if it is full.
        """
        if number + len(made) > MOST_STEPS:
            raise InputError(f"a session holds {MOST_STEPS} clicks; press Done or begin another")
        with self._writing() as db:
            have = db.execute(
                "SELECT count(*) FROM steps WHERE session = ?", (session.id,)
            ).fetchone()[0]
            if have != number:
                raise ConflictError
            db.executemany(
                "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (session.id, number + i, *one.click, one.time_ms, one.source, one.nonce,
                     json.dumps(one.reading))
                    for i, one in enumerate(made)
                ],
            )  # fmt: skip

    def comparison(self, session: Session, checkpoint: str) -> list[dict[str, Any]] | None:
        """What others made of the session's world, if that is known."""
        found = self._read(
            "SELECT rows FROM comparisons WHERE (task, layout, difficulty, world_seed, checkpoint)"
            " = (?, ?, ?, ?, ?)",
            *_world(session),
            checkpoint,
        )
        return json.loads(found[0][0]) if found else None

    def keep_comparison(
        self, session: Session, checkpoint: str, rows: list[dict[str, Any]]
    ) -> None:
        """Keep what others made of the session's world."""
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO comparisons VALUES (?, ?, ?, ?, ?, ?)",
                (*_world(session), checkpoint, json.dumps(rows)),
            )


_COLUMNS = ", ".join(Session.__dataclass_fields__)


def _session(row: tuple[Any, ...]) -> Session:
    known = dict(zip(Session.__dataclass_fields__, row, strict=True))
    return Session(**known | {key: json.loads(known[key]) for key in ("recording", "settings")})


def _world(session: Session) -> tuple[str, str, str, int]:
    return session.task, session.layout, session.difficulty, session.world_seed
