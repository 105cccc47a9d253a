"""A person at work on a world: open, click, undo, redo, and at the end how it compares."""

from __future__ import annotations

import math
from typing import Any

from bcprobe.episodes.player import in_words
from bcprobe.errors import InputError
from bcprobe.gui.layouts import LAYOUTS
from bcprobe.rng import SPLITS
from bcprobe.serve import moves
from bcprobe.serve.compare import result
from bcprobe.serve.desk import Desk, choice, point, real, shown, text, whole
from bcprobe.serve.store import ConflictError, Made, Session
from bcprobe.serve.tracks import Track
from bcprobe.tasks import TASKS

#: World seeds that may be asked for: those of the three splits.
MOST_SEED = SPLITS["test"] + (1 << 40) - 1
#: Milliseconds that a session may last, by its own clock: 30 days.
MOST_MS = 30 * 86_400_000.0
DEVICES = ("mouse", "touch", "pen", "unknown")


def begin(desk: Desk, asked: dict[str, Any]) -> dict[str, Any]:
    """Open a world for a person. Raises `InputError` for what does not exist."""
    task = choice(asked, "task", TASKS)
    recording: dict[str, Any] = {
        "device": choice(asked, "device", DEVICES, "unknown"),
        "viewport": [whole({"v": v}, "v", 1, 100_000) for v in _pair(asked, "viewport")],
        "pixel_ratio": real(asked, "pixel_ratio", 0.1, 20, 1.0),
    }
    name = text(asked, "name")
    session = desk.store.create(
        "annotate",
        task,
        whole(asked, "world_seed", 0, MOST_SEED, 0),
        layout=choice(asked, "layout", LAYOUTS, "original"),
        difficulty=choice(asked, "difficulty", TASKS[task].settings, "default"),
        recording=recording | ({"name": name} if name else {}),
    )
    return view(desk, session)


def _pair(asked: dict[str, Any], name: str) -> list[Any]:
    value = asked.get(name, [1, 1])
    if not isinstance(value, list) or len(value) != 2:
        raise InputError(f"'{name}' must be two whole numbers")
    return value


def view(desk: Desk, session: Session, said: str = "") -> dict[str, Any]:
    """A session as the page shows it; nothing in it tells what is right before Done."""
    track = desk.track(session)
    with track.lock:
        simulator = track.simulator
        times = [time for time in track.times if time is not None]
        return {
            "id": session.id,
            "kind": session.kind,
            "task": session.task,
            "title": simulator.task.title,
            "layout": session.layout,
            "difficulty": session.difficulty,
            "world_seed": session.world_seed,
            "count": len(track),
            "done": simulator.done,
            "time_ms": max(times, default=0.0),
            "said": said,
            "can_redo": bool(moves.undone(track.steps, track.states, track.sources)),
            "frames": session.task in moves.UNFINISHED,
            "name": session.recording.get("name", ""),
            **shown(track),
        }


def act(desk: Desk, session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    """Carry out a request and tell what the screen then shows.

    ``do`` is ``click`` (at x, y), ``press`` (``button``), ``undo``, ``redo`` or ``next``; ``count``
    the number of clicks that the page has seen, ``nonce`` its name for the request: one that was
    carried out before is not carried out again. Raises `ConflictError` if others have clicked
    since.
    """
    count = whole(asked, "count", 0, 1 << 31)
    nonce = text(asked, "nonce", most=40)
    time_ms = real(asked, "time_ms", 0, MOST_MS)
    track = desk.track(session)
    with track.lock:
        if count != len(track):
            made = desk.store.steps(session, count)
            if not nonce or not made or made[0].nonce != nonce:
                raise ConflictError
            return view(desk, session)
        if track.simulator.done:
            raise InputError("this world is finished")
        clicks, source = _clicks(track, asked)
        first = len(track)
        made = [Made(click, time_ms, source, nonce) for click in clicks]
        if made:
            desk.write(session, track, made)
        return view(desk, session, told(track, first))


SOURCES = ("pointer", "key", "button")


def _clicks(track: Track, asked: dict[str, Any]) -> tuple[list[Any], str]:
    """The clicks that a request stands for, and their source."""
    source = choice(asked, "source", SOURCES, "pointer")
    what = choice(asked, "do", ("click", "press", "undo", "redo", "next"))
    if what == "click":
        return [point(asked)], source
    if what == "press":
        names = [button.name for button in track.simulator.task.buttons]
        found = moves.button_click(track.simulator, choice(asked, "button", names))
        return ([] if found is None else [found]), source
    if what == "undo":
        return moves.undo(track.simulator), source
    if what == "redo":
        return moves.redo(track), moves.REDO
    return moves.to_unfinished(track.simulator), moves.NEXT


def told(track: Track, first: int) -> str:
    """What the clicks from number ``first`` on did, in words."""
    steps = track.steps[first:]
    if not steps:
        return "Nothing to do"
    if all(source == moves.REDO for source in track.sources[first:]):
        return "Brought back what was undone"
    if len(steps) > 1:
        return f"Went on {len(steps)} clicks"
    return in_words(track.simulator, steps[0])


def compare(desk: Desk, session: Session) -> dict[str, Any]:
    """Score, mistakes and corrections of a finished session, beside others' on the same world.

    ``ready`` tells whether the others' rows are there; until then ask again. Raises `InputError`
    before Done: it would tell what is right.
    """
    episode = desk.episode(session)
    if not episode.outcome.done:
        raise InputError("press Done first")
    others = desk.store.comparison(session, desk.checkpoint)
    problem = ""
    if others is None:
        others, problem = desk.worker.comparison(session, desk.checkpoint)
        if others is not None and not problem:
            desk.store.keep_comparison(session, desk.checkpoint, others)
    counts = {k: v for k, v in episode.outcome.counts.items() if math.isfinite(v)}
    return {
        "own": result(episode, session.recording.get("name") or "you"),
        "counts": counts,
        "others": others or [],
        "ready": others is not None,
        "problem": problem,
        "checkpoint": desk.checkpoint,
    }
