"""What a task wants shown: an image of its world, and what lies on it."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Mark:
    """A small figure centred on a canvas point: ``ring``, ``dot``, ``cross`` or ``square``.

    ``size`` is its radius in px; ``width`` the width of its outline in px.
    """

    kind: str
    x: int
    y: int
    size: int
    color: RGB
    width: int = 2


@dataclass(frozen=True)
class Stroke:
    """A straight line between two canvas points, ``width`` px wide."""

    x0: int
    y0: int
    x1: int
    y1: int
    color: RGB
    width: int = 2


@dataclass(frozen=True)
class Label:
    """A few characters centred on a canvas point."""

    text: str
    x: int
    y: int
    color: RGB


@dataclass(frozen=True)
class Overlay:
    """Another of the world's images laid over the first: the brighter value shows, per channel.

    Canvas pixel (x, y) shows the image's pixel ``(a x + b y + c, d x + e y + f) >> 16`` for
    ``matrix`` (a, b, c, d, e, f), whole numbers in 1/65536 px, and nothing beyond its edges.
    """

    image: int
    matrix: tuple[int, int, int, int, int, int] = (65536, 0, 0, 0, 65536, 0)


@dataclass(frozen=True)
class View:
    """What a task wants shown: one of the world's canvas images and what lies on it.

    ``image`` indexes `Task.images`; an ``overlay`` lies on it, strokes on that, then marks,
    then labels. ``status`` holds ``(name, value)`` pairs for the status bar. All points are
    canvas points.
    """

    image: int
    marks: tuple[Mark, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    status: tuple[tuple[str, str], ...] = ()
    labels: tuple[Label, ...] = ()
    overlay: Overlay | None = None
