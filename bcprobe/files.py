"""Writing that either happens wholly or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bcprobe.errors import InputError

#: Letters that `tempfile.mkstemp` puts behind a prefix.
_RANDOM_LETTERS = 8


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Temporary path that becomes ``path`` when the block ends well.

    A failure in the block (a full disk, say) leaves what was at ``path`` before.
    Raises `InputError` if the folder cannot be written to.
    """
    path = Path(path)
    with _io_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed writers have left anywhere in ``folder``."""
    for path in folder.rglob(f".*.{'?' * _RANDOM_LETTERS}"):
        if path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Temporary folder that replaces the folder ``path`` when the block ends well."""
    path = Path(path)
    with _io_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            temporary.chmod(0o755)
            for file in temporary.rglob("*"):
                if file.is_file():
                    _sync(file)
            _swap_in(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _swap_in(temporary: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.replace(old)
    temporary.replace(path)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _io_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror or error}") from error


#: Every file that is written carries this word, by which it is known again.
MARK = b"bcprobe"
#: Bytes looked through at each end of a file: Parquet keeps its metadata at the end.
_LOOKED = 1 << 16


def write_json(path: Path | str, document: Mapping[str, Any]) -> Path:
    """Write a document as JSON, atomically, with ``made_by``. Raises ``ValueError`` for nan."""
    text = json.dumps({"made_by": MARK.decode(), **document}, indent=1, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
    return Path(path)


def is_ours(path: Path) -> bool:
    """Whether a file was written by this library: it says so near its beginning or its end."""
    try:
        with path.open("rb") as file:
            if MARK in file.read(_LOOKED):
                return True
            file.seek(max(0, path.stat().st_size - _LOOKED))
            return MARK in file.read()
    except OSError:
        return False


def check_free(path: Path, *, force: bool) -> None:
    """Raise `InputError` if a file may not be written: it stands there, or is not ours.

    With ``force`` a file of ours may be replaced; one that is not never is.
    """
    if not path.exists() and not path.is_symlink():
        return
    if path.is_dir():
        raise InputError(f"'{path}' is a folder; choose another name")
    if not force:
        raise InputError(f"'{path}' is there already; choose another place, or --force")
    if not is_ours(path):
        raise InputError(f"'{path}' is not a file of bcprobe's; remove it, or choose another place")


def output_folder(
    out: Path | str, names: Iterable[str] = (), *, force: bool = False
) -> AbstractContextManager[Path]:
    """Temporary folder whose files all move into ``out`` when the block ends well, or none.

    ``names`` are files that are sure to come: what stands in their way is said at once, before the
    work. Other files in ``out`` stay. Raises `InputError` if a file may not be written
    (`check_free`).
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"'{out}' is a file; --out takes a folder")
    for name in names:
        check_free(out / name, force=force)
    return _output_folder(out, force)


@contextmanager
def _output_folder(out: Path, force: bool) -> Iterator[Path]:
    with _io_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name or 'out'}."))
        try:
            yield temporary
            _move_all(temporary, out, force=force)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _move_all(temporary: Path, out: Path, *, force: bool) -> None:
    """Move every file into place; if one fails, put back what stood in the others' places."""
    files = sorted(path.relative_to(temporary) for path in temporary.rglob("*") if path.is_file())
    for name in files:
        check_free(out / name, force=force)
    old = temporary / ".old"
    moved: list[Path] = []
    try:
        for name in files:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            if (out / name).exists():
                (old / name).parent.mkdir(parents=True, exist_ok=True)
                (out / name).replace(old / name)
            moved.append(name)
            (temporary / name).replace(out / name)
    except OSError:
        for name in moved:
            if (old / name).exists():
                (old / name).replace(out / name)
            else:
                (out / name).unlink(missing_ok=True)
        raise
