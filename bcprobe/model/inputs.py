"""What a model looks at: screens and the clicks before them, checked and made into tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

#: Segment of frames that only fill a row up to the length of the longest.
PADDING = -1


@runtime_checkable
class Watched(Protocol):
    """Anything that knows what its model sees, such as an episode."""

    def as_tensors(self) -> tuple[Tensor, Tensor]:
        """Screens uint8 [1, frame, 3, 360, 480] and the clicks before them, int64 [1, frame, 2].

        Clicks are in px, (-1, -1) for none.
        """
        ...


class Inputs(NamedTuple):
    """A batch: one episode a row, shorter ones filled up at the end.

    ``frames`` uint8 [row, frame, 3, 360, 480]; ``previous`` int64 [row, frame, 2], the click (px)
    that led to each frame, (-1, -1) for none; ``segments`` int64 [row, frame], 0 for the frames of
    the episode and `PADDING` for those that fill the row up. A frame attends only to frames
    before it, of its own segment: padding changes no answer.
    """

    frames: Tensor
    previous: Tensor
    segments: Tensor


def make_inputs(
    watched: Watched | Iterable[Watched],
    device: torch.device | str = "cpu",
    which: slice = slice(None),
) -> Inputs:
    """Batch of what an episode, or each of several, shows; ``which`` chooses frames of each.

    Raises `InputError` for anything else, and where no frame is left.
    """
    single = isinstance(watched, Watched) or not isinstance(watched, Iterable)
    several: list[Any] = [watched] if single else [*watched]  # type: ignore[misc]
    if not several:
        raise InputError("the model was given no episode")
    for one in several:
        if not isinstance(one, Watched):
            pair = isinstance(one, tuple | Tensor)
            hint = "; give the two tensors as two arguments: model(frames, previous)" * pair
            raise InputError(
                "a model takes episodes or tensors (frames, previous), not "
                f"'{type(one).__name__}'{hint}"
            )
    seen = [tuple(part[0, which] for part in one.as_tensors()) for one in several]
    lengths = [len(screens) for screens, _ in seen]
    if not min(lengths):
        raise InputError(f"no frame is left of an episode; it was cut to {which}")
    shape = len(seen), max(lengths)
    frames = torch.zeros(*shape, SCREEN_HEIGHT, SCREEN_WIDTH, 3, dtype=torch.uint8)
    frames = frames.permute(0, 1, 4, 2, 3)  # channels last in memory
    previous = torch.full((*shape, 2), -1)
    segments = torch.full(shape, PADDING)
    for row, ((screens, clicks), length) in enumerate(zip(seen, lengths, strict=True)):
        frames[row, :length], previous[row, :length], segments[row, :length] = screens, clicks, 0
    return Inputs(frames.to(device), previous.to(device), segments.to(device))


def check_inputs(
    frames: Any, previous: Any, segments: Tensor | None, seen: Sequence[int], device: torch.device
) -> None:
    """Raise `InputError` unless tensors have the shapes, types and device that a model takes.

    ``seen`` is the shape [patch, width] of a frame that the encoder has seen before.
    """
    if not (isinstance(frames, Tensor) and isinstance(previous, Tensor)):
        missing = "previous clicks int64 [batch, frame, 2]"
        if previous is not None:
            given = type(previous if isinstance(frames, Tensor) else frames).__name__
            missing = f"tensors, not '{given}'" + " (torch.from_numpy)" * (given == "ndarray")
        raise InputError(f"a model takes episodes, or frames and previous clicks; give {missing}")
    _check_frames(frames, tuple(seen))
    batch = frames.shape[:2]
    if previous.shape != (*batch, 2) or previous.is_floating_point():
        raise InputError(
            f"previous clicks are {_shape(previous)}; for these frames they are int64 "
            f"[{batch[0]}, {batch[1]}, 2]"
        )
    if segments is not None and segments.shape != batch:
        raise InputError(
            f"segments are {_shape(segments)}; for these frames they are int64 {list(batch)}"
        )
    for name, tensor in (("frames", frames), ("previous", previous), ("segments", segments)):
        if tensor is not None and tensor.device != device:
            raise InputError(f"{name} lie on {tensor.device}, the model on {device}; move them")


def _check_frames(frames: Tensor, seen: tuple[int, ...]) -> None:
    screen = (3, SCREEN_HEIGHT, SCREEN_WIDTH)
    wanted = f"uint8 [batch, frame, {', '.join(map(str, screen))}]"
    shape = tuple(frames.shape)
    if frames.dtype == torch.uint8 and len(shape) == 5 and shape[2:] == screen:
        return
    if frames.is_floating_point() and len(shape) == 4 and shape[2:] == seen:
        return
    hint = ""
    if shape[-3:] == (SCREEN_HEIGHT, SCREEN_WIDTH, 3):
        hint = "; channels come first: frames.movedim(-1, -3)"
    elif shape[-2:] == (SCREEN_WIDTH, SCREEN_HEIGHT):
        hint = "; height comes before width: frames.mT"
    elif shape[-3:] == screen and len(shape) < 5:
        hint = f"; {'a batch axis is' if len(shape) == 4 else 'batch and frame axes are'} missing"
    elif shape[-3:] == screen:
        hint = "; give pixels as bytes, 0-255"
    elif frames.is_floating_point() and len(shape) == 4:
        hint = f", or what the encoder made of them, float [batch, frame, {seen[0]}, {seen[1]}]"
    elif len(shape) == 5 and shape[-2:] == screen[1:]:
        hint = f"; a screen has 3 colours, these have {shape[2]} channels"
    elif len(shape) == 5:
        hint = f"; screens are {SCREEN_HEIGHT} px high and {SCREEN_WIDTH} px wide: resize them"
    raise InputError(f"frames are {_shape(frames)}, not {wanted}{hint}")


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
