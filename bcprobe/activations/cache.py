"""Activations on disk, named by their content; damaged ones are made again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from bcprobe.activations.dataset import Activations, Source, Values, name_of
from bcprobe.errors import InputError
from bcprobe.files import atomic_folder
from bcprobe.parallel import in_threads
from bcprobe.results import read_table, write_table

LABELS, PREDICTIONS = "labels.parquet", "predictions.parquet"
MANIFEST = "manifest.json"
PIXELS = "pixels.npy"
VALUES, UNTRAINED = "values", "untrained"


def cache_folder() -> Path:
    """``$BCPROBE_CACHE``, or ``~/.cache/bcprobe``."""
    named = os.environ.get("BCPROBE_CACHE")
    return Path(named) if named else Path(os.path.expanduser("~")) / ".cache" / "bcprobe"


def entry_folder(source: Source) -> Path:
    """Where a source's activations lie, if they do."""
    return cache_folder() / "activations" / source.key[:24]


def load_or_make(
    sources: Sequence[Source], make: Callable[[Sequence[Source]], Iterable[Activations]]
) -> list[Activations]:
    """Activations of each source from disk; missing or damaged ones are made and kept.

    ``make`` is asked once, for all that are missing, in order; each is kept as soon as it is
    there. A cache that cannot be written is done without, which is said once.
    """
    found = in_threads(lambda source: read_entry(entry_folder(source), source), sources)
    missing = [source for source, entry in zip(sources, found, strict=True) if entry is None]
    made = []
    for source, activations in zip(missing, make(missing) if missing else (), strict=True):
        try:
            write_entry(entry_folder(source), activations, source)
        except InputError as error:
            _say_once(str(error))
        made.append(activations)
    rest = iter(made)
    return [next(rest) if entry is None else entry for entry in found]


def write_entry(folder: Path, activations: Activations, source: Source) -> None:
    """Write an entry whole or not at all: one ``.npy`` per site, the tables, a manifest."""
    with atomic_folder(folder) as temporary:
        for name, values in _arrays(activations).items():
            (temporary / name).parent.mkdir(exist_ok=True)
            np.save(temporary / name, values)
        tables = {LABELS: activations.labels, PREDICTIONS: activations.predictions}
        for name, table in tables.items():
            if table is not None:
                write_table(table, temporary / name)
        files = [path for path in sorted(temporary.rglob("*")) if path.is_file()]
        manifest = {
            "source": source.as_dict(),
            "hashes": activations.hashes,
            "files": {path.relative_to(temporary).as_posix(): _digest(path) for path in files},
        }
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def read_entry(folder: Path, source: Source) -> Activations | None:
    """Activations of a source's entry; None if there is none, or it is not whole and the source's.

    A manifest counts only if it is of this source, names all its files and no other, and the
    arrays have a row for each label.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files, hashes = dict(manifest["files"]), dict(manifest["hashes"])
        if manifest["source"] != json.loads(json.dumps(source.as_dict())):
            return None
        if set(files) != _expected(source) or any(
            _digest(folder / name) != digest for name, digest in files.items()
        ):
            return None
        arrays = {n: np.load(folder / n, allow_pickle=False) for n in files if n.endswith(".npy")}
        labels = read_table(folder / LABELS)
        predictions = read_table(folder / PREDICTIONS)
        if {len(labels)} != {len(predictions), *(len(values) for values in arrays.values())}:
            return None
        return Activations(
            values=_named(arrays, VALUES),
            labels=labels,
            untrained=tuple(_named(arrays, f"{UNTRAINED}.{n}") for n in range(source.untrained)),
            pixels=arrays[PIXELS],
            hashes={str(name): str(value) for name, value in hashes.items()},
            predictions=predictions,
            config=source.config,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, pa.ArrowException, InputError):
        return None


def remove_entry(source: Source) -> None:
    """Forget a source's activations."""
    shutil.rmtree(entry_folder(source), ignore_errors=True)


def _expected(source: Source) -> set[str]:
    """Names of an entry's files."""
    kinds = [VALUES, *(f"{UNTRAINED}.{number}" for number in range(source.untrained))]
    names = [name_of(site, token) for site in source.sites for token in source.tokens]
    arrays = {f"{kind}/{name}.npy" for kind in kinds for name in names}
    return {*arrays, PIXELS, LABELS, PREDICTIONS}


def _arrays(activations: Activations) -> Values:
    arrays = {f"{VALUES}/{name}.npy": values for name, values in activations.values.items()}
    for number, one in enumerate(activations.untrained):
        arrays |= {f"{UNTRAINED}.{number}/{name}.npy": values for name, values in one.items()}
    return arrays if activations.pixels is None else {**arrays, PIXELS: activations.pixels}


def _named(arrays: Values, kind: str) -> Values:
    start = f"{kind}/"
    return {
        name.removeprefix(start).removesuffix(".npy"): values
        for name, values in arrays.items()
        if name.startswith(start)
    }


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


@lru_cache(maxsize=1)
def _say_once(line: str) -> None:
    sys.stderr.write(
        f"bcprobe: {line}; working without the cache (set BCPROBE_CACHE to a folder)\n"
    )
