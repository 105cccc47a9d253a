"""Episodes packed into sequences, and the teacher-forced pass of a model over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bcprobe.episodes.episode import Episode
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Ints = NDArray[np.int64]
#: The click before the first frame of an episode.
NO_CLICK = (-1, -1)
#: Frames held and shown to a model at a time (0.5 MB each); an episode is never cut.
FRAMES = 128


class PackedSequence:
    """Episodes laid end to end, each frame with the click that led to it and the one that follows.

    ``clicks`` (those that follow, the targets) and ``previous`` ((-1, -1) for an episode's first
    frame) are int64 [frame, 2] in px; ``starts`` int64 [episode + 1] bounds the episodes.
    """

    def __init__(self, clicks: Sequence[Ints]) -> None:
        self.starts = np.cumsum([0, *map(len, clicks)])
        self.clicks = np.concatenate(clicks) if clicks else np.empty((0, 2), dtype=np.int64)
        self.previous = np.roll(self.clicks, 1, axis=0)
        self.previous[self.starts[:-1][np.diff(self.starts) > 0]] = NO_CLICK

    def __len__(self) -> int:
        return len(self.clicks)

    def segments(self, index: Ints | None = None) -> Ints:
        """Which episode each frame belongs to: int64 in the shape of ``index`` (default: all)."""
        frames = np.arange(len(self)) if index is None else index
        return np.searchsorted(self.starts, frames, side="right") - 1


class PackedEpisodes(PackedSequence):
    """A packed sequence of episodes whose frames can be composed again."""

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self.episodes = tuple(episodes)
        super().__init__([clicks_of(episode) for episode in episodes])

    def as_tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """One row for a model: frames uint8 [1, frame, 3, 360, 480], previous clicks int64
        [1, frame, 2] in px and segments int64 [1, frame]. Frames lie channels last in memory.
        """
        import torch

        from bcprobe.episodes.record import frames

        pixels = np.empty((1, len(self), SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)
        shown = (frame for episode in self.episodes for frame in frames(episode))
        for place, frame in enumerate(shown):
            pixels[0, place] = frame
        return (
            torch.from_numpy(pixels).permute(0, 1, 4, 2, 3),
            torch.from_numpy(self.previous)[None],
            torch.from_numpy(self.segments())[None],
        )


def clicks_of(episode: Episode) -> Ints:
    """Clicks int64 [step, 2] of an episode, px."""
    return np.array([step.click for step in episode.steps], dtype=np.int64).reshape(-1, 2)


def in_batches(items: Iterable[T], length: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in their order, as many at a time as fit into a sequence of `FRAMES`.

    ``length`` gives an item's frames; one that is longer stands alone.
    """
    batch: list[T] = []
    held = 0
    for item in items:
        count = length(item)
        if batch and held + count > FRAMES:
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += count
    if batch:
        yield batch


def overlapping_rows(total: int, row_length: int, overlap: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Rows over ``total`` frames and which frames they score, each once.

    Both [row, row_length]. A row repeats the last ``overlap`` frames of the row before it,
    unscored; the last row is filled up with the last frame, unscored.
    """
    starts = np.arange(0, max(1, total - overlap), row_length - overlap)
    index = starts[:, None] + np.arange(row_length)
    valid = (index < total) & ((np.arange(row_length) >= overlap) | (starts[:, None] == 0))
    return np.minimum(index, total - 1), valid


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model predicts: most probable ``clicks`` int64 [..., 2] and ``nll`` [...].

    ``nll`` is the negative log-probability of the target in nats, nan where there is none.
    """

    clicks: Ints
    nll: NDArray[np.float64]


class SequenceModel(Protocol):
    """What is asked of a model: the distribution of the click after each frame of some rows."""

    def __call__(self, frames: Tensor, previous: Tensor, segments: Tensor | None = None) -> Any:
        """Something with ``argmax()`` and ``click_log_prob(targets)``, see `predict`."""
        ...


def predict(
    model: SequenceModel, frames: Tensor, previous: Tensor, targets: Tensor, segments: Tensor
) -> Predictions:
    """Teacher-forced predictions [row, frame] of a model, on the device of the frames.

    ``frames`` uint8 [row, frame, 3, 360, 480] or what the model's encoder made of them;
    ``previous`` and ``targets`` int64 [row, frame, 2] px; ``segments`` int64 [row, frame].
    """
    import torch

    with torch.inference_mode():
        found = model(frames, previous, segments)
        nll = -found.click_log_prob(targets)
        return Predictions(found.argmax().cpu().numpy(), nll.double().cpu().numpy())
