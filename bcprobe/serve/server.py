"""`serve`: the browser's side of bcprobe, on an address of this machine."""

from __future__ import annotations

import ipaddress
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from bcprobe.errors import InputError, Interrupted
from bcprobe.model.registry import DEFAULT_CHECKPOINT, find_checkpoint

PORT = 8765
#: Where sessions are kept unless told otherwise.
STORE = "bcprobe-sessions.sqlite"
#: Connections at a time, and seconds an idle one is kept.
MOST_CONNECTIONS, IDLE_SECONDS = 256, 30


def serve(
    port: int = PORT,
    checkpoint: str = DEFAULT_CHECKPOINT,
    data: Path | str | Sequence[Path | str] = (),
    *,
    store: Path | str = STORE,
    host: str = "127.0.0.1",
    token: str = "",
    open_browser: bool = False,
) -> None:
    """Serve until Ctrl-C: annotate, watch and explore in the browser.

    ``data`` are folders of episodes to explore, ``store`` the file of the sessions. An address
    other than this machine's own (``host``) asks for a token, which is made and printed unless
    given. Raises `InputError` for an unknown checkpoint, a folder without episodes, an address
    that cannot be had, or if the packages are missing (``pip install 'bcprobe[serve]'``).
    """
    try:
        import uvicorn
        from starlette.applications import Starlette as _  # noqa: F401
    except ImportError:
        raise InputError("serve needs more packages: pip install 'bcprobe[serve]'") from None
    from bcprobe.episodes.store import EPISODES_FILE
    from bcprobe.serve.app import make_app
    from bcprobe.serve.desk import Desk
    from bcprobe.serve.guard import Guard
    from bcprobe.serve.store import Store

    find_checkpoint(checkpoint)
    folders = tuple(map(Path, [data] if isinstance(data, (str, Path)) else data))
    for folder in folders:
        if not (folder / EPISODES_FILE).is_file():
            raise InputError(f"no episodes at '{folder}'; give a folder that `generate` made")
    loopback = _is_loopback(host)
    token = token or ("" if loopback else secrets.token_urlsafe(24))
    listening = _listen(host, port)
    kept = Store(store)
    desk = Desk(kept, checkpoint, folders)
    every = host in ("0.0.0.0", "::")
    guard = Guard(make_app(desk), _names(host, loopback), token, any_address=every)
    config = uvicorn.Config(
        guard,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=32_768,
        timeout_graceful_shutdown=3,
        http="h11",
        loop="asyncio",
        ws="none",
    )
    port = listening.getsockname()[1]
    shown = "127.0.0.1" if every else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # ours stand before the address is told, and lose none
    server.told = 0
    before = _end_on_signals(server)
    try:
        sys.stdout.write(f"bcprobe: {address}\nsessions: {Path(store)}; Ctrl-C ends\n")
        sys.stdout.flush()
        threading.Thread(target=_wake, args=(desk,), daemon=True).start()
        if open_browser:
            webbrowser.open(address)
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        desk.worker.close()
        kept.close()
        listening.close()
    if server.told == signal.SIGTERM:
        raise Interrupted(signal.SIGTERM)


def _end_on_signals(server: Any) -> dict[int, Any]:
    """Let Ctrl-C and SIGTERM end a server, whatever it is doing. Returns the handlers before.

    The first ends it when its answers are given, a second at once.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}

    def end(number: int, frame: object) -> None:
        server.force_exit = server.should_exit
        server.should_exit, server.told = True, number

    return {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}


def _wake(desk: Any) -> None:
    """Load the model before it is asked for; what fails is told where it is asked for."""
    with suppress(Exception):
        desk.worker.ask("know", desk.checkpoint)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names(host: str, loopback: bool) -> list[str]:
    """Names by which a browser may ask for the server."""
    own = ["localhost", "127.0.0.1", "::1"]
    if loopback:
        return own
    return [*own, host, socket.gethostname(), socket.getfqdn()]


def _listen(host: str, port: int) -> socket.socket:
    """A socket at the address. Raises `InputError` if it cannot be had."""
    try:
        family, kind, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(512)  # whoever is told the address is answered
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot listen at {host}:{port}: {reason}; try another --port") from None
    return listening
