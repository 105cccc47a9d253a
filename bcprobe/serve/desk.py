"""What all requests share: the store, the tracks of its sessions, the models' worker."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

from bcprobe.episodes.episode import Episode
from bcprobe.errors import InputError, check_name
from bcprobe.serve.store import Made, Session, Store
from bcprobe.serve.tracks import Track, Tracks, picture
from bcprobe.serve.worker import Worker
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Click

#: Origin of episodes by kind of session; a watched one names who clicked.
PERSON, MODEL = "person", "model"
#: Letters of a name that somebody types.
MOST_NAME = 80


class MissingError(Exception):
    """There is no such session or episode."""


class Desk:
    """Sessions of one store, with their tracks kept as long as there is room.

    ``checkpoint`` is the model watched unless another one is asked for; ``folders`` hold episodes
    to explore.
    """

    def __init__(self, store: Store, checkpoint: str, folders: tuple[Path, ...] = ()) -> None:
        self.store, self.checkpoint, self.folders = store, checkpoint, folders
        self.tracks = Tracks()
        self.worker = Worker()

    def session(self, name: str) -> Session:
        """The session of that name. Raises `MissingError`."""
        found = self.store.session(name)
        if found is None:
            raise MissingError
        return found

    def track(self, session: Session) -> Track:
        """The session's track with every click that the store holds, whoever wrote it."""
        track = self.tracks.get(session.id)
        if track is None:
            track = self.tracks.open(
                session.id, session.task, session.world_seed, session.layout, session.difficulty
            )
        with track.lock:
            for made in self.store.steps(session, len(track)):
                track.click(made.click, made.source, made.time_ms)
        return track

    def write(self, session: Session, track: Track, made: list[Made]) -> None:
        """Store clicks, then make them. Raises `ConflictError` if others have clicked since."""
        self.store.append(session, len(track), made)
        for one in made:
            track.click(one.click, one.source, one.time_ms)

    def episode(self, session: Session) -> Episode:
        """The session as an episode, with the hash of its frames left empty."""
        track = self.track(session)
        simulator = track.simulator
        person = session.kind == "annotate"
        sources = set(track.sources)
        clicked = [MODEL] * ("model" in sources) + [PERSON] * bool(sources - {"model"})
        return Episode(
            task=session.task,
            layout=session.layout,
            difficulty=session.difficulty,
            world_seed=session.world_seed,
            annotator_seed=session.world_seed,
            persona={},
            origin=PERSON if person else " and ".join(clicked) or MODEL,
            steps=tuple(
                replace(step, time_ms=time) if person else step
                for step, time in zip(track.steps, track.times, strict=True)
            ),
            outcome=simulator.task.score(simulator.world, simulator.state),
            frame_hash="",
            generator_version=session.generator_version,
            recording=session.recording if person else {},
        )


def data_uri(image: bytes) -> str:
    """A WebP image as an address that holds it."""
    return "data:image/webp;base64," + base64.b64encode(image).decode()


def shown(track: Track, number: int | None = None) -> dict[str, Any]:
    """What a screen shows, for eyes and for those who listen: picture, buttons, counters."""
    simulator = track.simulator if number is None else track.at(number)
    task, world, state = simulator.task, simulator.world, simulator.state
    canvas = simulator.arrangement.canvas
    return {
        "picture": data_uri(picture(simulator)),
        "canvas": [canvas.x, canvas.y, canvas.width, canvas.height],
        "status": [list(pair) for pair in task.draw(world, state).status],
        "buttons": [
            {
                "name": button.name,
                "label": button.label,
                "action": button.action,
                "group": button.group,
                "tone": button.tone,
                "enabled": one.enabled and not task.done(state),
                "active": one.active,
                "ticked": one.ticked,
            }
            for button, one in zip(task.buttons, task.states(world, state), strict=True)
        ],
    }


def whole(asked: dict[str, Any], name: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number of a request. Raises `InputError` if it is none or out of range."""
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"'{name}' must be a whole number from {low} to {high}")
    return value


def real(
    asked: dict[str, Any], name: str, low: float, high: float, default: float | None = None
) -> float:
    """A number of a request. Raises `InputError` if it is none or out of range."""
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InputError(f"'{name}' must be a number from {low:g} to {high:g}")
    return float(value)


def text(asked: dict[str, Any], name: str, default: str = "", most: int = MOST_NAME) -> str:
    """A line of text of a request, cut to ``most`` letters. Raises `InputError` for other types."""
    value = asked.get(name, default)
    if not isinstance(value, str):
        raise InputError(f"'{name}' must be text")
    return " ".join(value.split())[:most]


def choice(asked: dict[str, Any], name: str, known: Any, default: str = "") -> str:
    """A name of a request that must be known. Raises `InputError` with the nearest one."""
    return check_name(name, text(asked, name, default), known)


def point(asked: dict[str, Any]) -> Click:
    """The click of a request, on the screen."""
    x = whole(asked, "x", 0, SCREEN_WIDTH - 1)
    return Click(x, whole(asked, "y", 0, SCREEN_HEIGHT - 1))
