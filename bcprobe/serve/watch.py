"""A model at work on a world: watched, taken over, tripped up, steered, and kept as an episode."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bcprobe.episodes.player import step_row
from bcprobe.errors import InputError, check_name
from bcprobe.evaluation.metrics import mistakes
from bcprobe.gui.layouts import LAYOUTS
from bcprobe.model.registry import list_checkpoints
from bcprobe.serve.annotate import MOST_SEED
from bcprobe.serve.desk import Desk, choice, point, real, shown, text, whole
from bcprobe.serve.readout import TOKENS
from bcprobe.serve.store import ConflictError, Made, Session
from bcprobe.serve.tracks import Track
from bcprobe.tasks import TASKS
from bcprobe.types import Click

#: Clicks that a link may hold, and whom they may come from, by number.
MOST_LINKED, SOURCES = 1500, ("model", "pointer", "trip")
#: Clicks before which the model looks in one request.
MOST_READ = 40
#: How far one steers at most, in separations of the two sides' means, and trips, in px.
MOST_AMOUNT, MOST_DISTANCE = 20.0, 120.0


def begin(desk: Desk, asked: dict[str, Any]) -> dict[str, Any]:
    """Put a model before a world; ``clicks`` and ``steers`` are made first, as a link holds them.

    ``clicks`` are [x, y, source]; ``steers`` the changes of steering by the click from which on
    they hold: [number, site, token, amount], or [number] for none. Raises
    `InputError` for what does not exist.
    """
    task = choice(asked, "task", TASKS)
    checkpoint = text(asked, "checkpoint") or desk.checkpoint
    if checkpoint != desk.checkpoint:
        check_name("checkpoint", checkpoint, list_checkpoints())
    clicks = _linked(asked.get("clicks", []))
    steers = _steered(asked.get("steers", []), len(clicks))
    clicks = [
        replace(made, reading={"steer": one}) if one else made
        for made, one in zip(clicks, steers, strict=False)
    ]
    settings = {
        "checkpoint": checkpoint,
        "temperature": real(asked, "temperature", 0, 4, 0.0),
        "seed": whole(asked, "seed", 0, 1 << 31, 0),
        "steer": steers[-1],
    }
    session = desk.store.create(
        "watch",
        task,
        whole(asked, "world_seed", 0, MOST_SEED, 0),
        layout=choice(asked, "layout", LAYOUTS, "original"),
        difficulty=choice(asked, "difficulty", TASKS[task].settings, "default"),
        settings=settings,
    )
    if clicks:
        desk.store.append(session, 0, clicks)
    return view(desk, session)


def _linked(given: Any) -> list[Made]:
    if not isinstance(given, list) or len(given) > MOST_LINKED:
        raise InputError(f"'clicks' must be a list of at most {MOST_LINKED}")
    made = []
    for one in given:
        if not isinstance(one, list) or len(one) != 3:
            raise InputError("a click must be three whole numbers: x, y and who made it")
        named = dict(zip(("x", "y", "source"), one, strict=True))
        source = SOURCES[whole(named, "source", 0, len(SOURCES) - 1)]
        made.append(Made(point(named), source=source))
    return made


def _steered(given: Any, count: int) -> list[dict[str, Any] | None]:
    """The steering of each of ``count`` clicks' looks and of the next one, from its changes."""
    if not isinstance(given, list) or len(given) > count + 1:
        raise InputError("'steers' must be a list of at most one change a look")
    found: list[dict[str, Any] | None] = [None] * (count + 1)
    for one in given:
        if not isinstance(one, list) or len(one) not in (1, 4):
            raise InputError("a change of steering is [number], or [number, site, token, amount]")
        named = dict(zip(("from", "site", "token", "amount"), one, strict=False))
        first = whole(named, "from", 0, count)
        found[first:] = [_steer(named) if len(one) == 4 else None] * (count + 1 - first)
    return found


def fork(desk: Desk, session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    """Another session that shares the first ``count`` clicks: a twin, or ``steered`` on."""
    made = desk.store.steps(session)
    count = whole(asked, "count", 0, len(made))
    settings = _settings(desk, session)
    if asked.get("steered") is not True:
        settings |= {"steer": None}
    twin = desk.store.create(
        "watch",
        session.task,
        session.world_seed,
        layout=session.layout,
        difficulty=session.difficulty,
        settings=settings,
    )
    if count:
        desk.store.append(twin, 0, made[:count])
    return view(desk, twin)


def _settings(desk: Desk, session: Session) -> dict[str, Any]:
    """A session's settings; a person's session is looked at by the model watched by default."""
    usual = {"checkpoint": desk.checkpoint, "temperature": 0.0, "seed": 0, "steer": None}
    return usual | session.settings


def job(desk: Desk, session: Session, **changed: Any) -> dict[str, Any]:
    """What the worker must know to be where the session is, with some settings ``changed``."""
    made = desk.store.steps(session)
    settings = _settings(desk, session) | changed
    return {
        "id": session.id,
        "task": session.task,
        "world_seed": session.world_seed,
        "layout": session.layout,
        "difficulty": session.difficulty,
        "checkpoint": settings["checkpoint"],
        "clicks": [list(one.click) for one in made],
        "sources": [one.source for one in made],
        "steers": [*(one.reading.get("steer") for one in made), settings["steer"]],
    }


def view(desk: Desk, session: Session, first: int = 0, **more: Any) -> dict[str, Any]:
    """A session as the page shows it, with its clicks from number ``first`` on."""
    track = desk.track(session)
    made = desk.store.steps(session, first)
    settings = _settings(desk, session)
    with track.lock:
        simulator = track.simulator
        task, world, state = simulator.task, simulator.world, simulator.state
        steps = track.steps[first:]
        rows = [
            step_row(simulator, step) | _kept(made[i] if i < len(made) else None)
            for i, step in enumerate(steps)
        ]
        outcome = task.score(world, state)
        return {
            "id": session.id,
            "kind": session.kind,
            "task": session.task,
            "title": task.title,
            "layout": session.layout,
            "difficulty": session.difficulty,
            "world_seed": session.world_seed,
            "settings": settings,
            "count": len(track),
            "first": first,
            "steps": rows,
            "done": simulator.done,
            "stands": task.latents(world, state).mistake,
            "score": outcome.score,
            "success": outcome.success,
            "trips": trips(track),
            **shown(track),
            **more,
        }


def _kept(made: Made | None) -> dict[str, Any]:
    reading = {} if made is None else made.reading
    read = reading.get("mistake") or {}
    return {
        "source": "" if made is None else made.source,
        "p_undo": reading.get("p_undo"),
        "p_done": reading.get("p_done"),
        "cls": read.get("cls"),
        "placed": read.get("placed"),
        "steer": reading.get("steer"),
        "trip": reading.get("trip"),
    }


def trips(track: Track) -> list[dict[str, Any]]:
    """What became of each mistake made for the model: click numbers, None where it has not come.

    ``stood`` tells whether it brought a mistake at all; ``undo`` is the first Undo after it,
    ``cleared`` the click after which no mistake stood.
    """
    steps = list(track.steps)
    found = {one.step: one for one in mistakes(steps)}
    last = len(steps) - 1
    simulator = track.simulator
    rows = []
    for number in (n for n, source in enumerate(track.sources) if source == "trip"):
        mistake = found.get(number)
        stands_now = simulator.task.latents(simulator.world, simulator.state).mistake
        stood = mistake is not None or (number == last and stands_now)
        undo = next((n for n in range(number + 1, len(steps)) if steps[n].undo_next), None)
        cleared = None if mistake is None else mistake.cleared
        if stood and cleared is None and number < last and not stands_now:
            cleared = last
        rows.append({"step": number, "stood": stood, "undo": undo, "cleared": cleared})
    return rows


def act(desk: Desk, session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    """Carry out a request.

    ``do`` is ``look``, ``step``, ``click`` (x, y), ``trip`` (``distance``), ``steer`` (``site``,
    ``token``, ``amount``) or ``temperature``.

    ``count`` is the number of clicks that the page has seen. Raises `ConflictError` if others have
    clicked since.
    """
    what = choice(asked, "do", ("look", "step", "click", "trip", "steer", "temperature"))
    count = whole(asked, "count", 0, 1 << 31)
    track = desk.track(session)
    if count != len(track):
        raise ConflictError
    if what in ("look", "steer", "temperature"):
        return _look(desk, session, what, asked)
    now = _job_at(desk, session, count)
    if track.simulator.done:
        raise InputError("this world is finished")
    settings = session.settings
    steer, seed = settings["steer"], settings["seed"]
    if what == "step":
        found = desk.worker.ask("step", now, settings["temperature"], seed, steer)
    elif what == "click":
        found = desk.worker.ask("click", now, list(point(asked)), steer)
    else:
        distance = real(asked, "distance", 0, MOST_DISTANCE)
        found = desk.worker.ask("trip", now, distance, seed, steer)
    made = [
        Made(Click(x, y), source=source, reading=reading)
        for x, y, source, reading in found["clicks"]
    ]
    with track.lock:
        if len(track) != count:
            raise ConflictError
        desk.write(session, track, made)
    return view(desk, session, count, now=found["next"], said=found.get("tripped", ""))


def _look(desk: Desk, session: Session, what: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Let the model look at the present screen, after a change of its settings if one is asked."""
    changed: dict[str, Any] = {}
    if what == "steer":
        changed["steer"] = _steer(asked)
    if what == "temperature":
        changed["temperature"] = real(asked, "temperature", 0, 4)
    now = _job_at(desk, session, asked["count"], **changed)
    finished = desk.track(session).simulator.done
    seen = None if finished else desk.worker.ask("look", now)
    if changed:
        session = _change(desk, session, **changed)
    return view(desk, session, asked["count"], now=seen)


def _job_at(desk: Desk, session: Session, count: int, **changed: Any) -> dict[str, Any]:
    """The session's `job` at ``count`` clicks. Raises `ConflictError` if there are others."""
    found = job(desk, session, **changed)
    if len(found["clicks"]) != count:
        raise ConflictError
    return found


def _change(desk: Desk, session: Session, **settings: Any) -> Session:
    """The session with other settings, once they are kept."""
    desk.store.change(session, settings={**session.settings, **settings})
    return desk.session(session.id)


def _steer(asked: dict[str, Any]) -> dict[str, Any] | None:
    amount = real(asked, "amount", -MOST_AMOUNT, MOST_AMOUNT)
    if amount == 0:
        return None
    return {
        "site": whole(asked, "site", 0, 200),
        "token": choice(asked, "token", TOKENS),
        "amount": amount,
    }


def know(desk: Desk, checkpoint: str) -> dict[str, Any]:
    """What a page asks of a model; a read-out that is missing begins to be fitted."""
    if checkpoint != desk.checkpoint:
        check_name("checkpoint", checkpoint, list_checkpoints())
    found = desk.worker.ask("know", checkpoint)
    if found["readout"] is None:
        found["problem"] = desk.worker.readout(checkpoint)
    return {**found, "checkpoint": checkpoint}


def take_apart(desk: Desk, session: Session, number: int) -> dict[str, Any]:
    """Click lens and attention before click ``number``."""
    now = job(desk, session)
    if not 0 <= number <= len(now["clicks"]):
        raise InputError(f"there is no screen {number}; the last is {len(now['clicks'])}")
    return desk.worker.ask("decide", now, number)


def seen(desk: Desk, session: Session, number: int) -> dict[str, Any]:
    """What the model saw before click ``number`` and would have clicked, steered as it was."""
    now = job(desk, session)
    if not 0 <= number < len(now["clicks"]):
        raise InputError(f"there is no click {number}; the last is {len(now['clicks']) - 1}")
    return desk.worker.ask("seen", now, number)


def readings(desk: Desk, session: Session, first: int, last: int) -> list[dict[str, Any]]:
    """What the model holds before the clicks ``first`` to ``last``, whoever made them.

    Raises `InputError` for clicks that there are none, or for more than `MOST_READ`.
    """
    now = job(desk, session)
    if not 0 <= first <= last < len(now["clicks"]) or last - first >= MOST_READ:
        raise InputError(f"read at most {MOST_READ} of the {len(now['clicks'])} clicks at a time")
    found = desk.worker.ask("readings", now, first, last)
    return [_kept(Made(Click(0, 0), reading=one)) for one in found]
