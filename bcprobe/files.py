"""Writing that either happens wholly or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
