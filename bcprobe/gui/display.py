"""A screen as a short list of plain values, ready to be composed anywhere."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from functools import lru_cache

from bcprobe.gui.layouts import Layout, arrange
from bcprobe.gui.screen import status_places
from bcprobe.gui.text import ROW, text_width
from bcprobe.gui.view import RGB, View
from bcprobe.gui.widgets import Button, ButtonState


@dataclass(frozen=True)
class DisplayList:
    """A screen as plain values: small, hashable, quick to send to another process.

    ``base`` is a JSON text that says everything about page, panel and buttons; ``image``
    indexes the world's canvas images, shown with its corner at ``canvas`` (x, y). Strokes
    are ``(x0, y0, dx, dy, width, color)``, marks ``(kind, size, width, color, x, y)`` and labels
    ``(text, color, x, y)`` in canvas px, clipped to the canvas; status entries ``(x, y,
    theme, name, value)`` in screen px. ``overlay`` is empty or ``(image, a, b, c, d, e, f)``,
    see `bcprobe.gui.view.Overlay`. Drawn in the order overlay, strokes, marks, labels.
    """

    base: str
    image: int
    canvas: tuple[int, int]
    strokes: tuple[tuple[int, int, int, int, int, RGB], ...]
    marks: tuple[tuple[str, int, int, RGB, int, int], ...]
    status: tuple[tuple[int, int, str, str, str], ...]
    labels: tuple[tuple[str, RGB, int, int], ...] = ()
    overlay: tuple[int, ...] = ()


def display_list(
    layout: Layout, buttons: tuple[Button, ...], states: tuple[ButtonState, ...], view: View
) -> DisplayList:
    """Display list of a view in a layout."""
    base, canvas = _base_key(layout, buttons, states)
    return DisplayList(
        base=base,
        image=view.image,
        canvas=canvas,
        strokes=tuple(
            (s.x0, s.y0, s.x1 - s.x0, s.y1 - s.y0, s.width, s.color) for s in view.strokes
        ),
        marks=tuple((m.kind, m.size, m.width, m.color, m.x, m.y) for m in view.marks),
        status=_status(layout, buttons, view.status),
        labels=tuple((m.text, m.color, m.x, m.y) for m in view.labels),
        overlay=(view.overlay.image, *view.overlay.matrix) if view.overlay else (),
    )


@lru_cache(maxsize=4096)
def _base_key(
    layout: Layout, buttons: tuple[Button, ...], states: tuple[ButtonState, ...]
) -> tuple[str, tuple[int, int]]:
    canvas = arrange(layout, buttons).canvas
    key = [layout.name, [astuple(b) for b in buttons], [astuple(s) for s in states]]
    return json.dumps(key), (canvas.x, canvas.y)


@lru_cache(maxsize=4096)
def _status(
    layout: Layout, buttons: tuple[Button, ...], pairs: tuple[tuple[str, str], ...]
) -> tuple[tuple[int, int, str, str, str], ...]:
    bar = arrange(layout, buttons).status
    widths = [text_width(f"{name} {value}", "label") for name, value in pairs]
    y = bar.y + (bar.height - ROW) // 2
    return tuple(
        (x, y, layout.theme, name, value)
        for x, (name, value) in zip(status_places(bar, widths), pairs, strict=True)
    )
