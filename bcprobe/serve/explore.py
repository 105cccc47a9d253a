"""Episodes to look through: those of Parquet folders, and those made in this store."""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.player import step_row
from bcprobe.episodes.store import EPISODES_FILE, STEPS_FILE, list_episodes, read_episode
from bcprobe.errors import InputError
from bcprobe.evaluation.metrics import mistakes
from bcprobe.serve.desk import Desk, MissingError, shown
from bcprobe.serve.tracks import Track
from bcprobe.serve.watch import trips

#: Rows of a list that are sent at a time.
MOST_ROWS = 2000
#: What a list may be ordered by.
ORDERS = ("number", "score", "mistakes", "steps")
#: Number of the list of this store's own sessions; folders count from 1.
HERE = 0
_LOCK = threading.Lock()


def sources(desk: Desk) -> list[dict[str, Any]]:
    """Lists there are: this store's, then the folders, by their last name alone."""
    here = {"number": HERE, "name": "made here"}
    named = [{"number": i + 1, "name": path.name} for i, path in enumerate(desk.folders)]
    return [here, *named]


def listed(desk: Desk, source: int) -> dict[str, Any]:
    """Rows of a list, at most `MOST_ROWS`; ``total`` counts all. Raises `MissingError`."""
    if source == HERE:
        rows = [_row_here(desk, number) for number in desk.store.sessions(most=MOST_ROWS)]
        return {"rows": rows, "total": len(rows)}
    table = _table(*_stamp(_folder(desk, source)))
    return {
        "rows": [_row(source, row) for row in table.head(MOST_ROWS).to_dict("records")],
        "total": len(table),
    }


def _folder(desk: Desk, source: int) -> Path:
    if not 1 <= source <= len(desk.folders):
        raise MissingError
    return desk.folders[source - 1]


def _stamp(folder: Path) -> tuple[Path, float]:
    """The folder, and when its tables were last written."""
    try:
        return folder, max((folder / name).stat().st_mtime for name in (EPISODES_FILE, STEPS_FILE))
    except OSError:
        raise InputError(f"no episodes at '{folder}'") from None


@lru_cache(maxsize=8)
def _table(folder: Path, _: float) -> pd.DataFrame:
    with _LOCK:
        return list_episodes(folder)


def _row(source: int, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": f"{source}-{row['episode']}",
        "number": row["episode"],
        "task": row["task"],
        "layout": row["layout"],
        "difficulty": row["difficulty"],
        "origin": row["origin"],
        "world_seed": row["world_seed"],
        "steps": row["length"],
        "score": _finite(row["score"]),
        "success": row["success"],
        "done": row["done"],
        "mistakes": row["mistakes"],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _row_here(desk: Desk, found: tuple[Any, int]) -> dict[str, Any]:
    session, count = found
    track = desk.tracks.get(session.id)
    known: dict[str, Any] = {"score": None, "success": False, "done": False, "mistakes": None}
    if track is not None and len(track) == count:
        simulator = track.simulator
        outcome = simulator.task.score(simulator.world, simulator.state)
        if session.kind == "watch" or outcome.done:
            known = {
                "score": _finite(outcome.score),
                "success": outcome.success,
                "done": outcome.done,
                "mistakes": len(mistakes(list(track.steps))),
            }
    return {
        "key": f"{HERE}-{session.id}",
        "number": session.created,
        "task": session.task,
        "layout": session.layout,
        "difficulty": session.difficulty,
        "origin": session.recording.get("name") or "person"
        if session.kind == "annotate"
        else session.settings.get("checkpoint", "model"),
        "kind": session.kind,
        "world_seed": session.world_seed,
        "steps": count,
        **known,
    }


def opened(desk: Desk, key: str) -> tuple[Track, dict[str, Any]]:
    """The track behind a key, all its clicks made, and who worked it. Raises `MissingError`."""
    source, _, name = key.partition("-")
    if not source.isdigit() or not name or len(key) > 40:
        raise MissingError
    if int(source) == HERE:
        session = desk.session(name)
        track = desk.track(session)
        if session.kind == "annotate" and not track.simulator.done:
            raise InputError("this world is still being annotated")
        return track, {"origin": desk.episode(session).origin, "session": session.id}
    if not name.isdigit():
        raise MissingError
    folder = _folder(desk, int(source))
    stamped = _stamp(folder)
    episode = _episode(*stamped, int(name))
    return desk.tracks.replay((*stamped, int(name)), episode), {"origin": episode.origin}


@lru_cache(maxsize=64)
def _episode(folder: Path, _: float, number: int) -> Episode:
    return read_episode(folder, number)


def played(desk: Desk, key: str) -> dict[str, Any]:
    """An episode as a player shows it."""
    track, known = opened(desk, key)
    with track.lock:
        simulator = track.simulator
        task = simulator.task
        outcome = task.score(simulator.world, simulator.state)
        return {
            "key": key,
            "task": task.name,
            "title": task.title,
            "layout": simulator.layout.name,
            "steps": [step_row(simulator, step) for step in track.steps],
            "count": len(track),
            "done": outcome.done,
            "score": _finite(outcome.score),
            "success": outcome.success,
            "mistakes": len(mistakes(list(track.steps))),
            "trips": trips(track),
            **known,
            **shown(track, 0),
        }
