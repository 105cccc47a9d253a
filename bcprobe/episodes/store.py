"""Episodes on disk: one Parquet table of episodes, one of steps.

Both load as they are with pandas and ``datasets.load_dataset("parquet", ...)``. Names are
strings, clicks are int16 pixels, every latent is a column of its own, and ``persona``,
``counts`` and ``recording`` are JSON objects (their keys differ from task to task). ``time_ms``
is empty where no person was at work; it and ``recording`` may be missing. The schema version, the
table's kind and the hash of the episodes stand in the metadata of each file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bcprobe.episodes.episode import Episode, Step
from bcprobe.errors import InputError
from bcprobe.files import atomic_file
from bcprobe.types import Click, Latents, Outcome

SCHEMA_VERSION = 1
EPISODES_FILE = "episodes.parquet"
STEPS_FILE = "steps.parquet"

_VERSION_KEY = b"bcprobe.schema_version"
_KIND_KEY = b"bcprobe.kind"
_HASH_KEY = b"bcprobe.episodes_hash"

EPISODES_SCHEMA = pa.schema(
    {
        "episode": pa.int32(),
        "task": pa.string(),
        "layout": pa.string(),
        "difficulty": pa.string(),
        "world_seed": pa.int64(),
        "annotator_seed": pa.int64(),
        "persona": pa.string(),
        "origin": pa.string(),
        "length": pa.int32(),
        "score": pa.float64(),
        "success": pa.bool_(),
        "done": pa.bool_(),
        "counts": pa.string(),
        "frame_hash": pa.string(),
        "generator_version": pa.int32(),
        "recording": pa.string(),
    }
)
STEPS_SCHEMA = pa.schema(
    {
        "episode": pa.int32(),
        "step": pa.int32(),
        "x": pa.int16(),
        "y": pa.int16(),
        "widget": pa.string(),
        "action": pa.string(),
        "valid": pa.bool_(),
        "phase": pa.string(),
        "position": pa.int32(),
        "position_count": pa.int32(),
        "position_fraction": pa.float64(),
        "progress": pa.float64(),
        "mistake": pa.bool_(),
        "mistake_kind": pa.string(),
        "azimuth": pa.float64(),
        "elevation": pa.float64(),
        "undo_next": pa.bool_(),
        "time_ms": pa.float64(),
    }
)
#: Columns that came later: a table without them has these values in them.
_LATER: dict[str, Any] = {"recording": "{}", "time_ms": None}


def write_episodes(episodes: Sequence[Episode], folder: Path | str) -> Path:
    """Folder in which ``episodes.parquet`` and ``steps.parquet`` now hold the episodes.

    Other files in the folder stay. A failure leaves both tables as they were.
    """
    folder = Path(folder)
    digest = episodes_hash(episodes)
    rows = [_episode_row(index, episode) for index, episode in enumerate(episodes)]
    steps = [_step_rows(index, episode) for index, episode in enumerate(episodes)]
    heads = _table(rows, EPISODES_SCHEMA, "episodes", digest)
    bodies = _table(list(chain.from_iterable(steps)), STEPS_SCHEMA, "steps", digest)
    with (
        atomic_file(folder / EPISODES_FILE) as heads_path,
        atomic_file(folder / STEPS_FILE) as bodies_path,
    ):
        pq.write_table(heads, heads_path, compression="zstd")
        pq.write_table(bodies, bodies_path, compression="zstd")
    return folder


def read_episodes(folder: Path | str) -> list[Episode]:
    """Episodes of a folder, equal to those written.

    Raises `InputError` if a table is missing, unreadable, foreign, of a newer schema, lacks
    a column, or does not belong to the other one.
    """
    folder = Path(folder)
    heads, digest = _read(folder / EPISODES_FILE, EPISODES_SCHEMA, "episodes")
    bodies, other = _read(folder / STEPS_FILE, STEPS_SCHEMA, "steps")
    if digest != other or sum(heads["length"].to_pylist()) != len(bodies):
        raise InputError(
            f"'{folder / STEPS_FILE}' does not belong to '{folder / EPISODES_FILE}'; "
            "write both again"
        )
    steps = _steps(bodies)
    ends = np.cumsum([0, *heads["length"].to_pylist()]).tolist()
    return [
        _episode(row, tuple(steps[start:end]))
        for row, start, end in zip(heads.to_pylist(), ends, ends[1:], strict=False)
    ]


def list_episodes(folder: Path | str) -> pd.DataFrame:
    """One row an episode, in order, without its clicks: the columns of ``episodes.parquet`` and
    ``mistakes``, how many were brought into a clean state. Raises `InputError` as `read_episodes`.
    """
    heads, _ = _read(Path(folder) / EPISODES_FILE, EPISODES_SCHEMA, "episodes")
    path = Path(folder) / STEPS_FILE
    bodies, _ = _read(path, STEPS_SCHEMA, "steps", columns=("episode", "mistake"))
    episode = bodies["episode"].to_numpy()
    stands = bodies["mistake"].to_numpy(zero_copy_only=False)
    begins = stands[1:] & ~(stands[:-1] & (episode[1:] == episode[:-1]))
    made = np.bincount(episode[1:][begins], minlength=len(heads))
    return heads.to_pandas().assign(mistakes=made[: len(heads)])


def read_episode(folder: Path | str, number: int) -> Episode:
    """Episode ``number`` of a folder. Raises `InputError` if there is none, as `read_episodes`."""
    only = [("episode", "=", number)]
    heads, _ = _read(Path(folder) / EPISODES_FILE, EPISODES_SCHEMA, "episodes", only)
    if not len(heads):
        raise InputError(f"'{folder}' has no episode {number}")
    bodies, _ = _read(Path(folder) / STEPS_FILE, STEPS_SCHEMA, "steps", only)
    return _episode(heads.to_pylist()[0], tuple(_steps(bodies)))


def episodes_hash(episodes: Iterable[Episode]) -> str:
    """SHA-256 (hex) over seeds and clicks: equal hashes, equal frames and targets, in order."""
    digest = hashlib.sha256()
    for episode in episodes:
        names = (episode.task, episode.layout, episode.difficulty, episode.generator_version)
        head = [*names, episode.world_seed, episode.annotator_seed, len(episode)]
        clicks = np.array([step.click for step in episode.steps], dtype="<i2")
        digest.update(json.dumps(head).encode() + b"\n" + clicks.tobytes())
    return digest.hexdigest()


def _episode_row(index: int, episode: Episode) -> dict[str, Any]:
    plain = ("task", "layout", "difficulty", "world_seed", "annotator_seed", "origin")
    return {
        "episode": index,
        **{name: getattr(episode, name) for name in (*plain, "frame_hash", "generator_version")},
        "persona": json.dumps(episode.persona),
        "length": len(episode),
        "score": episode.outcome.score,
        "success": episode.outcome.success,
        "done": episode.outcome.done,
        "counts": json.dumps(episode.outcome.counts),
        "recording": json.dumps(episode.recording),
    }


def _step_rows(index: int, episode: Episode) -> list[dict[str, Any]]:
    return [
        {
            "episode": index,
            "step": number,
            "x": step.click.x,
            "y": step.click.y,
            "widget": step.widget,
            "action": step.action,
            "valid": step.valid,
            "phase": step.phase,
            "position_fraction": step.latents.position_fraction,
            "undo_next": step.undo_next,
            "time_ms": step.time_ms,
            **vars(step.latents),
        }
        for number, step in enumerate(episode.steps)
    ]


def _table(rows: list[dict[str, Any]], schema: pa.Schema, kind: str, digest: str) -> pa.Table:
    metadata = {
        _VERSION_KEY: str(SCHEMA_VERSION).encode(),
        _KIND_KEY: kind.encode(),
        _HASH_KEY: digest.encode(),
    }
    return pa.Table.from_pylist(rows, schema=schema.with_metadata(metadata))


def _read(
    path: Path,
    schema: pa.Schema,
    kind: str,
    only: list[tuple[str, str, int]] | None = None,
    columns: Sequence[str] = (),
) -> tuple[pa.Table, bytes]:
    """A table and its hash; of its rows and columns those asked for."""
    if not path.is_file():
        raise InputError(f"no {kind} at '{path}'; give a folder that write_episodes made")
    try:
        metadata = pq.read_schema(path).metadata or {}
        _check_metadata(path, kind, metadata)
        if columns:
            schema = pa.schema([schema.field(name) for name in columns])
        table = pq.read_table(path, filters=only, columns=list(columns) or None)
        table = _with_later(table, schema)
        _check_columns(path, schema, table)
        return table.select(schema.names).cast(schema), metadata.get(_HASH_KEY, b"")
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {kind} '{path}': {str(error).splitlines()[0]}") from error


def _check_metadata(path: Path, kind: str, metadata: dict[bytes, bytes]) -> None:
    version = metadata.get(_VERSION_KEY, b"").decode(errors="replace")
    if not version.isdigit() or metadata.get(_KIND_KEY) != kind.encode():
        raise InputError(f"'{path}' is a Parquet file, but not a table of {kind} from bcprobe")
    if int(version) > SCHEMA_VERSION:
        raise InputError(
            f"'{path}' has schema version {version}, this bcprobe reads up to "
            f"{SCHEMA_VERSION}; upgrade bcprobe"
        )


def _with_later(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns that it was written too early to have."""
    for name in _LATER.keys() & set(schema.names) - set(table.column_names):
        column = pa.array([_LATER[name]] * len(table), schema.field(name).type)
        table = table.append_column(name, column)
    return table


def _check_columns(path: Path, schema: pa.Schema, table: pa.Table) -> None:
    for name in schema.names:
        if name not in table.column_names:
            raise InputError(f"'{path}' lacks column '{name}'")
        if table[name].null_count and _LATER.get(name, "") is not None:
            raise InputError(f"'{path}' has empty cells in column '{name}'")


def _steps(table: pa.Table) -> list[Step]:
    columns = {name: table[name].to_pylist() for name in table.column_names}
    latents = zip(*(columns[name] for name in _LATENTS), strict=True)
    names = ("x", "y", "widget", "action", "valid", "phase", "time_ms")
    clicks = zip(*(columns[name] for name in names), strict=True)
    return [
        Step(Click(x, y), widget, action, valid, phase, _latents(*values), time_ms)
        for (x, y, widget, action, valid, phase, time_ms), values in zip(
            clicks, latents, strict=True
        )
    ]


_LATENTS = (
    "position", "position_count", "progress", "mistake", "mistake_kind", "azimuth", "elevation",
)  # fmt: skip


def _latents(*values: Any) -> Latents:
    """Latents whose missing angles are the class's own nan, so that equal ones compare equal."""
    named = dict(zip(_LATENTS, values, strict=True))
    return Latents(**{name: value for name, value in named.items() if value == value})


def _episode(row: dict[str, Any], steps: tuple[Step, ...]) -> Episode:
    outcome = Outcome(row["score"], row["success"], row["done"], json.loads(row["counts"]))
    names = ("task", "layout", "difficulty", "world_seed", "annotator_seed", "origin")
    return Episode(
        **{name: row[name] for name in names},
        persona=json.loads(row["persona"]),
        steps=steps,
        outcome=outcome,
        frame_hash=row["frame_hash"],
        generator_version=row["generator_version"],
        recording=json.loads(row["recording"]),
    )
