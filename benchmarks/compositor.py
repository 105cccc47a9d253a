"""Speed of the compositor against a browser that shows the same screens.

The browser has a page with the same buttons, canvas image, marks and status; between two
screenshots the page is changed to the next screen of the episode. Both run on one core.

    python benchmarks/compositor.py --out benchmarks/compositor.md
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from report import add_outputs, give

from bcprobe.episodes.record import display_lists, generate
from bcprobe.gui.compositor import compose
from bcprobe.gui.display import DisplayList
from bcprobe.gui.layouts import arrange, get_layout
from bcprobe.gui.themes import THEMES
from bcprobe.gui.widgets import Button
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAGE = Path(__file__).with_suffix(".html")

Screens = list[tuple[NDArray[np.uint8], DisplayList]]


def screens_of(episodes: int) -> Screens:
    """Canvas images and display list of every screen of some colored-dots episodes."""
    found = []
    for seed in range(episodes):
        images, displays = display_lists(generate("colored_dot_tracking", seed))
        found += [(images, display) for display in displays]
    return found


def time_compositor(screens: Screens, buffers: int, rounds: int) -> dict[str, float]:
    """Frames per second of the process's own time, written into so many buffers in turn."""
    out = np.zeros((buffers, SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)
    rates = []
    for _ in range(rounds + 1):  # the first fills the caches
        start = time.process_time()
        for number, (images, display) in enumerate(screens):
            compose(display, images, out[number % buffers])
        rates.append(len(screens) / (time.process_time() - start))
    return {"median": statistics.median(rates[1:]), "best": max(rates[1:])}


def rgb(color: tuple[int, int, int]) -> str:
    return "#" + bytes(color).hex()


def png_address(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def box(rect: Any) -> str:
    return f"left:{rect.x}px;top:{rect.y}px;width:{rect.width}px;height:{rect.height}px"


def page_of(images: NDArray[np.uint8], display: DisplayList) -> str:
    """HTML of a screen's page, with ``show`` to change it to any screen of its episode."""
    name, keys, _ = json.loads(display.base)
    buttons = tuple(Button(*key) for key in keys)
    theme = THEMES[get_layout(name).theme]
    places = arrange(get_layout(name), buttons)
    body = [
        f'<div class="card" style="{box(card.rect)}"><span>{card.heading.upper()}</span></div>'
        for card in places.cards
    ]
    for number, (rect, button) in enumerate(zip(places.buttons, buttons, strict=True)):
        style = f"{box(rect)};--tone:{rgb(theme.tones[button.tone])}"
        body.append(f'<button id="button{number}" style="{style}">{button.label}</button>')
    body.append(f'<img id="canvas" style="{box(places.canvas)}">')
    body.append(f'<svg id="marks" style="{box(places.canvas)}"></svg>')
    body.append(f'<div id="status" style="{box(places.status)}"></div>')
    values = {
        "body": "\n".join(body),
        "images": json.dumps([png_address(image) for image in images]),
        "filled": json.dumps([button.tone in theme.filled for button in buttons]),
    }
    return re.sub(
        "@([a-z_]+)@",
        lambda word: values.get(word[1]) or rgb(getattr(theme, word[1])),
        PAGE.read_text(),
    )


def screen_data(display: DisplayList) -> dict[str, Any]:
    return {
        "image": display.image,
        "states": json.loads(display.base)[2],
        "marks": display.marks,
        "strokes": display.strokes,
        "status": display.status,
    }


def time_chromium(screens: Screens, executable: str, shots: int) -> dict[str, Any]:
    """Screenshots per second, and how far they are from the composed screens in grey levels.

    Gives ``{"skipped": reason}`` where playwright or the browser is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {"skipped": "playwright is not installed"}
    if not Path(executable).is_file():
        return {"skipped": f"no browser at {executable}"}
    images = screens[0][0]
    episode = [display for other, display in screens if other is images]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        page = browser.new_page(viewport={"width": SCREEN_WIDTH, "height": SCREEN_HEIGHT})
        page.set_content(page_of(images, episode[0]))

        def shoot(display: DisplayList) -> bytes:
            page.evaluate("screen => show(screen)", screen_data(display))
            return page.screenshot()

        off = [difference(shoot(display), compose(display, images)) for display in episode[::8]]
        return {**time_shots(shoot, episode, shots), "grey_levels_off": statistics.mean(off)}


def time_shots(
    shoot: Callable[[DisplayList], bytes], episode: list[DisplayList], shots: int
) -> dict[str, float]:
    """Rates of screenshots: the median one, and the quickest."""
    seconds = []
    for number in range(shots):
        start = time.perf_counter()
        shoot(episode[number % len(episode)])
        seconds.append(time.perf_counter() - start)
    return {"median": 1 / statistics.median(seconds), "best": 1 / min(seconds)}


def difference(png: bytes, composed: NDArray[np.uint8]) -> float:
    """Mean difference of two screens in grey levels."""
    shown = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return float(np.abs(shown - composed).mean())


def measure(episodes: int, rounds: int, shots: int, executable: str) -> dict[str, Any]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    screens = screens_of(episodes)
    return {
        "processor": processor(),
        "numpy": np.__version__,
        "screens": len(screens),
        "marks_per_screen": statistics.mean(len(display.marks) for _, display in screens),
        "one_buffer": time_compositor(screens, 1, rounds),
        "batch_of_64": time_compositor(screens, 64, rounds),
        "chromium": time_chromium(screens, executable, shots),
    }


def processor() -> str:
    """Name of the processor, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def as_markdown(found: dict[str, Any], command: str) -> str:
    lines = [
        "# Compositor",
        "",
        f"`{command}`",
        "",
        f"One core of {found['processor']}, numpy {found['numpy']}; {found['screens']} screens of "
        f"colored-dots episodes with {found['marks_per_screen']:.1f} marks on average. The "
        "compositor's rate is by the process's own time, the browser's by the clock.",
        "",
        "| | frames/s, median | best |",
        "|---|---:|---:|",
    ]
    names = {
        "one_buffer": "compositor, into one buffer",
        "batch_of_64": "compositor, into a batch of 64 frames",
        "chromium": "headless Chromium, screenshots of the same page",
    }
    for key, name in names.items():
        row = found[key]
        cells = [f"skipped: {row['skipped']}", ""] if "skipped" in row else [
            f"{row['median']:,.0f}", f"{row['best']:,.0f}"
        ]  # fmt: skip
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    shots = found["chromium"]
    if "skipped" not in shots:
        lines += [
            "",
            f"The compositor is {found['one_buffer']['median'] / shots['median']:,.0f} times as "
            f"fast; the browser's pixels differ from the composed ones by "
            f"{shots['grey_levels_off']:.1f} grey levels on average (text and antialiasing).",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--shots", type=int, default=200)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="path of the browser")
    add_outputs(parser)
    options = parser.parse_args()
    found = measure(options.episodes, options.rounds, options.shots, options.chromium)
    text = as_markdown(found, "python benchmarks/compositor.py --out benchmarks/compositor.md")
    give(found, text, options)


if __name__ == "__main__":
    main()
