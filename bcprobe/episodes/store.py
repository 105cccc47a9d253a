"""Episodes on disk: one Parquet table of episodes, one of steps.

Both load as they are with pandas and ``datasets.load_dataset("parquet", ...)``. Names are
strings, clicks are int16 pixels, every latent is a column of its own, and ``persona``,
``counts`` and ``recording`` are JSON objects (their keys differ from task to task). ``time_ms``
is empty where no person was at work; it and ``recording`` may be missing. ``content_hash`` covers
all that the tables hold of an episode. The schema version and the hash of all episodes stand in
the metadata of each file, which other programs may drop.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bcprobe.episodes.episode import Episode, Step
from bcprobe.episodes.record import OWN_DATA
from bcprobe.errors import InputError, check_name
from bcprobe.files import atomic_file
from bcprobe.gui.layouts import get_layout
from bcprobe.rng import check_seed
from bcprobe.tasks import get_task
from bcprobe.types import (
    ACTIONS,
    GENERATOR_VERSION,
    MISTAKE_KINDS,
    PHASES,
    SCREEN_HEIGHT,
    SCREEN_WIDTH,
    Click,
    Latents,
    Outcome,
)

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
        "content_hash": pa.string(),
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
#: Columns in which nan stands for no angle.
_ANGLES = ("azimuth", "elevation")
#: Columns that came later: a table without them has these values in them.
_LATER: dict[str, Any] = {"recording": "{}", "content_hash": "", "time_ms": None}


def write_episodes(episodes: Sequence[Episode], folder: Path | str) -> Path:
    """Folder in which ``episodes.parquet`` and ``steps.parquet`` now hold the episodes.

    Other files in the folder stay. A failure leaves both tables as they were.
    """
    folder = Path(folder)
    digest = episodes_hash(episodes)
    rows = [
        {"episode": number, "content_hash": content_hash(episode), **_episode_row(episode)}
        for number, episode in enumerate(episodes)
    ]
    steps = [
        {"episode": number, "step": t, **_step_row(step)}
        for number, episode in enumerate(episodes)
        for t, step in enumerate(episode.steps)
    ]
    heads = _table(rows, EPISODES_SCHEMA, "episodes", digest)
    bodies = _table(steps, STEPS_SCHEMA, "steps", digest)
    with (
        atomic_file(folder / EPISODES_FILE) as heads_path,
        atomic_file(folder / STEPS_FILE) as bodies_path,
    ):
        pq.write_table(heads, heads_path, compression="zstd")
        pq.write_table(bodies, bodies_path, compression="zstd")
    return folder


def read_episodes(folder: Path | str) -> list[Episode]:
    """Episodes of a folder, equal to those written, in the order of ``episodes.parquet``.

    Tables that passed through pandas, pyarrow or ``datasets`` are read by columns and types; steps
    belong to their episode by number, whatever order they stand in. Raises `InputError` that names
    the column or the episode if a table is missing, unreadable or of a newer schema; lacks a
    column; holds what no episode can hold (clicks off the screen, unknown names, an episode or a
    step twice, or none); if what is read is not what was written, by `content_hash`; or if the
    episodes are of another generator version.
    """
    folder = Path(folder)
    heads, whole = _read(folder / EPISODES_FILE, EPISODES_SCHEMA, "episodes")
    bodies, other = _read(folder / STEPS_FILE, STEPS_SCHEMA, "steps")
    rows = heads.to_pylist()
    steps = _by_episode(rows, bodies, folder)
    episodes = [_episode(row, tuple(own), folder) for row, own in zip(rows, steps, strict=True)]
    for row, episode in zip(rows, episodes, strict=True):
        _check_episode(row, episode, folder)
    unsigned = any(not row["content_hash"] for row in rows)
    if unsigned and not whole == other == episodes_hash(episodes).encode():
        raise InputError(f"the tables in '{folder}' do not belong together; write both again")
    _check_different(rows, episodes, folder)
    return episodes


def content_hash(episode: Episode) -> str:
    """SHA-256 (hex) over everything that the tables hold of an episode."""
    plain = {**_episode_row(episode), "steps": [_step_row(step) for step in episode.steps]}
    return hashlib.sha256(json.dumps(_canonical(plain), sort_keys=True).encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """A value as plain data that looks the same before and after it was stored."""
    if isinstance(value, dict):
        return {str(name): _canonical(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value.hex()
    return value


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
    folder, only = Path(folder), ("episode", number)
    heads, _ = _read(folder / EPISODES_FILE, EPISODES_SCHEMA, "episodes", only)
    if not len(heads):
        raise InputError(f"'{folder}' has no episode {number}")
    bodies, _ = _read(folder / STEPS_FILE, STEPS_SCHEMA, "steps", only)
    rows = heads.to_pylist()
    (steps,) = _by_episode(rows, bodies, folder)
    episode = _episode(rows[0], tuple(steps), folder)
    _check_episode(rows[0], episode, folder)
    return episode


def episodes_hash(episodes: Iterable[Episode]) -> str:
    """SHA-256 (hex) over seeds and clicks: equal hashes, equal frames and targets, in order."""
    digest = hashlib.sha256()
    for episode in episodes:
        names = (episode.task, episode.layout, episode.difficulty, episode.generator_version)
        head = [*names, episode.world_seed, episode.annotator_seed, len(episode)]
        clicks = np.array([step.click for step in episode.steps], dtype="<i2")
        digest.update(json.dumps(head).encode() + b"\n" + clicks.tobytes())
    return digest.hexdigest()


def _episode_row(episode: Episode) -> dict[str, Any]:
    plain = ("task", "layout", "difficulty", "world_seed", "annotator_seed", "origin")
    return {
        **{name: getattr(episode, name) for name in (*plain, "frame_hash", "generator_version")},
        "persona": json.dumps(episode.persona),
        "length": len(episode),
        "score": episode.outcome.score,
        "success": episode.outcome.success,
        "done": episode.outcome.done,
        "counts": json.dumps(episode.outcome.counts),
        "recording": json.dumps(episode.recording),
    }


def _step_row(step: Step) -> dict[str, Any]:
    return {
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
    only: tuple[str, int] | None = None,
    columns: Sequence[str] = (),
) -> tuple[pa.Table, bytes]:
    """A table and its hash; of its rows and columns those asked for."""
    if not path.is_file():
        raise InputError(f"no {kind} at '{path}'; give a folder that bcprobe generate made")
    try:
        metadata = pq.read_schema(path).metadata or {}
        _check_version(path, metadata)
        kept = pa.schema([schema.field(name) for name in columns or schema.names])
        file = pq.ParquetFile(path)
        there = [name for name in kept.names if name in file.schema_arrow.names]
        table = file.read(columns=there)
        if only is not None:
            table = table.filter(pc.equal(table[only[0]], only[1]))
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read {kind} '{path}': {reason}") from error
    arrays = [_column(path, table, field) for field in kept]
    return pa.Table.from_arrays(arrays, schema=kept), metadata.get(_HASH_KEY, b"")


def _check_version(path: Path, metadata: dict[bytes, bytes]) -> None:
    version = metadata.get(_VERSION_KEY, b"1").decode(errors="replace")
    if not version.isdigit() or int(version) > SCHEMA_VERSION:
        raise InputError(
            f"'{path}' has schema version {version[:20]}, this bcprobe reads up to "
            f"{SCHEMA_VERSION}; upgrade bcprobe"
        )


def _column(path: Path, table: pa.Table, field: pa.Field) -> pa.Array:
    """A column in its own type, whatever wrote it."""
    name = field.name
    if table.column_names.count(name) != 1:
        if name in _LATER and name not in table.column_names:
            return pa.array([_LATER[name]] * len(table), field.type)
        many = "lacks" if name not in table.column_names else "has more than one"
        raise InputError(f"'{path}' {many} column '{name}'")
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], field.type)
    try:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        column = column.cast(field.type)
    except pa.ArrowException:
        raise InputError(
            f"'{path}': column '{name}' is {table[name].type}, which does not hold {field.type}"
        ) from None
    if name in _ANGLES:  # pandas writes nan as an empty cell
        column = column.fill_null(float("nan"))
    if column.null_count and _LATER.get(name, "") is not None:
        raise InputError(f"'{path}' has empty cells in column '{name}'")
    return column


def _by_episode(rows: Sequence[dict[str, Any]], bodies: pa.Table, folder: Path) -> list[list[Step]]:
    """Steps of each row of the episodes' table, by episode and step number."""
    known = {row["episode"]: place for place, row in enumerate(rows)}
    if len(known) < len(rows):
        raise InputError(f"'{folder / EPISODES_FILE}' has an episode number twice")
    found: list[dict[int, Step]] = [{} for _ in rows]
    owners, numbers = (bodies[name].to_pylist() for name in ("episode", "step"))
    for owner, number, step in zip(owners, numbers, _steps(bodies), strict=True):
        if owner not in known:
            raise InputError(f"'{folder / STEPS_FILE}' has steps of an unknown episode {owner}")
        own = found[known[owner]]
        if number in own:
            raise InputError(f"'{folder / STEPS_FILE}' has step {number} of episode {owner} twice")
        own[number] = step
    for row, own in zip(rows, found, strict=True):
        if row["length"] != len(own) or set(own) != set(range(len(own))):
            raise InputError(
                f"'{folder / STEPS_FILE}' has {len(own)} steps of episode {row['episode']}, "
                f"which has {row['length']}"
            )
    return [[own[number] for number in range(len(own))] for own in found]


def _check_episode(row: dict[str, Any], episode: Episode, folder: Path) -> None:
    """Raise `InputError` if an episode holds what none can hold, or was changed."""
    where = f"episode {row['episode']} in '{folder}'"
    if episode.generator_version != GENERATOR_VERSION:
        raise InputError(
            f"{where} is of generator version {episode.generator_version}; this is "
            f"{GENERATOR_VERSION}: generate it again"
        )
    try:
        _check_names(episode)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    for number, step in enumerate(episode.steps):
        if not (0 <= step.click.x < SCREEN_WIDTH and 0 <= step.click.y < SCREEN_HEIGHT):
            raise InputError(f"{where}: click {number} at {tuple(step.click)} is off the screen")
    if row["content_hash"] and content_hash(episode) != row["content_hash"]:
        raise InputError(f"{where} is not as it was written: its hash differs")


def _check_names(episode: Episode) -> None:
    task = get_task(episode.task)
    get_layout(episode.layout)
    check_name("difficulty", episode.difficulty, (*task.settings, OWN_DATA))
    check_seed(episode.world_seed, "world seed")
    check_seed(episode.annotator_seed, "annotator seed")
    if not 0 <= episode.outcome.score <= 1:
        raise InputError(f"score {episode.outcome.score} is not 0 to 1")
    for step in episode.steps:
        check_name("action", step.action, ACTIONS)
        check_name("phase", step.phase, PHASES)
        if step.latents.mistake_kind:
            check_name("kind of mistake", step.latents.mistake_kind, MISTAKE_KINDS)
        if not 0 <= step.latents.progress <= 1:
            raise InputError(f"progress {step.latents.progress} is not 0 to 1")


def _check_different(
    rows: Sequence[dict[str, Any]], episodes: Sequence[Episode], folder: Path
) -> None:
    seen: dict[str, int] = {}
    for row, episode in zip(rows, episodes, strict=True):
        first = seen.setdefault(content_hash(episode), row["episode"])
        if first != row["episode"]:
            raise InputError(
                f"episodes {first} and {row['episode']} in '{folder}' are the same one twice"
            )


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


def _episode(row: dict[str, Any], steps: tuple[Step, ...], folder: Path) -> Episode:
    texts = ("persona", "counts", "recording")
    found = {name: _object(row[name], name, row["episode"], folder) for name in texts}
    outcome = Outcome(row["score"], row["success"], row["done"], found["counts"])
    names = ("task", "layout", "difficulty", "world_seed", "annotator_seed", "origin")
    return Episode(
        **{name: row[name] for name in names},
        persona=found["persona"],
        steps=steps,
        outcome=outcome,
        frame_hash=row["frame_hash"],
        generator_version=row["generator_version"],
        recording=found["recording"],
    )


def _object(text: str, column: str, episode: int, folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f"'{folder / EPISODES_FILE}': '{column}' of episode {episode} is no JSON object"
        )
    return found
