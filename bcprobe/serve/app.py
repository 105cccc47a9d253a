"""The server's addresses, and what is answered at each."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bcprobe.episodes.player import colours
from bcprobe.episodes.record import generate, open_world
from bcprobe.errors import InputError
from bcprobe.gui.layouts import HELD_OUT_LAYOUTS, TRAINING_LAYOUTS
from bcprobe.model.registry import find_checkpoint, list_checkpoints, trained_tasks
from bcprobe.palette import TASK_COLOURS
from bcprobe.rng import split_seed
from bcprobe.serve import annotate, explore, export, watch
from bcprobe.serve.desk import MOST_NAME, Desk, MissingError, text
from bcprobe.serve.guard import words_page
from bcprobe.serve.store import ConflictError
from bcprobe.serve.tracks import picture
from bcprobe.tasks import HELD_OUT_TASKS, TASKS, get_task

#: Kinds of the files that a browser loads, by their ending.
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: World and moment (a fraction of the episode) of a task's picture.
PICTURED, MOMENT = 7, 0.6
_KEEP = {"cache-control": "private, max-age=86400, immutable"}
Work = Callable[..., Any]


def make_app(desk: Desk) -> Starlette:
    """The application, without the checks before it (`bcprobe.serve.guard`)."""

    def get(work: Work) -> Any:
        async def answer(request: Request) -> Response:
            return await _answered(work, desk, request.path_params, {})

        return answer

    def post(work: Work) -> Any:
        async def answer(request: Request) -> Response:
            asked = _object(await request.body())
            if asked is None:
                return _problem(400, "send a JSON object")
            return await _answered(work, desk, request.path_params, asked)

        return answer

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(desk.worker.close)

    routes = [
        *(Route(path, _page) for path in ("/", "/annotate", "/watch", "/explore")),
        Route("/pages/{name}", _asset),
        *(Route(path, get(work)) for path, work in GETS.items()),
        *(Route(path, post(work), methods=["POST"]) for path, work in POSTS.items()),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: _nowhere})


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None


async def _nowhere(request: Request, _: Exception) -> Response:
    words = "there is no such page; begin at the address that `bcprobe serve` printed"
    if "text/html" in request.headers.get("accept", ""):
        return Response(words_page(words), status_code=404, media_type=_KINDS[".html"])
    return _problem(404, words)


async def _page(request: Request) -> Response:
    return Response(_pages()["index.html"][0], media_type=_KINDS[".html"], headers=_FRESH)


async def _asset(request: Request) -> Response:
    found = _pages().get(request.path_params["name"])
    if found is None:
        return _problem(404, "there is no such file")
    return Response(found[0], media_type=found[1], headers=_FRESH)


_FRESH = {"cache-control": "no-cache"}


async def _answered(
    work: Work, desk: Desk, path: dict[str, Any], asked: dict[str, Any]
) -> Response:
    """What the work returns, or its refusal in words."""
    try:
        found = await run_in_threadpool(work, desk, path, asked)
    except InputError as error:
        return _problem(400, str(error))
    except MissingError:
        return _problem(404, "there is no such session or episode here")
    except ConflictError:
        return _problem(409, "somebody else has clicked here since")
    except TimeoutError:
        return _problem(503, "the model is busy; try again")
    return found if isinstance(found, Response) else JSONResponse(found, headers=_NO_STORE)


_NO_STORE = {"cache-control": "no-store"}


def _problem(status: int, words: str) -> Response:
    return JSONResponse({"error": words}, status_code=status, headers=_NO_STORE)


@lru_cache(maxsize=1)
def _pages() -> dict[str, tuple[bytes, str]]:
    """Every file a browser may load, by name: no request reaches the file system."""
    found = {}
    shared = files("bcprobe.episodes").joinpath("page")
    for path in (*shared.iterdir(), *files("bcprobe.serve").joinpath("pages").iterdir()):
        kind = _KINDS.get("." + path.name.rpartition(".")[2])
        if kind is not None:
            found[path.name] = (path.read_bytes(), kind)
    return found


def about(desk: Desk) -> dict[str, Any]:
    """What there is to choose from, and the colours of it all."""
    return {
        "tasks": [
            {
                "name": task.name,
                "title": task.title,
                "asked": asked_of(task),
                "actions": [button.label for button in task.buttons],
                "difficulties": list(task.settings),
                "held_out": task.name in HELD_OUT_TASKS,
            }
            for task in TASKS.values()
        ],
        "layouts": [
            {"name": name, "held_out": name in HELD_OUT_LAYOUTS}
            for name in (*TRAINING_LAYOUTS, *HELD_OUT_LAYOUTS)
        ],
        "checkpoint": desk.checkpoint,
        "checkpoints": list(dict.fromkeys([desk.checkpoint, *list_checkpoints()])),
        "trained": {name: list(_trained(name)) for name in list_checkpoints()}
        | {desk.checkpoint: list(_trained(desk.checkpoint))},
        "sources": explore.sources(desk),
        "palette": colours(),
        "task_colours": TASK_COLOURS,
        "test_seed": split_seed("test", 0),
        "most_seed": annotate.MOST_SEED,
        "most_name": MOST_NAME,
    }


def _trained(checkpoint: str) -> tuple[str, ...]:
    try:
        return trained_tasks(find_checkpoint(checkpoint))
    except InputError:
        return ()


def asked_of(task: Any) -> list[str]:
    """What a task shows and what it asks for, in two sentences: from its documentation."""
    found = []
    for name in ("Description", "Instruction"):
        part = re.search(rf"{name}: (.+?)(?=\n    [A-Z][a-z]+: |\Z)", task.__doc__, re.DOTALL)
        words = " ".join(part[1].split()) if part else ""
        found.append(words[:1].upper() + words[1:])
    return found


@lru_cache(maxsize=len(TASKS))
def example(task: str) -> bytes:
    """A screen of a task in the middle of the work, as WebP."""
    found: list[Any] = []
    generate(task, PICTURED, watch=lambda simulator: found.append(simulator.state))
    simulator = open_world(task, PICTURED)
    return picture(simulator.again(found[int(MOMENT * len(found))]))


def viewed(desk: Desk, name: str) -> dict[str, Any]:
    """A session, as the page of its kind shows it."""
    session = desk.session(name)
    look = annotate.view if session.kind == "annotate" else watch.view
    return look(desk, session)


def _of(desk: Desk, path: dict[str, Any], kind: str) -> Any:
    session = desk.session(path["name"])
    if session.kind != kind:
        raise InputError(f"this session is not one to {kind}")
    return session


def since(desk: Desk, path: dict[str, Any], _: dict[str, Any]) -> Any:
    """The session if it has another number of clicks by now, else nothing (204)."""
    session = desk.session(path["name"])
    if desk.store.count(session) == path["count"]:
        return Response(status_code=204)
    return viewed(desk, path["name"])


def compared(desk: Desk, path: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    """How a finished session compares with others' on its world."""
    return annotate.compare(desk, _of(desk, path, "annotate"))


def frame(desk: Desk, path: dict[str, Any], _: dict[str, Any]) -> Response:
    """The screen before a click of a session."""
    return _picture(desk.track(desk.session(path["name"])).picture(path["number"]))


def _picture(data: bytes) -> Response:
    return Response(data, media_type="image/webp", headers=_KEEP)


def named(desk: Desk, path: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Put a name to a person's session, or take it away."""
    session = _of(desk, path, "annotate")
    name = text(asked, "name")
    rest = {key: value for key, value in session.recording.items() if key != "name"}
    desk.store.change(session, recording=rest | ({"name": name} if name else {}))
    return {"name": name}


def exported(desk: Desk, path: dict[str, Any], _: dict[str, Any]) -> Response:
    """Finished sessions as a zip of Parquet: ``people``, ``models`` or ``all``."""
    kinds = {"people": "annotate", "models": "watch", "all": None}
    if path["kind"] not in kinds:
        raise MissingError
    data = export.zipped(desk, kinds[path["kind"]])
    name = f'attachment; filename="bcprobe-{path["kind"]}.zip"'
    headers = {"content-disposition": name, **_NO_STORE}
    return Response(data, media_type="application/zip", headers=headers)


#: What is read, and what is changed, at which address: functions of the desk, the names in the
#: address, and what was sent.
GETS: dict[str, Work] = {
    "/api/about": lambda d, p, q: about(d),
    "/api/picture/{task}": lambda d, p, q: _picture(example(get_task(p["task"]).name)),
    "/api/sessions": lambda d, p, q: {"rows": explore.listed(d, explore.HERE)["rows"][:50]},
    "/api/sessions/{name}": lambda d, p, q: viewed(d, p["name"]),
    "/api/sessions/{name}/since/{count:int}": since,
    "/api/sessions/{name}/comparison": compared,
    "/api/sessions/{name}/frame/{number:int}": frame,
    "/api/sessions/{name}/apart/{number:int}": lambda d, p, q: watch.take_apart(
        d, d.session(p["name"]), p["number"]
    ),
    "/api/sessions/{name}/seen/{number:int}": lambda d, p, q: watch.seen(
        d, d.session(p["name"]), p["number"]
    ),
    "/api/sessions/{name}/readings/{first:int}/{last:int}": lambda d, p, q: watch.readings(
        d, d.session(p["name"]), p["first"], p["last"]
    ),
    "/api/models/{name:path}": lambda d, p, q: watch.know(d, p["name"]),
    "/api/episodes/{source:int}": lambda d, p, q: explore.listed(d, p["source"]),
    "/api/episode/{key}": lambda d, p, q: explore.played(d, p["key"]),
    "/api/episode/{key}/frame/{number:int}": lambda d, p, q: _picture(
        explore.opened(d, p["key"])[0].picture(p["number"])
    ),
    "/api/export/{kind}": exported,
}
POSTS: dict[str, Work] = {
    "/api/annotate": lambda d, p, q: annotate.begin(d, q),
    "/api/watch": lambda d, p, q: watch.begin(d, q),
    "/api/sessions/{name}/annotate": lambda d, p, q: annotate.act(d, _of(d, p, "annotate"), q),
    "/api/sessions/{name}/name": named,
    "/api/sessions/{name}/watch": lambda d, p, q: watch.act(d, _of(d, p, "watch"), q),
    "/api/sessions/{name}/fork": lambda d, p, q: watch.fork(d, d.session(p["name"]), q),
}
