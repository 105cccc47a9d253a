"""Numbers with their intervals, and the tidy tables they are kept in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from bcprobe.errors import InputError
from bcprobe.files import atomic_file

Z_95 = 1.959963984540054


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

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


def wilson(successes: int, n: int) -> Score:
    """Share of successes with Wilson's interval (Wilson 1927)."""
    if n == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    share = successes / n
    centre = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    spread = share * (1 - share) / n + Z_95**2 / (4 * n * n)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(spread)
    return Score(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)), n)


def cluster_bootstrap(
    groups: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], float],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """``statistic(row_weights)`` with the percentile interval of a cluster bootstrap.

    ``groups`` [row] names each row's cluster (the episode). ``statistic`` gets one weight
    per row: how often the row's cluster was drawn. Resamples on which it is nan are left out. The
    interval of a single cluster is nan: it says nothing about others.
    """
    _, code = np.unique(np.asarray(groups), return_inverse=True)
    count = int(code.max()) + 1 if len(code) else 0
    if count == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    rng = np.random.default_rng(seed)
    estimate = float(statistic(np.ones(len(code))))
    draws = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    values = np.array([statistic(draw[code].astype(float)) for draw in draws])
    values = values[~np.isnan(values)]
    if len(values) == 0 or count == 1:
        return Score(estimate, math.nan, math.nan, count)
    lower, upper = np.quantile(values, [0.025, 0.975])
    return Score(estimate, float(lower), float(upper), count)


def mean_score(values: ArrayLike, groups: ArrayLike, *, resamples: int = 1000) -> Score:
    """Mean of ``values`` [row] with a cluster-bootstrap interval over ``groups``.

    The ratio of resampled sums, so that long episodes keep their weight. The interval of a
    single cluster is nan: it says nothing about others.
    """
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    _, code = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(code, weights=values)
    counts = np.bincount(code).astype(float)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    means = (draws @ sums) / (draws @ counts)
    lower, upper = np.quantile(means, [0.025, 0.975]) if len(sums) > 1 else (math.nan, math.nan)
    return Score(float(values.mean()), float(lower), float(upper), len(values))


def write_table(table: pd.DataFrame, path: Path | str, **metadata: str) -> Path:
    """Write a table as Parquet, atomically; ``metadata`` goes into the file's schema."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    extra = {key.encode(): value.encode() for key, value in metadata.items()}
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
