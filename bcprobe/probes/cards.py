"""Direction cards: a probe's direction with all one needs to use it and to judge it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from bcprobe.bootstrap import Floats
from bcprobe.errors import InputError
from bcprobe.files import MARK, atomic_file, write_json
from bcprobe.probes.directions import Direction

SCHEMA_VERSION = 1
TENSOR, CARD, README = "direction.safetensors", "card.json", "README.md"
OPERATIONS = {
    "add": "residual += alpha * separation * direction",
    "ablate": "residual -= (residual @ direction - centre) * direction",
}


@dataclass(frozen=True)
class ProbeCard:
    """What is known of a direction.

    ``classes`` names the rows of the tensor (the latent itself for binary and number
    latents); ``sign`` says what grows along it. ``separation``, ``spread`` and ``centre``
    are in the activations' units, see `Direction`. ``score`` and ``controls`` are as
    `bcprobe.results.Score.as_dict` gives them, and of the negatives named.
    """

    latent: str
    site: str
    layer: int
    position: str
    classes: tuple[str, ...]
    sign: str
    separation: tuple[float, ...]
    spread: tuple[float, ...]
    centre: tuple[float, ...]
    checkpoint: str
    checkpoint_hash: str
    data_key: str
    episodes_hash: str
    task: str
    episodes: int
    negatives: str
    metric: str
    score: dict[str, Any]
    controls: dict[str, Any]
    operation: dict[str, str] = field(default_factory=lambda: dict(OPERATIONS))
    schema_version: int = SCHEMA_VERSION

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))


def make_probe_card(direction: Direction, **known: Any) -> ProbeCard:
    """Card of a direction; ``known`` are the card's other fields."""
    scales: dict[str, Any] = {
        name: tuple(float(value) for value in getattr(direction, name))
        for name in ("separation", "spread", "centre")
    }
    binary = direction.classes == (known["latent"],)
    what = known["latent"] if binary else "the class that names the row"
    sign = f"positive: more of {what}"
    return ProbeCard(classes=direction.classes, sign=sign, position="cls", **scales, **known)


def write_probe_card(folder: Path | str, card: ProbeCard, directions: Floats) -> list[Path]:
    """Write tensor, card and README into the folder; returns their paths.

    ``directions`` [class, d] are stored as float32 under ``direction``, and as one [d] where
    there is one class. Raises `InputError` if the folder cannot be written to.
    """
    folder = Path(folder)
    tensor = np.ascontiguousarray(directions.squeeze(0) if len(directions) == 1 else directions)
    with atomic_file(folder / TENSOR) as temporary:
        metadata = {
            "made_by": MARK.decode(),
            "site": card.site,
            "latent": card.latent,
            "checkpoint": card.checkpoint_hash,
        }
        save_file({"direction": tensor.astype(np.float32)}, temporary, metadata=metadata)
    write_json(folder / CARD, card.as_dict())
    with atomic_file(folder / README) as temporary:
        temporary.write_text(_readme(card) + "\n")
    return [folder / name for name in (TENSOR, CARD, README)]


def read_probe_card(folder: Path | str) -> tuple[ProbeCard, Floats]:
    """Card and directions float64 [class, d] of a folder.

    Raises `InputError` if they are missing, damaged, or of a newer schema.
    """
    path = Path(folder) / CARD
    try:
        plain = json.loads(path.read_text())
        plain.pop("made_by", None)
        if plain["schema_version"] > SCHEMA_VERSION:
            raise InputError(
                f"'{path}' has schema {plain['schema_version']}, newer than {SCHEMA_VERSION}; "
                "update bcprobe"
            )
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        card = ProbeCard(**values)
        directions = load_file(Path(folder) / TENSOR)["direction"].astype(float)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"'{path}' is no direction card: {error}") from error
    return card, np.atleast_2d(directions)


def _readme(card: ProbeCard) -> str:
    rows = [("probe", card.score), *card.controls.items()]
    lines = [f"| {name} | {_number(score)} |" for name, score in rows]
    uses = [f"- {name}: `{formula}`" for name, formula in card.operation.items()]
    return "\n".join(
        [
            f"# The direction of `{card.latent}` at `{card.site}`",
            "",
            f"Read from [cls] of `{card.checkpoint}` ({card.checkpoint_hash[:12]}) on "
            f"{card.episodes} test episodes of {card.task}; {card.sign}.",
            "Made with bcprobe. "
            f"Tensor `direction` in `{TENSOR}`, unit length; numbers in `{CARD}`.",
            "",
            f"| negatives: {card.negatives} | {card.metric} [95 %] |",
            "|---|---|",
            *lines,
            "",
            *uses,
        ]
    )


def _number(score: dict[str, Any]) -> str:
    values = [score[name] for name in ("estimate", "lower", "upper")]
    shown = ["-" if value is None else f"{value:.3f}" for value in values]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"
