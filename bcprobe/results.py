"""Numbers with their intervals, and the tidy tables they are kept in."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bcprobe.errors import InputError
from bcprobe.files import MARK, atomic_file


@dataclass(frozen=True)
class Score:
    """An estimate with its 95 % interval; ``n`` counts the units behind it."""

    estimate: float
    lower: float
    upper: float
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """JSON form; nan becomes ``None``."""
        plain = asdict(self)
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in plain.items()}

    def row(self, **names: Any) -> dict[str, Any]:
        """Row of a tidy table: the names that say which number it is, then the numbers."""
        return {**names, **asdict(self)}

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


def write_table(table: pd.DataFrame, path: Path | str, **metadata: str) -> Path:
    """Write a table as Parquet, atomically; ``metadata`` goes into the file's schema."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    named = {"made_by": MARK.decode(), **metadata}
    extra = {key.encode(): value.encode() for key, value in named.items()}
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **extra})
    with atomic_file(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")
    return Path(path)


def read_table(path: Path | str, required: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a Parquet table. Raises `InputError` if it is unreadable or lacks a column."""
    try:
        table = pq.read_table(path).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot read table '{path}': {str(error).splitlines()[0]}") from error
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise InputError(f"table '{path}' lacks column '{missing[0]}'")
    return table
