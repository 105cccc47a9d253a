"""Where checkpoints lie and what is written about them; needs no torch."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from bcprobe.errors import InputError, check_name
from bcprobe.model.config import SCHEMA_VERSION

#: What every verb looks at unless told otherwise.
DEFAULT_CHECKPOINT = "nine-nano-longer"
#: What the figures over several tasks are about.
NINE_TASK_CHECKPOINT = "nine-nano-longer"
#: What is followed over its saved steps and learns on in studies: all tasks, from nothing.
NINE_TASK_SERIES = "nine-nano"
CONFIG = "config.json"
STEPS = "steps"


def checkpoint_folder() -> Path:
    """Folder of named checkpoints: ``$BCPROBE_CHECKPOINTS``, ``./checkpoints``, or the
    repository's."""
    named = os.environ.get("BCPROBE_CHECKPOINTS")
    if named:
        return Path(named)
    here = Path("checkpoints")
    return here if here.is_dir() else Path(__file__).parents[2] / "checkpoints"


def list_checkpoints() -> list[str]:
    """Names of the checkpoints at hand, sorted."""
    folder = checkpoint_folder()
    return sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))


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
    """Folder of a checkpoint by name, path, hub id (``owner/name``), or ``NAME@FRAMES``.

    Raises `InputError` with the nearest name, or the saved steps there are.
    """
    base, _, step = str(name).partition("@")
    folder = _find_base(base)
    found = folder / STEPS / step if step else folder
    if not found.is_dir() and step in map(str, _own_frames(folder)):
        found = folder
    if not (found / CONFIG).is_file():
        known = ", ".join(str(frames) for frames in list_steps(folder)) or "none"
        what = f"no saved step '{step}'" if step else "not come to its end"
        raise InputError(f"checkpoint '{base}' has {what}; saved steps: {known}")
    return found


def _find_base(name: str) -> Path:
    for folder in (checkpoint_folder() / name, Path(name)):
        if (folder / CONFIG).is_file() or (folder / STEPS).is_dir():
            return folder
    if Path(name).is_dir():
        raise InputError(f"folder '{name}' holds no checkpoint: it has no {CONFIG}")
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return _from_hub(name)
    check_name("checkpoint", name, list_checkpoints())
    raise InputError(f"unknown checkpoint '{name}'")


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"cannot fetch checkpoint '{name}' from the hub: {reason}") from error


def read_card(folder: Path | str) -> dict[str, Any]:
    """``config.json`` of a checkpoint. Raises `InputError` if it is damaged or too new."""
    path = Path(folder) / CONFIG
    try:
        card = json.loads(path.read_text())
        version = int(card["schema_version"])
        dict(card["model"]), dict(card["weights"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is no checkpoint config: {error!r}") from error
    if version > SCHEMA_VERSION:
        raise InputError(
            f"'{path}' has schema {version}, newer than {SCHEMA_VERSION}; update bcprobe"
        )
    return dict(card)


def trained_tasks(folder: Path | str) -> tuple[str, ...]:
    """Tasks that a checkpoint was trained on, from its config; empty if it does not say."""
    experiment = read_card(folder).get("metadata", {}).get("experiment", {})
    return tuple(experiment.get("data", {}).get("tasks", ()))


def checkpoint_hash(folder: Path | str) -> str:
    """SHA-256 that names a checkpoint: its shape and the hashes of its weights."""
    card = read_card(folder)
    content = json.dumps([card["model"], card["weights"]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
