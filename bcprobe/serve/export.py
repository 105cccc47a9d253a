"""Sessions as the Parquet of `bcprobe generate`, with a person's times."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.export import write_card
from bcprobe.episodes.record import frame_hash
from bcprobe.episodes.store import write_episodes
from bcprobe.errors import InputError
from bcprobe.serve.desk import Desk
from bcprobe.types import GENERATOR_VERSION

#: Sessions in one export.
MOST = 10_000


def episodes(desk: Desk, kind: str | None = None, *, hashed: bool = True) -> list[Episode]:
    """Episodes of the store in the order they were begun; those without a click are left out.

    ``kind``: ``annotate`` for a person's alone, ``watch`` for a model's. Of a person's only the
    finished ones are taken. ``hashed`` fills ``frame_hash``.
    """
    found = []
    for session, count in reversed(desk.store.sessions(kind, MOST)):
        if not count or session.generator_version != GENERATOR_VERSION:
            continue
        episode = desk.episode(session)
        if session.kind == "annotate" and not episode.outcome.done:
            continue
        found.append(replace(episode, frame_hash=frame_hash(episode)) if hashed else episode)
    return found


def write(desk: Desk, folder: Path, kind: str | None = None) -> int:
    """Write the store's episodes into a folder, with a card. Returns how many.

    Raises `InputError` if there is none.
    """
    found = episodes(desk, kind)
    if not found:
        raise InputError("there is no finished session to export yet")
    write_episodes(found, folder)
    write_card(found, folder)
    return len(found)


def zipped(desk: Desk, kind: str | None = None) -> bytes:
    """The same as one zip file."""
    buffer = io.BytesIO()
    with TemporaryDirectory() as folder:
        write(desk, Path(folder), kind)
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(Path(folder).iterdir()):
                file.write(path, f"bcprobe-episodes/{path.name}")
    return buffer.getvalue()
