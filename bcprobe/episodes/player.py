"""Episodes to watch: one HTML file that needs no network, or an animated GIF."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bcprobe.episodes.episode import Episode, Step
from bcprobe.episodes.record import open_world, replay
from bcprobe.episodes.simulator import Simulator
from bcprobe.files import MARK, atomic_file
from bcprobe.palette import CLICK_COLOUR, COLOURS, MISTAKE_COLOUR, PHASE_COLOURS
from bcprobe.types import ACTIONS, SCREEN_HEIGHT, SCREEN_WIDTH, Click

#: Screens are stored without loss if they fit in this many bytes, else at the best of the
#: qualities (WebP, 0-100) that does.
IMAGE_BUDGET = 3_000_000
QUALITIES = (92, 80, 60, 40, 20)

#: Levels at which a page draws a map.
_LEVELS = 63
_STRIP = 18


def write_html(episode: Episode, path: Path | str) -> Path:
    """Path of a self-contained page that plays the episode.

    Shows every screen with its click, the last one, what was clicked, the latents, and a
    timeline of phases, standing mistakes and actions. Loads nothing from elsewhere.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(page(page_data(episode)), encoding="utf-8")
    return Path(path)


def page(data: dict[str, Any]) -> str:
    """The player's page over `page_data`, with its scripts and styles inside."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "TITLE": html.escape(data["title"]),
        "STYLE": page_file("parts.css"),
        "SCRIPT": "\n".join(_inlined(page_file(name)) for name in _SCRIPTS),
        "DATA": text,
    }
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], page_file("player.html"))


def page_file(name: str) -> str:
    """A file that pages share: components in JavaScript and their style."""
    return files("bcprobe.episodes").joinpath("page", name).read_text(encoding="utf-8")


#: Modules of the page of one file, each after those that it imports.
_SCRIPTS = ("dom.js", "screen.js", "timeline.js", "player.js", "inside.js", "show.js")


def _inlined(script: str) -> str:
    """A module's text without what only matters between files."""
    return re.sub(r"^import .*\n|^export ", "", script, flags=re.MULTILINE)


def write_gif(episode: Episode, path: Path | str, *, clicks_per_second: float = 4.0) -> Path:
    """Path of an animated GIF of the episode: click and last click drawn, timeline below.

    480 x 378 px. An episode without clicks gives its opening screen.
    """
    pictures = [_quantized(picture) for picture in _pictures(episode)] or [_opening(episode)]
    duration = round(1000 / clicks_per_second)
    durations = [duration] * (len(pictures) - 1) + [4 * duration]
    with atomic_file(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            comment=MARK,
        )
    return Path(path)


def page_data(episode: Episode, budget: int = IMAGE_BUDGET) -> dict[str, Any]:
    """What the player shows of an episode; its screens take ``budget`` bytes."""
    screens: list[NDArray[np.uint8]] = []
    number: dict[bytes, int] = {}

    def kept(screen: NDArray[np.uint8]) -> int:
        index = number.setdefault(screen.tobytes(), len(screens))
        if index == len(screens):
            screens.append(screen.copy())
        return index

    steps = []
    simulator = None
    for simulator, step in replay(episode):
        steps.append(step_row(simulator, step) | {"image": kept(simulator.screen())})
    simulator = simulator or _opened(episode)
    closing = kept(simulator.screen())
    return {
        "title": simulator.task.title,
        "about": about(episode),
        "outcome": capitalized(episode.result),
        "success": episode.outcome.success,
        "foot": _foot(episode),
        "palette": colours(),
        "images": _data_uris(screens, budget),
        "steps": steps,
        "closing": closing,
    }


def colours() -> dict[str, Any]:
    """Colours that every page draws with, and the actions that get a lane of their own."""
    return {
        "phases": PHASE_COLOURS,
        "mistake": MISTAKE_COLOUR,
        "click": CLICK_COLOUR,
        "series": COLOURS,
        "actions": list(ACTIONS),
    }


def step_row(simulator: Simulator, step: Step) -> dict[str, Any]:
    """A click as a player shows it, with what is true before it."""
    known = step.latents
    return {
        "x": step.click.x,
        "y": step.click.y,
        "text": in_words(simulator, step),
        "action": step.action,
        "valid": step.valid,
        "phase": step.phase,
        "position": known.position,
        "positions": known.position_count,
        "progress": known.progress,
        "mistake": known.mistake,
        "kind": known.mistake_kind,
        "azimuth": None if math.isnan(known.azimuth) else known.azimuth,
        "elevation": None if math.isnan(known.elevation) else known.elevation,
    }


def in_words(simulator: Simulator, step: Step) -> str:
    """What a click does."""
    if step.widget == "canvas":
        canvas = simulator.arrangement.canvas
        point = f"({step.click.x - canvas.x}, {step.click.y - canvas.y})"
        return f"Clicks the canvas at {point}"
    labels = {button.name: button.label for button in simulator.task.buttons}
    return f"Presses {labels[step.widget]}" if step.widget in labels else "Clicks on nothing"


def packed(values: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """A map [row, column] as a page draws it: deflated bytes ``round(63 sqrt(v / peak))``.

    The lowest level, which cannot be seen, is 0.
    """
    rows, columns = values.shape
    peak = float(values.max()) or 1.0
    levels = np.rint(_LEVELS * np.sqrt(values / peak)).astype(np.uint8)
    data = zlib.compress((levels * (levels > 1)).tobytes(), 6)
    return {
        "width": columns,
        "height": rows,
        "peak": peak,
        "sum": round(float(values.sum()), 4),
        "data": base64.b64encode(data).decode(),
    }


def coarse(heat: NDArray[np.floating[Any]], by: int = 3) -> NDArray[np.floating[Any]]:
    """A click map [360, 480] summed over squares of ``by`` px, which must divide it."""
    rows, columns = heat.shape[0] // by, heat.shape[1] // by
    return heat.reshape(rows, by, columns, by).sum((1, 3))


def title_of(episode: Episode) -> str:
    """Name of the episode's task in words."""
    return capitalized(_words(episode.task))


def capitalized(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def _words(name: str) -> str:
    return name.replace("_", " ")


def about(episode: Episode) -> str:
    """Who worked it, in which layout, how hard."""
    difficulty = f"{episode.difficulty} difficulty"
    return f"Worked by: {episode.origin} · {_words(episode.layout)} layout · {difficulty}"


def _foot(episode: Episode) -> list[tuple[str, str]]:
    rows = [("world", str(episode.world_seed)), ("annotator", str(episode.annotator_seed))]
    rows += [(_words(name), f"{value:.3g}") for name, value in episode.persona.items()]
    rows += [(_words(name), f"{v:g}") for name, v in episode.outcome.counts.items()]
    return rows


def _data_uris(screens: list[NDArray[np.uint8]], budget: int) -> list[str]:
    """Screens as WebP data URIs: without loss if that fits the budget, else the best that does."""
    encoded = _encode(screens, {"lossless": True, "quality": 40, "method": 2})
    for quality in QUALITIES:
        if sum(map(len, encoded)) <= budget:
            break
        encoded = _encode(screens, {"quality": quality, "method": 3})
    return ["data:image/webp;base64," + base64.b64encode(data).decode() for data in encoded]


def _encode(screens: Iterable[NDArray[np.uint8]], options: dict[str, Any]) -> list[bytes]:
    encoded = []
    for screen in screens:
        buffer = io.BytesIO()
        Image.fromarray(screen).save(buffer, format="WEBP", **options)
        encoded.append(buffer.getvalue())
    return encoded


def _pictures(episode: Episode) -> Iterator[Image.Image]:
    """Screens with clicks drawn and the timeline under them."""
    strip = draw_timeline(episode)
    before: Click | None = None
    for number, (simulator, step) in enumerate(replay(episode)):
        picture = Image.new("RGB", (SCREEN_WIDTH, SCREEN_HEIGHT + _STRIP))
        picture.paste(Image.fromarray(simulator.screen()), (0, 0))
        picture.paste(strip, (0, SCREEN_HEIGHT))
        draw = ImageDraw.Draw(picture)
        if before is not None:
            _ring(draw, before, 4, "white", 1)
        draw_crosshair(draw, step.click)
        _playhead(draw, number, len(episode))
        before = step.click
        yield picture


def _opening(episode: Episode) -> Image.Image:
    return _quantized(Image.fromarray(_opened(episode).screen()))


def _opened(episode: Episode) -> Simulator:
    return open_world(episode.task, episode.world_seed, episode.layout, episode.difficulty)


def draw_crosshair(draw: ImageDraw.ImageDraw, click: Click) -> None:
    """Draw a cross and ring around a click."""
    for color, width in (("black", 4), (CLICK_COLOUR, 2)):
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            start = (click.x + 5 * dx, click.y + 5 * dy)
            draw.line((start, (click.x + 13 * dx, click.y + 13 * dy)), fill=color, width=width)
        _ring(draw, click, 9, color, width)


def _ring(draw: ImageDraw.ImageDraw, click: Click, radius: int, color: str, width: int) -> None:
    box = (click.x - radius, click.y - radius, click.x + radius, click.y + radius)
    draw.ellipse(box, outline=color, width=width)


def draw_timeline(episode: Episode) -> Image.Image:
    """Phase colours above, standing mistakes below: 480 x 18 px."""
    strip = Image.new("RGB", (SCREEN_WIDTH, _STRIP), "#101216")
    draw = ImageDraw.Draw(strip)
    for number, step in enumerate(episode.steps):
        left, right = _span(number, len(episode))
        draw.rectangle((left, 2, right, 10), fill=PHASE_COLOURS[step.phase])
        if step.latents.mistake:
            draw.rectangle((left, 13, right, 15), fill=MISTAKE_COLOUR)
    return strip


def _span(number: int, count: int) -> tuple[int, int]:
    """First and last column of a step in the timeline."""
    left = number * SCREEN_WIDTH // count
    return left, max(left, (number + 1) * SCREEN_WIDTH // count - 1)


def _playhead(draw: ImageDraw.ImageDraw, number: int, count: int) -> None:
    left, right = _span(number, count)
    middle = (left + right) // 2
    box = (middle - 2, SCREEN_HEIGHT, middle + 2, SCREEN_HEIGHT + _STRIP - 1)
    draw.rectangle(box, fill="white", outline="black")


def _quantized(picture: Image.Image) -> Image.Image:
    return picture.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
