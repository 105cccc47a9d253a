"""Where checkpoints lie and what is written about them; needs no torch."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcprobe.errors import InputError, check_name
from bcprobe.model.config import SCHEMA_VERSION
from bcprobe.types import ALL

if TYPE_CHECKING:
    import pandas as pd

#: What every verb looks at unless told otherwise.
DEFAULT_CHECKPOINT = "nine-nano-longer"
#: What the figures over several tasks are about.
NINE_TASK_CHECKPOINT = "nine-nano-longer"
#: What is followed over its saved steps and learns on in studies: all tasks, from nothing.
NINE_TASK_SERIES = "nine-nano"
CONFIG = "config.json"
#: Names of weights files: in the checkpoint's folder, never elsewhere.
_WEIGHTS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")
STEPS = "steps"


#: What the wheel carries lies in the package; in a clone of the repository beside it.
_SHIPPED = (Path(__file__).parents[1] / "checkpoints", Path(__file__).parents[2] / "checkpoints")


def checkpoint_folders() -> list[Path]:
    """Folders of named checkpoints that exist, in the order in which they are searched.

    ``$BCPROBE_CHECKPOINTS``, ``./checkpoints``, and those that are shipped.
    """
    named = os.environ.get("BCPROBE_CHECKPOINTS")
    folders: dict[Path, Path] = {}
    for path in (*([Path(named)] if named else []), Path("checkpoints"), *_SHIPPED):
        if path.is_dir():
            folders.setdefault(path.resolve(), path)
    return list(folders.values())


def list_checkpoints() -> dict[str, Path]:
    """Folder of each named checkpoint, sorted by name; what is found first hides the rest."""
    found = [path.parent for folder in checkpoint_folders() for path in folder.glob(f"*/{CONFIG}")]
    return dict(sorted({path.name: path for path in reversed(found)}.items()))


def list_steps(folder: Path | str) -> list[int]:
    """Frames seen at each saved step of a checkpoint's series, ascending.

    The last one may be the checkpoint itself.
    """
    found = (Path(folder) / STEPS).glob(f"*/{CONFIG}")
    steps = {int(path.parent.name) for path in found if path.parent.name.isdigit()}
    return sorted(steps | _own_frames(Path(folder)))


def _own_frames(folder: Path) -> set[int]:
    """Frames that the checkpoint itself has seen, if it says so."""
    if not (folder / CONFIG).is_file():
        return set()
    frames = read_card(folder).get("metadata", {}).get("frames")
    return {frames} if isinstance(frames, int) else set()


def find_checkpoint(name: str | Path) -> Path:
    """Folder of a checkpoint by path, name, hub id (``owner/name``), or any ``@FRAMES`` of it.

    An existing folder wins over a name, a name over the hub. Raises `InputError` with the
    nearest name and where it was looked for, or the saved steps there are.
    """
    if not isinstance(name, (str, Path)):
        raise InputError(f"a checkpoint is a name or a folder, not {type(name).__name__} {name!r}")
    if (Path(name) / CONFIG).is_file():
        return Path(name)
    base, _, step = str(name).rpartition("@") if "@" in str(name) else (str(name), "", "")
    folder = _find_base(base)
    found = folder / STEPS / step if step else folder
    if not found.is_dir() and step in map(str, _own_frames(folder)):
        found = folder
    if not (found / CONFIG).is_file():
        known = ", ".join(str(frames) for frames in list_steps(folder)) or "none"
        what = f"no saved step '{step}'" if step else "not come to its end"
        raise InputError(f"checkpoint '{base}' has {what}; saved steps: {known}")
    return found


def _is_checkpoint(folder: Path) -> bool:
    return (folder / CONFIG).is_file() or (folder / STEPS).is_dir()


def _find_base(name: str) -> Path:
    shelves = checkpoint_folders()
    for folder in (Path(name), *(shelf / name for shelf in shelves)):
        if _is_checkpoint(folder):
            return folder
    if Path(name).is_dir():
        raise InputError(f"folder '{name}' holds no checkpoint: it has no {CONFIG}")
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return _from_hub(name)
    if "/" in name or os.sep in name:
        raise InputError(f"no checkpoint: there is no folder '{name}'")
    searched = ", ".join(f"'{shelf}'" for shelf in shelves) or "no folder of checkpoints"
    try:
        check_name("checkpoint", name, list_checkpoints())
    except InputError as error:
        raise InputError(f"{error} (searched: {searched})") from None
    raise InputError(f"unknown checkpoint '{name}' (searched: {searched})")


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"no checkpoint: there is no folder '{name}', and the hub does not give it: {reason}"
        ) from error


def read_card(folder: Path | str) -> dict[str, Any]:
    """``config.json`` of a checkpoint. Raises `InputError` if it is damaged or too new."""
    path = Path(folder) / CONFIG
    try:
        card = json.loads(path.read_text())
        version = int(card["schema_version"])
        dict(card["model"]), dict(card["weights"])
        for name, digest in card["weights"].items():
            if not _WEIGHTS.fullmatch(name) or not isinstance(digest, str):
                raise ValueError(f"'{name}' is no name of a weights file")
    except RecursionError:
        raise InputError(f"'{path}' is no checkpoint config: nested too deep") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is no checkpoint config: {error!r}") from error
    if version > SCHEMA_VERSION:
        raise InputError(
            f"'{path}' has schema {version}, newer than {SCHEMA_VERSION}; update bcprobe"
        )
    metadata = card.get("metadata")
    return {**card, "metadata": metadata if isinstance(metadata, dict) else {}}


def trained_tasks(folder: Path | str) -> tuple[str, ...]:
    """Tasks that a checkpoint was trained on, from its config; empty if it does not say."""
    return tasks_in(read_card(folder)["metadata"])


def tasks_in(metadata: dict[str, Any]) -> tuple[str, ...]:
    """Tasks that the metadata of a checkpoint names; none if it says nothing of the kind."""
    found: Any = metadata
    for name in ("experiment", "data", "tasks"):
        found = found.get(name) if isinstance(found, dict) else None
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def tasks_for(tasks: str | Iterable[str] | None, checkpoint: Any = None) -> tuple[str, ...]:
    """Names of the tasks meant: those given, or those that a checkpoint was trained on, or all.

    ``checkpoint`` is a name, a folder, or a model in memory (with its ``folder``, if it came from
    one). Raises `InputError` for unknown names.
    """
    from bcprobe.tasks import task_list  # loads SciPy

    if tasks:
        return task_list(tasks)
    if isinstance(checkpoint, (str, Path)):
        folder: Path | None = find_checkpoint(checkpoint)
    else:
        folder = getattr(checkpoint, "folder", None)
    return (() if folder is None else trained_tasks(folder)) or task_list(ALL)


def check_weights(path: Path, digest: str) -> None:
    """Raise `InputError` unless a weights file has the hash that its config gives."""
    try:
        stat = path.stat()
        found = _file_hash(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    except OSError as error:
        raise InputError(f"cannot read weights '{path}': {error.strerror or error}") from error
    if found != digest:
        raise InputError(f"'{path}' is damaged: its hash is not the one in {CONFIG}")


@lru_cache(maxsize=256)
def _file_hash(path: str, size: int, modified: int, number: int) -> str:
    """SHA-256 of a file; read again when its size, time or inode changes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoint_hash(folder: Path | str) -> str:
    """SHA-256 that names a checkpoint: its shape and the hashes of its weights.

    Raises `InputError` if its weights are not those that its config names.
    """
    card = read_card(folder)
    for name, digest in card["weights"].items():
        check_weights(Path(folder) / name, digest)
    content = json.dumps([card["model"], card["weights"]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def checkpoints() -> pd.DataFrame:
    """The named checkpoints, a row each, the default first.

    ``checkpoint``, ``parameters``, ``tasks`` (names), ``frames`` (learned from in all, those of the
    checkpoints it started from included), ``head``, ``steps`` (frames at each saved step; load one
    as ``NAME@FRAMES``), ``default`` and ``folder``.
    """
    import pandas as pd

    rows = [_row(name, folder) for name, folder in list_checkpoints().items()]
    table = pd.DataFrame(rows, columns=_ROW)
    return table.sort_values("default", ascending=False, kind="stable", ignore_index=True)


_ROW = ("checkpoint", "parameters", "tasks", "frames", "head", "steps", "default", "folder")


def _row(name: str, folder: Path) -> tuple[Any, ...]:
    card = read_card(folder)
    tasks, frames = list(trained_tasks(folder)), total_frames(folder)
    known = (name, parameters(folder), tasks, frames, card["model"]["head"], list_steps(folder))
    return (*known, name == DEFAULT_CHECKPOINT, str(folder))


def parameters(folder: Path | str) -> int:
    """Number of weights of a checkpoint, from the heads of its files."""
    from safetensors import safe_open

    total = 0
    for name in read_card(folder)["weights"]:
        with safe_open(Path(folder) / name, framework="numpy") as weights:
            names = list(weights.keys())
            total += sum(math.prod(weights.get_slice(key).get_shape()) for key in names)
    return total


def total_frames(folder: Path | str) -> int | None:
    """Frames that a checkpoint has learned from, with those of what it started from, if known."""
    metadata = read_card(folder)["metadata"]
    frames, experiment = metadata.get("frames"), metadata.get("experiment")
    start = experiment.get("start_from") if isinstance(experiment, dict) else None
    if not isinstance(frames, int):
        return None
    if "frames_before" in metadata:
        return frames + int(metadata["frames_before"])
    try:
        return frames + ((start and total_frames(find_checkpoint(start))) or 0)
    except InputError:
        return frames
