"""How soon `bcprobe serve` answers people: one alone, then twenty at once, on the loopback.

Every one works worlds of its own as the virtual annotator would, with pauses between the clicks as
people make them, and asks one thing at a time. Beside them a model is watched all the while. Then a
Chromium works every task: from the press of the pointer until the new screen is drawn in the page.

    python benchmarks/serve.py --out benchmarks/serve.md
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from report import add_outputs, give

from bcprobe.episodes.record import generate
from bcprobe.tasks import TASKS

TASKS_WORKED = tuple(TASKS)
#: Seconds between an answer and the next click: people wait 0.6 s before a button, 1.3 s before a
#: placement (the paper's people).
PAUSE = 0.8


class Person:
    """Somebody at work over one connection."""

    def __init__(self, port: int, number: int) -> None:
        self.port, self.number, self.times = port, number, []
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        self.connection.request(
            "POST", path, json.dumps(asked), {"Content-Type": "application/json"}
        )
        answer = self.connection.getresponse()
        found = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(found)
        return found

    def work(self, seconds: float, pause: float) -> None:
        rng = np.random.default_rng(self.number)
        task = TASKS_WORKED[self.number % len(TASKS_WORKED)]
        episode = generate(task, self.number)
        view = self.post("/api/annotate", {"task": task, "world_seed": self.number})
        end = time.monotonic() + seconds
        for step in episode.steps[:-1]:
            if time.monotonic() > end:
                return
            time.sleep(pause * rng.uniform(0.5, 1.5))
            asked = {"do": "click", "x": step.click.x, "y": step.click.y, "time_ms": 1.0}
            begun = time.perf_counter()
            view = self.post(
                f"/api/sessions/{view['id']}/annotate", {**asked, "count": view["count"]}
            )
            self.times.append(1000 * (time.perf_counter() - begun))


def watch(port: int, stop: threading.Event, steps: list[float]) -> None:
    """Watch a model without a pause, so that its process is busy all the time."""
    person = Person(port, 0)
    while not stop.is_set():
        view = person.post("/api/watch", {"task": "colored_dot_tracking", "world_seed": 1})
        while not stop.is_set() and not view["done"]:
            begun = time.perf_counter()
            view = person.post(
                f"/api/sessions/{view['id']}/watch", {"do": "step", "count": view["count"]}
            )
            steps.append(1000 * (time.perf_counter() - begun))


def load(port: int, people: int, seconds: float, pause: float) -> list[float]:
    """Milliseconds of every answer that so many people waited for."""
    crowd = [Person(port, number + 1) for number in range(people)]
    threads = [threading.Thread(target=one.work, args=(seconds, pause)) for one in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [t for one in crowd for t in one.times]


#: Makes clicks one after the other, each once the last was answered; the page measures itself.
CLICK = """async (points) => {
  const screen = document.querySelector(".screen");
  const answers = () => performance.getEntriesByName("bcprobe-answer");
  for (const [x, y] of points) {
    const box = screen.getBoundingClientRect(), before = answers().length;
    const clientX = box.left + (x + 0.5) / 480 * box.width;
    const clientY = box.top + (y + 0.5) / 360 * box.height;
    const how = { bubbles: true, button: 0, clientX, clientY };
    screen.dispatchEvent(new PointerEvent("pointerdown", how));
    while (answers().length === before) await new Promise((done) => setTimeout(done, 2));
    await new Promise((done) => setTimeout(done, 100));
  }
  return answers().map((one) => one.duration);
}"""


def in_chromium(port: int) -> dict[str, list[float]]:
    """Milliseconds from click to drawn screen in a real browser, by task; none without Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    if found is None:
        return {}
    times = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page()
        for task in TASKS_WORKED:
            asked = {"task": task, "world_seed": 3}
            made = Person(port, 0).post("/api/annotate", asked)
            page.goto(f"http://127.0.0.1:{port}/annotate?session={made['id']}")
            page.wait_for_selector(".buttons button")
            steps = generate(task, 3).steps[:-1]  # without Done: others' work would begin
            times[task] = page.evaluate(CLICK, [list(step.click) for step in steps])
        browser.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    add_outputs(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-m", "bcprobe.cli", "serve", "--port", "0")
        server = subprocess.Popen(
            [*command, "--store", str(Path(folder) / "s.sqlite"), "--checkpoint", "dots-nano"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        port = int(server.stdout.readline().rpartition(":")[2].rstrip("/\n"))
        try:
            wake = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            wake.request("GET", "/api/models/dots-nano")
            wake.getresponse().read()
            alone = load(port, 1, arguments.seconds / 2, 0.1)
            crowd = load(port, arguments.people, arguments.seconds, PAUSE)
            stop, steps = threading.Event(), []
            watcher = threading.Thread(target=watch, args=(port, stop, steps))
            watcher.start()
            both = load(port, arguments.people, arguments.seconds, PAUSE)
            stop.set()
            watcher.join()
            drawn = in_chromium(port)
        finally:
            server.send_signal(2)
            server.wait(30)
    runs = {"one alone": alone, f"{arguments.people} at once": crowd,
            f"{arguments.people} at once, a model watched": both}  # fmt: skip
    table = _table("people", runs)
    seen = f"In Chromium, until the screen is drawn:\n\n{_table('task', drawn)}" if drawn else ""
    busy = os.getloadavg()[0]
    text = (
        f"# Answers of `bcprobe serve`\n\nMilliseconds from a click to its answer, screen "
        f"included; ten tasks, one connection a person, {platform.machine()}, "
        f"{os.cpu_count()} cores (load {busy:.1f} at the end).\n\n{table}\n\n"
        f"The watched model made a click every {np.median(steps):.0f} ms meanwhile.\n\n{seen}\n"
    )
    give({name: sorted(times) for name, times in (runs | drawn).items()}, text, arguments)


def _table(what: str, runs: dict[str, list[float]]) -> str:
    """Milliseconds of each run, as Markdown."""
    lines = [f"| {what} | clicks | median | 95 % | longest |", "|---|---|---|---|---|"]
    for name, times in runs.items():
        high = np.percentile(times, 95)
        lines.append(
            f"| {name} | {len(times)} | {np.median(times):.0f} | {high:.0f} | {max(times):.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
