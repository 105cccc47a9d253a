"""Display lists as a few arrays: the sprites, who shows which of them where, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.compositor import sprite
from bcprobe.gui.display import DisplayList
from bcprobe.types import CANVAS_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH

Ints = NDArray[np.int64]
_NO_OVERLAY = (-1, 0, 0, 0, 0, 0, 0)
_SCREEN = (0, 0, SCREEN_WIDTH, SCREEN_HEIGHT)


@dataclass(frozen=True)
class Atlas:
    """The pixels of all sprites, one after another; those that show nothing are left out.

    ``starts`` [sprite + 1] bounds each sprite's pixels; ``places`` int16 [pixel, 2] is a
    pixel's (x, y) beside the point its sprite is painted at; ``weighted`` int32 [pixel, 3]
    and ``rest`` int32 [pixel, 1] are what `bcprobe.gui.shapes.blend_premultiplied` takes.
    """

    starts: Ints
    places: NDArray[np.int16]
    weighted: NDArray[np.int32]
    rest: NDArray[np.int32]


@dataclass(frozen=True)
class Packed:
    """Display lists of some frames.

    ``bases`` are their different base screens, ``base`` int64 [frame] the one that each
    shows; ``image`` int64 [frame]; ``canvas`` int64 [frame, 2]; ``overlay`` int64 [frame, 7],
    image -1 for none. ``starts`` [frame + 1] bounds each frame's ``shown`` sprites, int64
    [shown, 7]: number in the atlas, point (x, y) and bounds (x0, y0, x1, y1) in screen px, in
    the order in which they are painted.
    """

    bases: tuple[str, ...]
    base: Ints
    image: Ints
    canvas: Ints
    overlay: Ints
    starts: Ints
    shown: Ints
    atlas: Atlas


def pack(displays: Sequence[DisplayList]) -> Packed:
    """Those display lists as arrays."""
    bases: dict[str, int] = {}
    sprites: dict[tuple[object, ...], int] = {}
    shown = [_shown(display, sprites) for display in displays]
    return Packed(
        base=np.array([bases.setdefault(d.base, len(bases)) for d in displays], dtype=np.int64),
        bases=tuple(bases),
        image=np.array([d.image for d in displays], dtype=np.int64),
        canvas=np.array([d.canvas for d in displays], dtype=np.int64).reshape(-1, 2),
        overlay=np.array([d.overlay or _NO_OVERLAY for d in displays], np.int64).reshape(-1, 7),
        starts=np.cumsum([0, *map(len, shown)]),
        shown=np.array([row for rows in shown for row in rows], dtype=np.int64).reshape(-1, 7),
        atlas=_atlas(list(sprites)),
    )


def shifted(display: DisplayList, first: int) -> DisplayList:
    """The display list for a stack of images in which its world's begin at ``first``."""
    overlay = display.overlay and (display.overlay[0] + first, *display.overlay[1:])
    return replace(display, image=display.image + first, overlay=overlay)


def _shown(display: DisplayList, numbers: dict[tuple[object, ...], int]) -> list[tuple[int, ...]]:
    left, top = display.canvas
    bounds = left, top, left + CANVAS_SIZE, top + CANVAS_SIZE
    found: list[tuple[int, ...]] = []
    for key, x, y in _sprites(display):
        found.append((numbers.setdefault(key, len(numbers)), left + x, top + y, *bounds))
    for x, y, *text in display.status:
        key = ("status", *text)
        found.append((numbers.setdefault(key, len(numbers)), x, y, *_SCREEN))
    return found


def _sprites(display: DisplayList) -> list[tuple[tuple[object, ...], int, int]]:
    """Key and canvas point of all that lies on the canvas image, in drawing order."""
    return [
        *((("stroke", *shape), x, y) for x, y, *shape in display.strokes),
        *((("mark", *shape), x, y) for *shape, x, y in display.marks),
        *((("label", *shape), x, y) for *shape, x, y in display.labels),
    ]


def _atlas(keys: Sequence[tuple[object, ...]]) -> Atlas:
    parts = [_pixels(key) for key in keys]
    return Atlas(
        starts=np.cumsum([0, *(len(places) for places, _, _ in parts)]),
        places=np.concatenate([np.zeros((0, 2), np.int16), *(part[0] for part in parts)]),
        weighted=np.concatenate([np.zeros((0, 3), np.int32), *(part[1] for part in parts)]),
        rest=np.concatenate([np.zeros((0, 1), np.int32), *(part[2] for part in parts)]),
    )


@lru_cache(maxsize=4096)
def _pixels(
    key: tuple[object, ...],
) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int32]]:
    """Places, weighted colours and rests of a sprite's pixels that show anything."""
    left, top, _, _, weighted, rest = sprite(key)
    y, x = np.nonzero(rest[..., 0] < 255)
    places = np.stack([x + left, y + top], axis=1).astype(np.int16)
    return places, weighted[y, x].astype(np.int32), rest[y, x, :1].astype(np.int32)
