"""Labelled activations as shards on disk, for ``datasets`` and for trainers of one's own.

A folder holds ``manifest.json`` and numbered shards of whole episodes. As Parquet a shard is one
table: a row per step, the labels, the predictions, and one fixed-size list of numbers per site and
token; ``datasets.load_dataset("parquet", data_files="FOLDER/*.parquet")`` reads it. As safetensors
a shard holds one tensor [step, d] per site and token, and its labels lie beside it as Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bcprobe.activations.dataset import Activations, Source
from bcprobe.activations.gather import JOB, job_worlds, work
from bcprobe.errors import InputError, check_name
from bcprobe.files import atomic_file
from bcprobe.machine import pick_device
from bcprobe.parallel import in_processes
from bcprobe.progress import Progress
from bcprobe.results import write_table

MANIFEST = "manifest.json"
FORMATS = ("parquet", "safetensors")


def save(
    activations: Activations, folder: Path | str, format: str = "parquet", *, force: bool = False
) -> Path:
    """Write activations in memory as shards of `JOB` episodes; returns the folder.

    Raises `InputError` for an unknown format, or if something else stands there, unless ``force``
    (which replaces shards and leaves files that are not this library's).
    """
    folder = Path(folder)
    about = {"checkpoint": activations.checkpoint, "hashes": activations.hashes}
    _claim(folder, about, format, force=force, resume=False)
    shards = activations.labels["episode"].to_numpy() // JOB
    names = []
    for number in np.unique(shards):
        names += _write(folder, int(number), activations.rows(shards == number), format)
    _finish(folder, about, format, names)
    return folder


def export(
    sources: Sequence[Source],
    folder: Path | str,
    format: str = "parquet",
    *,
    force: bool = False,
    device: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Gather activations of sources into shards on disk, a few episodes in memory at a time.

    A folder that a stopped export of the same sources left behind is gone on with. Returns the
    folder. Raises `InputError` for an unknown format, or if something else stands there, unless
    ``force``.
    """
    folder, device = Path(folder), pick_device(device)
    about = {"sources": [source.as_dict() for source in sources]}
    resume = _claim(folder, about, format, force=force, resume=True)
    jobs = [(s, part.tolist(), device) for s in sources for part in job_worlds(s)]
    todo = [n for n in range(len(jobs)) if not (resume and _is_whole(folder, n, format))]
    done = in_processes(work, [jobs[n] for n in todo], workers if device == "cpu" else 1)
    with Progress(len(jobs), "activations", shown=progress) as bar:
        bar.at(len(jobs) - len(todo))
        for number, (part, _) in zip(todo, done, strict=True):
            _write(folder, number, part, format)
            bar.advance(label=f"activations: {part.tasks[0]}")
    names = [name for n in range(len(jobs)) for name in _names(n, format)]
    _finish(folder, about, format, names)
    return folder


def read_shards(folder: Path | str) -> Iterator[pd.DataFrame]:
    """The shards of a Parquet export, one table at a time, activations as arrays in their cells."""
    folder = Path(folder)
    for number in count():
        path = folder / _names(number, "parquet")[0]
        if not path.is_file():
            return
        yield pq.read_table(path).to_pandas()


def _claim(folder: Path, about: dict[str, Any], format: str, *, force: bool, resume: bool) -> bool:
    """Make a folder this export's; whether one of the same was begun there."""
    check_name("format", format, FORMATS)
    plain = json.loads(json.dumps({**about, "format": format}))
    manifest = folder / MANIFEST
    if manifest.exists() or (folder.is_dir() and any(folder.iterdir())) or folder.is_file():
        there = _read_manifest(manifest)
        same = there is not None and {k: there.get(k) for k in plain} == plain
        if same and resume and not force:
            return True
        if not force:
            raise InputError(f"'{folder}' is not empty; choose another folder, or --force")
        if there is None and folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"'{folder}' holds files that are not an export's; choose another")
        for name in [] if there is None else there.get("files", []):
            if Path(str(name)).name == name:
                (folder / name).unlink(missing_ok=True)
    with atomic_file(manifest) as temporary:
        temporary.write_text(json.dumps({**plain, "files": []}, indent=1) + "\n")
    return False


def _read_manifest(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _finish(folder: Path, about: dict[str, Any], format: str, names: Iterable[str]) -> None:
    document = {**about, "format": format, "files": list(names)}
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")


def _names(number: int, format: str) -> list[str]:
    """Files of a shard; the first is written last."""
    labels = [f"labels-{number:05d}.parquet"] if format == "safetensors" else []
    return [f"shard-{number:05d}.{format}", *labels]


def _is_whole(folder: Path, number: int, format: str) -> bool:
    return all((folder / name).is_file() for name in _names(number, format))


def _write(folder: Path, number: int, part: Activations, format: str) -> list[str]:
    names = _names(number, format)
    labels = part.labels
    if part.predictions is not None:
        labels = pd.concat([labels, part.predictions], axis=1)
    if format == "safetensors":
        from safetensors.numpy import save_file

        write_table(labels, folder / names[1])
        with atomic_file(folder / names[0]) as temporary:
            save_file({n: np.ascontiguousarray(v) for n, v in part.values.items()}, temporary)
        return names
    table = pa.Table.from_pandas(labels, preserve_index=False)
    for name, values in part.values.items():
        table = table.append_column(name, _lists(values))
    with atomic_file(folder / names[0]) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return names


def _lists(values: NDArray[np.floating[Any]]) -> pa.Array:
    """Rows [step, d] as fixed-size lists of float32, which every reader knows."""
    flat = pa.array(values.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
