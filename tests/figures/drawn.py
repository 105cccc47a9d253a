"""What is drawn on an axis, found by how it looks."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb

from bcprobe.figures.marks import Look


def curve(axis: Axes, look: Look) -> np.ndarray:
    """Points [point, (x, y)] of the line with the colour and the dashes of a look."""
    found = [
        line.get_xydata()
        for line in axis.lines
        if to_rgb(line.get_color()) == to_rgb(look.hex)
        and line.get_marker() in (look.marker, None if look.marker else "")
        and (not isinstance(look.dashes, str) or line.get_linestyle() in (look.dashes, "--", ":"))
    ]
    assert len(found) == 1, f"{len(found)} lines look like {look.label}"
    return found[0]


def marks(axis: Axes, look: Look) -> np.ndarray:
    """Places [mark, (x, y)] of the marks with the colour of a look, from top to bottom."""
    found = [
        offset
        for one in axis.collections
        if isinstance(one, PathCollection)
        for offset, colour in zip(one.get_offsets(), one.get_edgecolors(), strict=True)
        if tuple(colour[:3]) == to_rgb(look.hex)
    ]
    return np.array(sorted(found, key=lambda place: place[1]))


def ranges(axis: Axes, look: Look) -> np.ndarray:
    """Ends [range, end, (x, y)] of the intervals with the colour of a look."""
    return np.array(
        [
            segment
            for one in axis.collections
            if isinstance(one, LineCollection)
            for segment, colour in zip(one.get_segments(), one.get_colors(), strict=True)
            if tuple(colour[:3]) == to_rgb(look.hex)
        ]
    )
