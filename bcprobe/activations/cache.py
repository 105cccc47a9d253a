"""Activations on disk, named by their content; damaged ones are made again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bcprobe.activations.dataset import Activations, Source, Values
from bcprobe.errors import InputError
from bcprobe.files import atomic_folder
from bcprobe.results import read_table, write_table

LABELS = "labels.parquet"
MANIFEST = "manifest.json"
PIXELS = "pixels.npy"


def cache_folder() -> Path:
    """``$BCPROBE_CACHE``, or ``~/.cache/bcprobe``."""
    named = os.environ.get("BCPROBE_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "bcprobe"


def entry_folder(source: Source) -> Path:
    """Where a source's activations lie, if they do."""
    return cache_folder() / "activations" / source.key[:24]


def load_or_make(
    sources: Sequence[Source], make: Callable[[Sequence[Source]], Iterable[Activations]]
) -> list[Activations]:
    """Activations of each source from disk; missing or damaged ones are made and kept.

    ``make`` is asked once, for all that are missing, in order; each is kept as soon as it is
    there. Raises `InputError` at once if the cache cannot be written to.
    """
    found = [read_entry(entry_folder(source)) for source in sources]
    missing = [source for source, entry in zip(sources, found, strict=True) if entry is None]
    if missing:
        _check_room(entry_folder(missing[0]).parent)
    made = []
    for source, activations in zip(missing, make(missing) if missing else (), strict=True):
        write_entry(entry_folder(source), activations, source)
        made.append(activations)
    rest = iter(made)
    return [next(rest) if entry is None else entry for entry in found]


def write_entry(folder: Path, activations: Activations, source: Source) -> None:
    """Write an entry whole or not at all: one ``.npy`` per site, the labels, a manifest."""
    with atomic_folder(folder) as temporary:
        for name, values in _arrays(activations).items():
            (temporary / name).parent.mkdir(exist_ok=True)
            np.save(temporary / name, values.astype(np.float16, copy=False))
        write_table(activations.labels, temporary / LABELS)
        names = [*_arrays(activations), LABELS]
        manifest = {
            "source": source.as_dict(),
            "hashes": activations.hashes,
            "files": {name: _digest(temporary / name) for name in names},
        }
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def read_entry(folder: Path) -> Activations | None:
    """Activations of an entry; None if there is none, or it is damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files, hashes = dict(manifest["files"]), dict(manifest["hashes"])
        if any(_digest(folder / name) != digest for name, digest in files.items()):
            return None
        arrays = {name: np.load(folder / name) for name in files if name != LABELS}
        return Activations(
            values=_named(arrays, "values"),
            labels=read_table(folder / LABELS),
            untrained=_named(arrays, "untrained"),
            pixels=arrays.get(PIXELS),
            hashes=hashes,
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, InputError):
        return None


def remove_entry(source: Source) -> None:
    """Forget a source's activations."""
    shutil.rmtree(entry_folder(source), ignore_errors=True)


def _arrays(activations: Activations) -> Values:
    arrays = {f"values/{site}.npy": values for site, values in activations.values.items()}
    arrays |= {f"untrained/{site}.npy": values for site, values in activations.untrained.items()}
    return arrays if activations.pixels is None else {**arrays, PIXELS: activations.pixels}


def _named(arrays: dict[str, NDArray[np.float16]], kind: str) -> Values:
    start = f"{kind}/"
    return {
        name.removeprefix(start).removesuffix(".npy"): values
        for name, values in arrays.items()
        if name.startswith(start)
    }


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _check_room(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write the cache '{folder}': {error.strerror}; set BCPROBE_CACHE to a folder"
        ) from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write the cache '{folder}'; set BCPROBE_CACHE to a folder")
