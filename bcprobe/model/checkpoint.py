"""Checkpoints in Hugging Face form: config.json and safetensors, never pickle.

Weights files are named by their content and ``config.json`` is replaced last, in one
rename: a save that dies leaves the checkpoint that was there before, whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.files import atomic_file
from bcprobe.machine import free_memory, pick_device
from bcprobe.model.config import SCHEMA_VERSION, config_from_dict
from bcprobe.model.registry import CONFIG, check_weights, find_checkpoint, read_card
from bcprobe.model.transformer import ClickTransformer

SHARD_BYTES = 15_000_000


def save_checkpoint(
    model: ClickTransformer,
    folder: Path | str,
    *,
    dtype: torch.dtype = torch.bfloat16,
    **metadata: Any,
) -> Path:
    """Save weights (as ``dtype``) and config; ``metadata`` is anything JSON can hold.

    Raises `InputError` if the folder cannot be written; what was there stays loadable.
    """
    folder = Path(folder)
    weights = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    hashes = {}
    for shard in _shards(weights):
        content = save(shard)
        digest = hashlib.sha256(content).hexdigest()
        name = f"model-{digest[:12]}.safetensors"
        with atomic_file(folder / name) as temporary:
            temporary.write_bytes(content)
        hashes[name] = digest
    card = {
        "schema_version": SCHEMA_VERSION,
        "model": model.config.as_dict(),
        "weights": hashes,
        "metadata": metadata,
    }
    with atomic_file(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n")
    for old in folder.glob("model-*.safetensors"):
        if old.name not in hashes:
            old.unlink()
    return folder


def _shards(weights: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Split tensors, in order, into files of at most `SHARD_BYTES` (larger ones stand alone)."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in weights.items():
        if shard and size + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    yield shard


def load_checkpoint(name: str | Path, device: str | torch.device = "cpu") -> ClickTransformer:
    """Model of a checkpoint, in float32 and evaluation mode; ``.metadata`` and ``.folder`` set.

    Its weights are frozen, so that outputs and activations convert to NumPy as they are; call
    ``model.requires_grad_()`` to train it further.

    ``name`` is a name in `checkpoint_folder`, a path, a hub id, or any of them with
    ``@FRAMES`` for a saved step; ``device`` as `bcprobe.machine.pick_device` takes it. Raises
    `InputError` for unknown names, damaged files and a device that is not there.
    """
    device = pick_device(str(device))
    folder = find_checkpoint(name)
    card = read_card(folder)
    config = config_from_dict(card["model"])
    weights: dict[str, Tensor] = {}
    for file, digest in card["weights"].items():
        weights |= _read_weights(folder / file, digest)
    if config.encoder == "patch":  # before anything is allocated; DINOv2 is not made on meta
        with torch.device("meta"):
            _check(ClickTransformer(config), weights, folder)
    model = ClickTransformer(config)
    _check(model, weights, folder)
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    model.metadata, model.folder = card["metadata"], folder
    return model.eval().requires_grad_(False).to(device)


def _read_weights(path: Path, digest: str) -> dict[str, Tensor]:
    try:
        check_weights(path, digest)
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read weights '{path}': {error}") from error


def _check(model: ClickTransformer, weights: dict[str, Tensor], folder: Path) -> None:
    """Raise `InputError` unless the weights are the model's, finite, and fit into memory."""
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in weights:
            raise InputError(f"checkpoint '{folder}' lacks the tensor '{name}'")
        if weights[name].shape != tensor.shape:
            raise InputError(
                f"checkpoint '{folder}': '{name}' has shape {list(weights[name].shape)}, "
                f"the config asks for {list(tensor.shape)}"
            )
    extra = sorted(set(weights) - set(wanted))
    if extra:
        raise InputError(f"checkpoint '{folder}' has a tensor too many: '{extra[0]}'")
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            raise InputError(f"checkpoint '{folder}': '{name}' holds {tensor.dtype}, no numbers")
        if not torch.isfinite(tensor).all():
            raise InputError(f"checkpoint '{folder}': '{name}' holds nan or infinite weights")
    needed = 4 * sum(tensor.numel() for tensor in wanted.values())
    if needed > free_memory():
        raise InputError(
            f"checkpoint '{folder}' needs {needed / 1e9:.1f} GB and there are "
            f"{free_memory() / 1e9:.1f} GB free"
        )
