"""Runs that end by the clock: how many frames there is time for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from bcprobe.errors import InputError

#: Speed is that of the last steps, so many at most. The first steps do not count, in which things
#: are compiled: so many, or those that begin in the first tenth of the time.
STEPS, FIRST, FIRST_SHARE = 64, 8, 0.1
#: What writing took is kept free this many times over, and so many seconds beside.
SPARE, SECONDS = 1.5, 0.5
#: Frames that a run is planned for as long as its speed is unknown.
UNKNOWN = 1 << 40


class TimeBoxError(InputError):
    """The time is too short for a single step."""


class TimeBox:
    """How many frames a run of ``minutes`` has time for, at the speed seen.

    The clock starts when the box is made; ``used`` seconds were spent before, in earlier sittings.
    ``writing`` is how many seconds it takes to validate and to write all that is left at the end,
    as far as was seen.
    """

    def __init__(
        self, minutes: float, used: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.minutes, self.before, self.clock = minutes, used, clock
        self.began = clock()
        self.writing = 0.0
        self._seen: deque[tuple[float, int]] = deque(maxlen=STEPS)
        self._steps, self._last = 0, self.began

    @property
    def used(self) -> float:
        """Seconds spent so far, over all sittings."""
        return self.before + self.clock() - self.began

    @property
    def left(self) -> float:
        """Seconds left to learn in; the time to write is kept free."""
        return self.minutes * 60 - self.used - SPARE * self.writing - SECONDS

    def plan(self, frames: int, batch: int) -> int:
        """Frames that the whole run will have learned from: ``frames`` so far and whole batches.

        To be called after each step, of ``batch`` frames.
        """
        now = self.clock()
        taken, self._last, self._steps = now - self._last, now, self._steps + 1
        early = now - self.began < FIRST_SHARE * self.minutes * 60
        if self._steps >= FIRST or not early:
            self._seen.append((now, frames))
        if self.left <= 0:
            return frames
        if len(self._seen) < 2:
            return frames + (UNKNOWN if taken < self.left else 0)
        then, first = self._seen[0]
        speed = (frames - first) / max(now - then, 1e-9)
        return frames + int(speed * self.left // batch) * batch

    def check(self, name: str) -> None:
        """Raise `TimeBoxError` if no time is left before the first step of experiment ``name``."""
        self._last = self.clock()
        if self.left <= 0:
            raise TimeBoxError(
                f"{self.minutes:g} minutes are too short for one step of '{name}': starting and "
                f"writing take {self.used + SPARE * self.writing + SECONDS:.0f} s here"
            )
