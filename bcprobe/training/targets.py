"""What is to be learned at each frame of a shard: a click, or a whole distribution of clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators.clicks import add_sums
from bcprobe.training.recording import Recording
from bcprobe.types import ACTIONS, SCREEN_HEIGHT, SCREEN_WIDTH

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sums:
    """Arrays of ``shape``, one a frame, by their entries other than 0.

    ``starts`` int64 [frame + 1] bounds each frame's entries: places ``at`` int32 in the flattened
    array and ``values`` float32.
    """

    shape: tuple[int, int]
    starts: NDArray[np.int64]
    at: NDArray[np.int32]
    values: Floats


@dataclass(frozen=True, eq=False)
class Targets:
    """``weight`` float32 [frame] is how much a frame counts in the loss.

    ``across`` (of shape [rows of cells, 480]) and ``down`` ([360, columns of cells]) are the
    distributions to learn, summed over the rows and columns of a head's cells; None if only the
    clicks are known.
    """

    weight: Floats
    across: Sums | None = None
    down: Sums | None = None


def make_targets(
    recordings: Sequence[Recording],
    weights: NDArray[np.float64] | None = None,
    cell: tuple[int, int] = (1, 1),
) -> Targets:
    """Targets of all frames of some recordings, from the first to the last.

    ``weights`` [action] is how much each kind of click counts in the loss (default: all alike).
    Where an annotator's distribution is known they weigh its parts: the loss is the mean of the
    weighted loss over the clicks it may make. ``cell`` is the cells' width and height in px.
    """
    weights = np.ones(len(ACTIONS)) if weights is None else weights
    weight = np.concatenate([_weight(made, weights) for made in recordings])
    if not any(made.targets for made in recordings):
        return Targets(weight)
    shapes = (SCREEN_HEIGHT // cell[1], SCREEN_WIDTH), (SCREEN_HEIGHT, SCREEN_WIDTH // cell[0])
    across, down = (np.zeros(shape, dtype=np.float32) for shape in shapes)
    found: list[tuple[NDArray[np.int64], Floats, NDArray[np.int64], Floats]] = []
    for made in recordings:
        for frame in range(len(made)):
            across[:], down[:] = 0, 0
            _add(made, frame, weights, across, down)
            found.append((*_entries(across), *_entries(down)))
    at, values, at_down, values_down = zip(*found, strict=True)
    return Targets(weight, _sums(shapes[0], at, values), _sums(shapes[1], at_down, values_down))


def _weight(made: Recording, weights: NDArray[np.float64]) -> Floats:
    if made.targets is None:
        return weights[made.actions].astype(np.float32)
    distributions = made.targets
    return np.array(
        [distributions.weight(frame, weights) for frame in range(len(made))], dtype=np.float32
    )


def _add(
    made: Recording, frame: int, weights: NDArray[np.float64], across: Floats, down: Floats
) -> None:
    """Add the distribution to learn at a frame, or all of it at the click, to arrays of 0."""
    if made.targets is None:
        x, y = made.clicks[frame]
        height, width = SCREEN_HEIGHT // len(across), SCREEN_WIDTH // down.shape[1]
        across[y // height, x] = down[y, x // width] = 1.0
    else:
        distributions = made.targets
        add_sums(
            across,
            down,
            distributions.weighted(frame, weights),
            distributions.arrangement,
            distributions.names,
        )


def _entries(array: Floats) -> tuple[NDArray[np.int64], Floats]:
    flat = array.ravel()
    at = np.flatnonzero(flat != 0)  # of bytes, which numpy counts faster than floats
    return at, flat[at]


def _sums(
    shape: tuple[int, int], at: Sequence[NDArray[np.int64]], values: Sequence[Floats]
) -> Sums:
    starts = np.cumsum([0, *map(len, at)])
    return Sums(shape, starts, np.concatenate(at).astype(np.int32), np.concatenate(values))
