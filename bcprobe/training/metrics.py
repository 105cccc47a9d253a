"""What a run measures of itself: numbers row by row, kept in memory and written as Parquet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.training.batch import Batch
from bcprobe.types import ACTIONS

#: Columns of ``training.parquet``: NLL in nats per click, ``seconds`` of training so far,
#: ``data_wait`` the share (0-1) of the step's time spent waiting for data. A kind of action
#: that the batch lacks has nan.
TRAINING_COLUMNS = (
    "step", "frames", "seconds", "loss", "lr", "grad_norm", "frames_per_second", "data_wait",
    *(f"nll_{action}" for action in ACTIONS),
)  # fmt: skip


class Table:
    """Rows of numbers under named columns, growing at the end."""

    def __init__(
        self, columns: Sequence[str], rows: NDArray[np.float64] | Sequence[Sequence[float]] = ()
    ) -> None:
        self.columns = tuple(columns)
        self.rows = [[float(value) for value in row] for row in rows]

    def append(self, values: dict[str, float]) -> None:
        """Add a row; columns without a value get nan."""
        self.rows.append([float(values.get(name, math.nan)) for name in self.columns])

    def array(self) -> NDArray[np.float64]:
        """All rows: float64 [row, column]."""
        return np.array(self.rows, dtype=np.float64).reshape(-1, len(self.columns))

    def frame(self) -> pd.DataFrame:
        """The table for pandas; columns that only hold whole numbers are int64."""
        table = pd.DataFrame(self.array(), columns=list(self.columns))
        counts = [name for name in ("step", "frames") if name in table]
        return table.astype(dict.fromkeys(counts, "int64"))


def nll_by_action(nll: Tensor, batch: Batch) -> Tensor:
    """Mean NLL of the valid frames, then of each kind of action: float [1 + action]."""
    weight = batch.valid.to(nll.device, nll.dtype).flatten()
    kinds = batch.actions.to(nll.device).flatten().long()
    size = len(ACTIONS)
    sums = torch.zeros(size, device=nll.device).index_add(0, kinds, nll.flatten().float() * weight)
    counts = torch.zeros(size, device=nll.device).index_add(0, kinds, weight.float())
    return torch.cat([(sums.sum() / counts.sum())[None], sums / counts])
