"""Values every floor of the house shares, and the units they are stated in.

Glossary (stated here once, true everywhere):

* Screen: 480 x 360 px, origin top-left, a point is ``(x, y)``; x grows right, y grows down.
* Canvas: 256 x 256 px, the part of the screen that shows the data; canvas points are
  relative to its top-left corner.
* Frame: uint8 array ``[height, width, channel]`` = ``[360, 480, 3]``, RGB. Models take
  ``[batch, frame, channel, height, width]``.
* Step: one click. Its latents describe the state *before* the click.
* Episode: a world worked from opening to Done (or to a step limit).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

SCREEN_WIDTH = 480
SCREEN_HEIGHT = 360
CANVAS_SIZE = 256

#: What a click does, by the thing it hits. ``idle`` hits nothing that answers.
ACTIONS = (
    "navigate", "view", "select", "classify", "commit", "place", "undo", "done", "idle",
)  # fmt: skip
#: Actions that say something about the data, and so may be wrong: where it is, or what it is.
PLACING = ("place", "classify")
#: A placement is met within this distance, px.
PLACE_TOLERANCE = 5.0
#: Stands for every task, every row, every frame, where one of them could be named.
ALL = "all"
#: The intent behind a click.
PHASES = ("explore", "annotate", "verify", "correct", "finish")
MISTAKE_KINDS = ("spatial", "categorical", "identity", "structural")

#: Raised whenever a seed would give another world, episode or frame than before.
GENERATOR_VERSION = 1


class Click(NamedTuple):
    """Screen point of a click, in whole pixels."""

    x: int
    y: int


@dataclass(frozen=True)
class Latents:
    """What is true of a state, computed from world and state alone.

    ``position`` counts the datum in view: slice, frame, band or object, from 0.
    ``progress`` is the fraction of the required annotation that stands and is right, 0-1.
    ``mistake`` says that the state holds an annotation which the truth contradicts;
    ``mistake_kind`` is one of `MISTAKE_KINDS`, or empty when there is none.
    ``azimuth`` and ``elevation`` are in degrees, and nan where the view does not turn.
    """

    position: int
    position_count: int
    progress: float
    mistake: bool
    mistake_kind: str = ""
    azimuth: float = float("nan")
    elevation: float = float("nan")

    @property
    def position_fraction(self) -> float:
        """Position scaled to 0-1."""
        return self.position / max(1, self.position_count - 1)


@dataclass(frozen=True)
class Outcome:
    """How good a state is as an answer: ``score`` 0-1 and the counts behind it."""

    score: float
    success: bool
    done: bool
    counts: dict[str, float] = field(default_factory=dict)
