"""Shape of a ClickTransformer, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from bcprobe.errors import InputError, check_name
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

SCHEMA_VERSION = 1
HEADS = ("pointer", "fine_pointer", "independent")
ENCODERS = ("patch", "dinov2")


#: Largest sizes that a config may name.
LARGEST = {
    "d_model": 1 << 14,
    "n_layers": 256,
    "n_heads": 256,
    "mlp_ratio": 64,
    "n_registers": 1 << 12,
    "context": 1 << 12,
}


def _check_size(name: str, size: object, least: int, most: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int):
        raise InputError(f"model config: {name} is {size!r}, no whole number")
    if not least <= size <= most:
        raise InputError(f"model config: {name} is {size}; it must be {least} to {most}")


@dataclass(frozen=True)
class ClickTransformerConfig:
    """Shape of the network.

    ``stem`` lists the non-overlapping convolutions from pixels to patch tokens as ``(width,
    height, channels)``: the kernel sizes multiply to the patch size, and the last stage has
    ``d_model`` channels. The ``fine_pointer`` head also reads the last stage but one: the
    *cells* that make up a patch. ``context`` is the number of frames a frame attends to, itself
    included. A frame's tokens are its patches row by row, the previous click, the
    registers, and last [cls].

    The ``dinov2`` encoder takes only the grid and width from ``stem``; ``encoder_weights`` is
    a hub id or a local folder.
    """

    d_model: int = 128
    n_layers: int = 5
    n_heads: int = 4
    mlp_ratio: int = 4
    stem: tuple[tuple[int, int, int], ...] = ((8, 6, 32), (5, 5, 64), (2, 3, 128))
    n_registers: int = 0
    context: int = 6
    head: str = "pointer"
    encoder: str = "patch"
    encoder_weights: str = "facebook/dinov2-small"
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_name("head", self.head, HEADS)
        check_name("encoder", self.encoder, ENCODERS)
        if self.schema_version > SCHEMA_VERSION:
            raise InputError(
                f"model config has schema {self.schema_version}, newer than {SCHEMA_VERSION}; "
                "update bcprobe"
            )
        self._check_sizes()
        if self.d_model % (2 * self.n_heads):
            raise InputError(
                f"model config: d_model {self.d_model} is no even multiple of {self.n_heads} heads"
            )
        if len(self.stem) < 2:
            raise InputError("model config: the stem needs two stages or more")
        if SCREEN_WIDTH % self.patch[0] or SCREEN_HEIGHT % self.patch[1]:
            raise InputError(f"model config: patches of {self.patch} px do not tile the screen")
        if self.stem[-1][2] != self.d_model:
            raise InputError(f"model config: the stem must end in {self.d_model} channels")
        if self.head == "fine_pointer" and self.encoder != "patch":
            raise InputError("model config: head fine_pointer needs the patch encoder; use pointer")
        if self.head == "fine_pointer" and len(self.stem) < 3:
            raise InputError("model config: head fine_pointer needs a stem of three stages or more")

    def _check_sizes(self) -> None:
        for name, most in LARGEST.items():
            _check_size(name, getattr(self, name), 0 if name == "n_registers" else 1, most)
        for size in (size for stage in self.stem for size in stage):
            _check_size("stem", size, 1, LARGEST["d_model"])

    @property
    def patch(self) -> tuple[int, int]:
        """Width and height of a patch in px."""
        width = height = 1
        for stage_width, stage_height, _ in self.stem:
            width, height = width * stage_width, height * stage_height
        return width, height

    @property
    def grid(self) -> tuple[int, int]:
        """Columns and rows of patches."""
        return SCREEN_WIDTH // self.patch[0], SCREEN_HEIGHT // self.patch[1]

    @property
    def split(self) -> tuple[int, int]:
        """Columns and rows of cells into which the head divides a patch."""
        return self.stem[-1][:2] if self.head == "fine_pointer" else (1, 1)

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height in px of the cells of the head."""
        return self.patch[0] // self.split[0], self.patch[1] // self.split[1]

    @property
    def cell_channels(self) -> int:
        """Features of a cell that the head reads beside its patch's token."""
        return self.stem[-2][2] if self.head == "fine_pointer" else 0

    @property
    def n_patches(self) -> int:
        """Patch tokens of a frame."""
        return self.grid[0] * self.grid[1]

    @property
    def tokens_per_frame(self) -> int:
        """Patches, previous click, registers and [cls]."""
        return self.n_patches + 2 + self.n_registers

    @property
    def cls_index(self) -> int:
        """Place of [cls] among a frame's tokens."""
        return self.tokens_per_frame - 1

    @property
    def token_names(self) -> tuple[str, ...]:
        """Name of each token of a frame; a patch's is its column and row, from 0."""
        columns, rows = self.grid
        patches = [f"patch {column},{row}" for row in range(rows) for column in range(columns)]
        registers = [f"register {number}" for number in range(self.n_registers)]
        return (*patches, "previous click", *registers, "[cls]")

    @property
    def reach(self) -> int:
        """Last frames, the present one among them, on which an answer can depend."""
        return self.n_layers * (self.context - 1) + 1

    @property
    def d_head(self) -> int:
        """Width of an attention head."""
        return self.d_model // self.n_heads

    def as_dict(self) -> dict[str, Any]:
        """Plain form, for config.json."""
        return {**asdict(self), "stem": [list(stage) for stage in self.stem]}


def config_from_dict(values: dict[str, Any]) -> ClickTransformerConfig:
    """Config from its plain form. Raises `InputError` for fields it does not know."""
    version = values.get("schema_version", SCHEMA_VERSION)
    _check_size("schema_version", version, 1, 1 << 30)
    for name in ("head", "encoder", "encoder_weights"):
        if not isinstance(values.get(name, ""), str):
            raise InputError(f"model config: {name} is {values[name]!r}, no text")
    known = {field.name for field in fields(ClickTransformerConfig)}
    unknown = sorted(set(values) - known)
    if unknown and version <= SCHEMA_VERSION:
        raise InputError(f"model config: unknown field '{unknown[0]}'")
    kept = {name: value for name, value in values.items() if name in known}
    try:
        if "stem" in kept:
            kept["stem"] = tuple(tuple(stage) for stage in kept["stem"])
            if len(kept["stem"]) > 16 or any(len(stage) != 3 for stage in kept["stem"]):
                raise InputError("model config: stem is a list of [width, height, channels]")
        return ClickTransformerConfig(**kept)
    except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"model config: {error}") from error


def _fine(d_model: int, n_layers: int, n_heads: int) -> ClickTransformerConfig:
    """Patches of 40 px, 12 x 9 to the frame, registers up to 128 tokens, 20 frames."""
    return ClickTransformerConfig(
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        stem=((4, 4, d_model // 8), (5, 5, d_model // 2), (2, 2, d_model)),
        head="fine_pointer",
        n_registers=18,
        context=20,
    )


PRESETS: dict[str, ClickTransformerConfig] = {
    "nano": ClickTransformerConfig(
        stem=((8, 6, 32), (5, 5, 128), (2, 3, 128)), head="fine_pointer"
    ),
    "small": replace(_fine(256, 7, 4), context=10),
    "base": _fine(512, 8, 8),
    "large": _fine(896, 9, 14),
    "huge": _fine(1536, 11, 16),
}


def get_preset(name: str) -> ClickTransformerConfig:
    """The preset of that name. Raises `InputError` with the nearest name."""
    return PRESETS[check_name("preset", name, PRESETS)]
