"""Firefox driven over Marionette, the protocol that it brings along: no driver, no package."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
#: Nothing of its own accord over the network.
_PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """A headless Firefox of its own, over a profile in ``folder``."""

    def __init__(self, folder: Path, *, dark: bool = False) -> None:
        folder.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        known = {
            **_PREFERENCES,
            "marionette.port": port,
            "layout.css.prefers-color-scheme.content-override": 0 if dark else 1,
        }
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in known.items()]
        (folder / "user.js").write_text("\n".join(lines))
        assert FIREFOX is not None
        self.process = subprocess.Popen(
            [FIREFOX, "--headless", "--marionette", "--no-remote", "--profile", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "MOZ_REMOTE_ALLOW_SYSTEM_ACCESS": "0", "HOME": str(folder)},
        )
        self.number = 0
        self.socket = self._connect(port)
        self._answer()  # it introduces itself
        self.ask("WebDriver:NewSession", capabilities={})
        self.ask("WebDriver:SetTimeouts", script=120_000, pageLoad=120_000)

    def _connect(self, port: int) -> socket.socket:
        for _ in range(600):
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=180)
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("Firefox did not start")

    def _answer(self) -> Any:
        size = b""
        while not size.endswith(b":"):
            size += self.socket.recv(1)
        data, wanted = b"", int(size[:-1])
        while len(data) < wanted:
            data += self.socket.recv(wanted - len(data))
        return json.loads(data)

    def ask(self, command: str, **asked: Any) -> Any:
        """What Firefox answers to a command."""
        self.number += 1
        message = json.dumps([0, self.number, command, asked]).encode()
        self.socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, found = self._answer()
        if error:
            raise RuntimeError(error["message"])
        return found.get("value") if isinstance(found, dict) and "value" in found else found

    def goto(self, address: str) -> None:
        """Open an address."""
        self.ask("WebDriver:Navigate", url=address)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function's body returns in the page, awaited."""
        body = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...given) => {{ {script} }})(...arguments).then(done,"
            " (error) => done({ failed: String(error) }));"
        )
        found = self.ask(
            "WebDriver:ExecuteAsyncScript", script=body, args=list(arguments), sandbox=None
        )
        if isinstance(found, dict) and "failed" in found:
            raise RuntimeError(found["failed"])
        return found

    def until(self, expression: str) -> None:
        """Wait until an expression holds."""
        for _ in range(600):
            if self.run(f"return Boolean({expression});"):
                return
            time.sleep(0.1)
        raise AssertionError(f"it never came: {expression}")

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        pressed = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keys", "actions": pressed}]
        self.ask("WebDriver:PerformActions", actions=actions)

    def size(self, width: int, height: int) -> None:
        """Set the window's size, px."""
        self.ask("WebDriver:SetWindowRect", width=width, height=height)

    def picture(self) -> str:
        """The whole page as PNG in base64."""
        return str(self.ask("WebDriver:TakeScreenshot", full=True))

    def close(self) -> None:
        """End it."""
        self.socket.close()
        self.process.kill()
        self.process.wait(30)
