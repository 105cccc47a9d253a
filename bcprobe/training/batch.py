"""A batch: rows of frames with the clicks before and after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.annotators.clicks import add_sums
from bcprobe.gui.compositor import compose
from bcprobe.gui.compositor_torch import Screens
from bcprobe.gui.packing import Packed
from bcprobe.training.groups import Recording, pack_group
from bcprobe.types import ACTIONS, SCREEN_HEIGHT, SCREEN_WIDTH


@dataclass(frozen=True)
class Batch:
    """Rows of consecutive frames, one click to predict for each.

    ``frames`` uint8 [row, frame, 3, 360, 480], a permuted view of channels-last memory, and
    only the rows that this process learns from; all else is of every row.
    ``previous`` and ``targets`` int64 [row, frame, 2] px, the click that led to a frame
    ((-1, -1): none, the frame opens an episode) and the click to predict; ``segments`` int64
    [row, frame] tells a row's episodes apart; ``actions`` int8 [row, frame], index in
    `bcprobe.types.ACTIONS`; ``right`` bool, the click is a placement that stands unmistaken;
    ``valid`` bool, the frame counts; ``weight`` float32, how much in the loss. ``across`` float32
    [row, frame, row of cells, 480] and ``down`` [row, frame, 360, column of cells] are the
    distribution to learn where it is known, the click alone elsewhere, summed over the rows and
    columns of the head's cells; None if it is known nowhere.
    """

    frames: Tensor
    previous: Tensor
    targets: Tensor
    segments: Tensor
    actions: Tensor
    right: Tensor
    valid: Tensor
    weight: Tensor
    across: Tensor | None = None
    down: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device; itself where it is there already."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in held.items() if v is not None})


def frame_buffer(
    rows: int, row_length: int, *, pinned: bool = False, device: torch.device | str = "cpu"
) -> Tensor:
    """Room for a batch's frames on a device: uint8 [row, frame, 360, 480, 3].

    ``pinned`` is for buffers on the CPU, and of no effect elsewhere.
    """
    shape = (rows, row_length, SCREEN_HEIGHT, SCREEN_WIDTH, 3)
    pinned = pinned and torch.device(device).type == "cpu"
    return torch.zeros(shape, dtype=torch.uint8, pin_memory=pinned, device=device)


class Tape:
    """Recordings laid end to end, from which batches are filled.

    ``weights`` [action] is how much each kind of click counts in the loss (default: all alike).
    Where an annotator's distribution is to be learned they weigh its parts: the loss is the mean
    of the weighted loss over the clicks it may make. ``cell`` is the width and height (px) of
    the cells over which `Batch` sums that distribution. ``packed`` are the display lists of all
    recordings, where those have none of their own.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        weights: NDArray[np.float64] | None = None,
        cell: tuple[int, int] = (1, 1),
        packed: Packed | None = None,
    ) -> None:
        self.recordings = recordings
        self.weights = np.ones(len(ACTIONS)) if weights is None else weights
        self.cell, self.packed = cell, packed
        self._screens: Screens | None = None
        self.starts = np.cumsum([0, *(len(made) for made in recordings)])
        self.previous = np.concatenate([made.previous for made in recordings])
        self.clicks = np.concatenate([made.clicks for made in recordings])
        self.actions = np.concatenate([made.actions for made in recordings])
        self.right = np.concatenate([made.right for made in recordings])

    def segments(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which recording each frame of the tape belongs to, in the shape of ``index``."""
        found: NDArray[np.int64] = np.searchsorted(self.starts, index, side="right") - 1
        return found

    def fill(
        self,
        index: NDArray[np.int64],
        buffer: Tensor,
        valid: NDArray[np.bool_] | None = None,
        share: slice = slice(None),
    ) -> Batch:
        """Batch of the frames ``index`` [row, frame] of the tape; a ``share`` of rows is shown.

        Those are composed into ``buffer`` on its device: by NumPy on the CPU, by torch elsewhere.
        """
        segments = self.segments(index)
        if buffer.device.type == "cpu":
            self.compose(index[share], buffer)
        else:
            self.compose_by_torch(index[share], buffer)
        across, down = None, None
        if any(made.aims for made in self.recordings):
            across, down = self.sums(index)
        return Batch(
            frames=buffer.permute(0, 1, 4, 2, 3),
            previous=torch.from_numpy(self.previous[index]),
            targets=torch.from_numpy(self.clicks[index]),
            segments=torch.from_numpy(segments),
            actions=torch.from_numpy(self.actions[index]),
            right=torch.from_numpy(self.right[index]),
            valid=torch.from_numpy(np.ones(index.shape, bool) if valid is None else valid),
            weight=self.weight(index),
            across=across,
            down=down,
        )

    def weight(self, index: NDArray[np.int64]) -> Tensor:
        """How much frames [row, frame] count in the loss: float32 [row, frame]."""
        weight = self.weights[self.actions[index]].astype(np.float32)
        segments = self.segments(index)
        for place in np.ndindex(*index.shape):
            aims = self.recordings[segment := int(segments[place])].aims
            if aims is not None:
                weight[place] = aims.weight(int(index[place] - self.starts[segment]), self.weights)
        return torch.from_numpy(weight)

    def sums(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """What to learn at frames [row, frame]: ``across`` and ``down`` of `Batch`."""
        width, height = self.cell
        across = np.zeros((*index.shape, SCREEN_HEIGHT // height, SCREEN_WIDTH), dtype=np.float32)
        down = np.zeros((*index.shape, SCREEN_HEIGHT, SCREEN_WIDTH // width), dtype=np.float32)
        segments = self.segments(index)
        for place in np.ndindex(*index.shape):
            segment = int(segments[place])
            aims = self.recordings[segment].aims
            if aims is None:
                x, y = self.clicks[index[place]]
                across[place][y // height, x] = down[place][y, x // width] = 1.0
            else:
                frame = int(index[place] - self.starts[segment])
                options = aims.weighted(frame, self.weights)
                add_sums(across[place], down[place], options, aims.arrangement, aims.names)
        return torch.from_numpy(across), torch.from_numpy(down)

    def compose(self, index: NDArray[np.int64], buffer: Tensor) -> None:
        """Compose frames of the tape into a buffer on the CPU, one by one."""
        pixels, segments = buffer.numpy(), self.segments(index)
        for place in np.ndindex(*index.shape):
            segment = int(segments[place])
            made = self.recordings[segment]
            frame = int(index[place] - self.starts[segment])
            compose(made.displays[frame], made.images, pixels[place])

    def compose_by_torch(self, index: NDArray[np.int64], buffer: Tensor) -> None:
        """Compose frames of the tape into a buffer on any device, all at once."""
        if self._screens is None or self._screens.device != buffer.device:
            self._screens = screens_of(self.recordings, buffer.device, self.packed)
        self._screens.compose(self._screens.plan(index.ravel()), buffer.flatten(0, 1))


def screens_of(
    recordings: Sequence[Recording], device: torch.device, packed: Packed | None = None
) -> Screens:
    """The recordings' frames, numbered from the first to the last; worlds are sent once.

    ``packed`` is what `pack_group` makes of the recordings, if that was done already.
    """
    stacks = {id(made.images): made.images for made in recordings}
    images = [torch.from_numpy(stack.copy()).to(device) for stack in stacks.values()]
    return Screens(packed or pack_group(recordings), torch.cat(images))
