"""A batch: rows of frames with the clicks before and after them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.episodes.sequences import PackedSequence
from bcprobe.gui.compositor import compose
from bcprobe.gui.compositor_torch import Painter, Screens
from bcprobe.gui.packing import Packed
from bcprobe.training.recording import Recording
from bcprobe.training.shards import pack_displays
from bcprobe.training.targets import Sums, Targets
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH


@dataclass(frozen=True)
class Batch:
    """Rows of consecutive frames, one click to predict for each.

    ``frames`` uint8 [row, frame, 3, 360, 480] are a permuted view of channels-last memory. They,
    ``across`` and ``down`` are only of the rows that this process learns from; all else is of
    every row.
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


def frame_buffer(rows: int, row_length: int, device: torch.device | str = "cpu") -> Tensor:
    """Room for a batch's frames on a device: uint8 [row, frame, 360, 480, 3]."""
    shape = (rows, row_length, SCREEN_HEIGHT, SCREEN_WIDTH, 3)
    return torch.zeros(shape, dtype=torch.uint8, device=device)


class PackedRecordings(PackedSequence):
    """Recordings laid end to end, from which batches are filled.

    ``targets`` are those of all recordings (default: their clicks, all counting alike);
    ``packed`` the display lists of all, where those have none of their own.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        targets: Targets | None = None,
        packed: Packed | None = None,
    ) -> None:
        self.recordings, self.packed = recordings, packed
        self._screens: Screens | None = None
        super().__init__([made.clicks for made in recordings])
        self.actions = np.concatenate([made.actions for made in recordings])
        self.right = np.concatenate([made.right for made in recordings])
        self.targets = targets or Targets(np.ones(len(self.clicks), dtype=np.float32))
        self._sums: tuple[DeviceSums, DeviceSums] | None = None

    def fill(
        self,
        index: NDArray[np.int64],
        buffer: Tensor,
        valid: NDArray[np.bool_] | None = None,
        share: slice = slice(None),
    ) -> Batch:
        """Batch of the frames ``index`` [row, frame] of the sequence, on the device of ``buffer``.

        The rows ``share`` are composed into it: by NumPy on the CPU, by torch or Triton elsewhere.
        """
        segments = self.segments(index)
        if buffer.device.type == "cpu":
            self.compose(index[share], buffer)
        else:
            self.compose_by_torch(index[share], buffer)
        across, down = self.sums(index[share], buffer.device)
        return Batch(
            frames=buffer.permute(0, 1, 4, 2, 3),
            previous=torch.from_numpy(self.previous[index]),
            targets=torch.from_numpy(self.clicks[index]),
            segments=torch.from_numpy(segments),
            actions=torch.from_numpy(self.actions[index]),
            right=torch.from_numpy(self.right[index]),
            valid=torch.from_numpy(np.ones(index.shape, bool) if valid is None else valid),
            weight=torch.from_numpy(self.targets.weight[index]),
            across=across,
            down=down,
        ).to(buffer.device)

    def sums(
        self, index: NDArray[np.int64], device: torch.device
    ) -> tuple[Tensor | None, Tensor | None]:
        """``across`` and ``down`` of `Batch` for frames [row, frame] of the sequence.

        By NumPy on the CPU: torch's threads are the training step's there.
        """
        across, down = self.targets.across, self.targets.down
        if across is None or down is None:
            return None, None
        if device.type == "cpu":
            return torch.from_numpy(dense(across, index)), torch.from_numpy(dense(down, index))
        if self._sums is None or self._sums[0].at.device != device:
            self._sums = DeviceSums(across, device), DeviceSums(down, device)
        return self._sums[0].dense(index), self._sums[1].dense(index)

    def compose(self, index: NDArray[np.int64], buffer: Tensor) -> None:
        """Compose frames of the sequence into a buffer on the CPU, one by one."""
        pixels, segments = buffer.numpy(), self.segments(index)
        for place in np.ndindex(*index.shape):
            segment = int(segments[place])
            made = self.recordings[segment]
            frame = int(index[place] - self.starts[segment])
            compose(made.displays[frame], made.images, pixels[place])

    def compose_by_torch(self, index: NDArray[np.int64], buffer: Tensor) -> None:
        """Compose frames of the sequence into a buffer on any device, all at once."""
        if self._screens is None or self._screens.device != buffer.device:
            self._screens = screens_of(self.recordings, buffer.device, self.packed)
        self._screens.compose(self._screens.plan(index.ravel()), buffer.flatten(0, 1))


def dense(sums: Sums, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Arrays of the frames ``index`` [row, frame]: float32 [row, frame, *shape]."""
    first, size = sums.starts[index.ravel()], math.prod(sums.shape)
    counts = sums.starts[index.ravel() + 1] - first
    entries = np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)
    out = np.zeros(index.size * size, dtype=np.float32)
    out[sums.at[entries] + np.repeat(np.arange(index.size) * size, counts)] = sums.values[entries]
    return out.reshape(*index.shape, *sums.shape)


class DeviceSums:
    """`Sums` whose entries lie on a device, to be laid out there for some frames at a time."""

    def __init__(self, sums: Sums, device: torch.device) -> None:
        self.shape, self.starts = sums.shape, sums.starts
        self.at, self.values = (
            torch.from_numpy(part).to(device) for part in (sums.at, sums.values)
        )

    def dense(self, index: NDArray[np.int64]) -> Tensor:
        """Arrays of the frames ``index`` [row, frame]: float32 [row, frame, *shape]."""
        frames, size, device = index.ravel(), math.prod(self.shape), self.at.device
        first, counts = self.starts[frames], self.starts[frames + 1] - self.starts[frames]
        total, before = int(counts.sum()), np.cumsum(counts) - counts
        skipped, lengths = torch.from_numpy(np.stack([first - before, counts])).to(device)
        owner = torch.arange(len(frames), device=device)
        owner = owner.repeat_interleave(lengths, output_size=total)  # frame of each entry
        entries = torch.arange(total, device=device) + skipped[owner]
        out = torch.zeros(len(frames) * size, device=device)
        out[owner * size + self.at[entries]] = self.values[entries]
        return out.view(*index.shape, *self.shape)


def screens_of(
    recordings: Sequence[Recording],
    device: torch.device,
    packed: Packed | None = None,
    painter: Painter = "auto",
) -> Screens:
    """The recordings' frames, numbered from the first to the last; worlds are sent once.

    ``packed`` is what `pack_displays` makes of the recordings, if that was done already;
    ``painter`` as `bcprobe.gui.compositor_torch.Screens` takes it.
    """
    stacks = {id(made.images): made.images for made in recordings}
    images = [torch.from_numpy(stack).to(device) for stack in stacks.values()]
    return Screens(packed or pack_displays(recordings), torch.cat(images), painter)
