"""A server in a process of its own, and a Chromium to visit it with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
CHECKPOINT = "dots-nano"


class Server:
    """``bcprobe serve`` at a free port, over a file of sessions."""

    def __init__(self, store: Path, *options: object) -> None:
        self.store, self.options, self.port = store, options, 0
        self.start()

    def start(self) -> None:
        """Start it, at the same port as before."""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "bcprobe.cli", "serve", "--port", str(self.port)),
                *("--store", str(self.store), "--checkpoint", CHECKPOINT, *map(str, self.options)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("bcprobe: http://"), line
        self.address, _, query = line.split()[1].partition("/?")
        self.address, self.token = self.address.rstrip("/"), query.removeprefix("token=")
        self.port = int(self.address.rpartition(":")[2])

    def kill(self) -> None:
        """Kill -9: nothing of it can be saved any more."""
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        """Ctrl-C. Returns the exit code."""
        self.process.send_signal(2)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end."""
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def ask(
        self, path: str, body: Any = None, *, method: str = "", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body (JSON where it is) and headers of an answer."""
        data = (
            None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        sent = {"Content-Type": "application/json"} if data is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            self.address + path, data, sent, method=method or ("GET" if data is None else "POST")
        )
        opener = urllib.request.build_opener(_Stay)
        try:
            with opener.open(request, timeout=120) as answer:
                status, found, known = answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                status, found, known = error.code, error.read(), dict(error.headers)
        known = {name.lower(): value for name, value in known.items()}
        if "json" in known.get("content-type", ""):
            found = json.loads(found)
        return status, found, known

    def get(self, path: str) -> Any:
        """What a page is told."""
        status, found, _ = self.ask(path)
        assert status == 200, found
        return found

    def post(self, path: str, **asked: Any) -> Any:
        """What a page is told when it asks for something."""
        status, found, _ = self.ask(path, asked)
        assert status == 200, found
        return found


class _Stay(urllib.request.HTTPRedirectHandler):
    """Redirections are answers too."""

    def redirect_request(self, *_: Any) -> None:
        return None


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(*options: object) -> Server:
        made.append(Server(tmp_path / f"sessions-{len(made)}.sqlite", *options))
        return made[-1]

    yield make
    for server in made:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    started = Server(folder / "sessions.sqlite", "--data", hostile_folder(folder))
    yield started
    if started.process.poll() is None:
        started.kill()


#: What somebody may have typed, or put into a file, to make a page do something.
HOSTILE = "<img src=x onerror=\"document.title='owned'\">'\"`${1}</script><script>alert(1)</script>"


def hostile_folder(folder: Path) -> Path:
    """A folder of episodes whose names are markup, named so itself."""
    from dataclasses import replace

    from bcprobe.episodes.record import generate
    from bcprobe.episodes.store import write_episodes

    episodes = [generate("colored_dot_tracking", seed) for seed in (1, 2, 3)]
    bad = replace(episodes[0], origin=HOSTILE, recording={"name": HOSTILE})
    return write_episodes([bad, *episodes[1:]], folder / "<b>bold" / "<i>data")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A Chromium: Debian's, or Playwright's own."""
    sync = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync.sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("there is no Chromium here: apt-get install chromium")
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()
