"""What a run leaves on disk: its experiment, its state for resuming, its saved steps."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.files import atomic_file, remove_leftovers
from bcprobe.model.config import config_from_dict
from bcprobe.training.config import Experiment
from bcprobe.training.shards import DataConfig

EXPERIMENT_FILE = "experiment.json"
STATE_FILE = Path("resume") / "state.safetensors"
#: Where the file keeps the plain values, and the hash of everything.
_KEY, _HASH = "bcprobe", "hash"


def claim_folder(folder: Path, experiment: Experiment, *, resume: bool) -> None:
    """Make ``folder`` this run's, or make sure that it is; what a kill left half written goes.

    Raises `InputError` before anything is written if the folder cannot be written to, holds
    something else, another experiment's run, or this one's without ``resume``; or if there
    is nothing to resume.
    """
    mine = json.loads(json.dumps(experiment.as_dict()))
    path = folder / EXPERIMENT_FILE
    theirs = _read_experiment(path)
    if theirs is None:
        if resume:
            raise InputError(f"nothing to resume in '{folder}'; train without resume")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"'{folder}' is there already and holds no run; choose a new folder")
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(mine, indent=1) + "\n")
        return
    if theirs != mine:
        raise InputError(f"'{folder}' holds another run: {_difference(theirs, mine)}")
    if not resume and (folder / STATE_FILE).exists():
        raise InputError(f"'{folder}' holds a run of '{experiment.name}' already; resume it")
    if not resume and (folder / "config.json").exists():
        raise InputError(f"'{folder}' holds a finished checkpoint; choose a new folder")
    remove_leftovers(folder)


def abandon_folder(folder: Path, *, was_there: bool) -> None:
    """Take back what a run without a step has written; the folder too, unless it ``was_there``."""
    for name in (EXPERIMENT_FILE, "training.parquet", "validation.parquet"):
        (folder / name).unlink(missing_ok=True)
    for part in ("steps", STATE_FILE.parent, "wandb", "tensorboard"):
        shutil.rmtree(folder / part, ignore_errors=True)
    if not was_there:
        folder.rmdir()


def _read_experiment(path: Path) -> dict[str, Any] | None:
    try:
        found = dict(json.loads(path.read_text()))
        model, data = config_from_dict(found["model"]).as_dict(), DataConfig().as_dict()
        usual = {"start_from": "", "minutes": 0.0}
        return usual | found | {"model": model, "data": data | found["data"]}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error


def _difference(theirs: dict[str, Any], mine: dict[str, Any]) -> str:
    for name, value in mine.items():
        if theirs.get(name) != value:
            return f"{name} is {theirs.get(name)} there, {value} here"
    return "its experiment has fields that this version lacks"


@dataclass(frozen=True)
class SavedState:
    """Everything needed to go on: tensors by name, and plain values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors under a prefix, without it."""
        start = f"{prefix}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def save_state(folder: Path, state: SavedState) -> None:
    """Write the state as one safetensors file, which replaces the last one in one stroke.

    Raises `InputError` if it cannot be written; the last one then stands.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in state.tensors.items()}
    with atomic_file(folder / STATE_FILE) as temporary:
        try:
            values = json.dumps(state.values)
            metadata = {_KEY: values, _HASH: _digest(tensors, values)}
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:
            raise OSError(0, str(error)) from error


def _digest(tensors: dict[str, Tensor], values: str) -> str:
    """SHA-256 of everything: the plain values, and each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_state(folder: Path) -> SavedState | None:
    """The state last saved in a folder, or None. Raises `InputError` if it is damaged."""
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            values, digest = (file.metadata()[key] for key in (_KEY, _HASH))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if digest != _digest(tensors, values):
                raise ValueError("its hash is wrong")
            return SavedState(tensors, json.loads(values))
    except KeyError as error:
        raise InputError(f"cannot resume from '{path}': it lacks {error}") from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"cannot resume from '{path}': {error}") from error


def optimizer_tensors(optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """State of optimizers by name: ``<optimizer>.<parameter>.<entry>``."""
    return {
        f"{number}.{parameter}.{entry}": value
        for number, optimizer in enumerate(optimizers)
        for parameter, state in optimizer.state_dict()["state"].items()
        for entry, value in state.items()
    }


def restore_optimizers(optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, into optimizers made anew."""
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            owner, parameter, entry = name.split(".", 2)
            if int(owner) == number:
                state.setdefault(int(parameter), {})[entry] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
