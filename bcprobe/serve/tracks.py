"""Worlds with the clicks made in them: every state is kept, so that any screen is at hand."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from PIL import Image

from bcprobe.episodes.episode import Episode, Step
from bcprobe.episodes.record import open_world
from bcprobe.episodes.simulator import Simulator
from bcprobe.errors import InputError
from bcprobe.types import GENERATOR_VERSION, Click

#: Bytes of canvas images that are kept for worlds, and how many worlds at most.
ROOM, MOST_WORLDS = 1 << 30, 64


class Track:
    """A simulator and the states it has been in: ``states[n]`` is before click ``n``.

    ``sources`` and ``times`` tell how and when (ms) each click was made.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.states = [simulator.state]
        self.sources: list[str] = []
        self.times: list[float | None] = []
        self.lock = threading.RLock()

    def __len__(self) -> int:
        return len(self.simulator.history)

    @property
    def steps(self) -> Sequence[Step]:
        """The clicks, with what is true before each."""
        return self.simulator.history

    def click(self, click: Click, source: str = "", time_ms: float | None = None) -> Step:
        """Make a click."""
        step = self.simulator.click(click)
        self.sources.append(source)
        self.times.append(time_ms)
        self.states.append(self.simulator.state)
        return step

    def at(self, number: int) -> Simulator:
        """The world before click ``number``. Raises `InputError` if it is not that far."""
        if not 0 <= number < len(self.states):
            raise InputError(f"there is no screen {number}; the last is {len(self)}")
        return self.simulator.again(self.states[number])

    def picture(self, number: int) -> bytes:
        """The screen before click ``number``, as WebP without loss."""
        return picture(self.at(number))


def picture(simulator: Simulator) -> bytes:
    """What a screen shows, 480 x 360 px, as WebP without loss."""
    buffer = io.BytesIO()
    Image.fromarray(simulator.screen()).save(
        buffer, format="WEBP", lossless=True, quality=0, method=0
    )
    return buffer.getvalue()


class Tracks:
    """Tracks by name, and the worlds behind them; those used last stay.

    Sessions on one world share its images.
    """

    def __init__(self) -> None:
        self._tracks: OrderedDict[Any, Track] = OrderedDict()
        self._worlds: OrderedDict[tuple[str, int, str], Simulator] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Any) -> Track | None:
        """The track of that name, if it is still here."""
        with self._lock:
            if name in self._tracks:
                self._tracks.move_to_end(name)
            return self._tracks.get(name)

    def open(self, name: Any, task: str, world_seed: int, layout: str, difficulty: str) -> Track:
        """A track at the world's opening, under that name.

        Raises `InputError` as `open_world` does.
        """
        world = self._world(task, world_seed, difficulty)
        track = Track(Simulator(world.task, world.world, layout, drawn=world.drawn))
        with self._lock:
            self._tracks[name] = track
            while len(self._tracks) > 4 * MOST_WORLDS:
                self._tracks.popitem(last=False)
        return track

    def _world(self, task: str, world_seed: int, difficulty: str) -> Simulator:
        key = (task, world_seed, difficulty)
        with self._lock:
            found = self._worlds.get(key)
        if found is None:
            found = open_world(task, world_seed, difficulty=difficulty)
            found.images  # noqa: B018  (drawn now, so that no click waits for it)
        with self._lock:
            self._worlds[key] = found = self._worlds.get(key, found)
            self._worlds.move_to_end(key)
            while len(self._worlds) > 1 and self._full():
                self._forget(self._worlds.popitem(last=False)[1])
        return found

    def _full(self) -> bool:
        size = sum(world.images.nbytes for world in self._worlds.values())
        return size > ROOM or len(self._worlds) > MOST_WORLDS

    def _forget(self, world: Simulator) -> None:
        """Let go of all that holds the world's images; it can be opened again."""
        of_it = [n for n, one in self._tracks.items() if one.simulator.drawn is world.drawn]
        for name in of_it:
            del self._tracks[name]

    def replay(self, name: Any, episode: Episode) -> Track:
        """An episode's track, all its clicks made.

        Raises `InputError` if its screens cannot be drawn again.
        """
        found = self.get(name)
        if found is not None:
            return found
        if episode.generator_version != GENERATOR_VERSION:
            raise InputError(
                f"episode of generator version {episode.generator_version}; this is "
                f"{GENERATOR_VERSION}: generate it again"
            )
        track = self.open(
            name, episode.task, episode.world_seed, episode.layout, episode.difficulty
        )
        with track.lock:
            for step in episode.steps[len(track) :]:
                track.click(step.click)
        return track
