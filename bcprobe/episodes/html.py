"""What Jupyter shows of an episode: some of its screens, its timeline and its outcome."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image, ImageDraw

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.player import (
    about,
    capitalized,
    draw_crosshair,
    draw_timeline,
    title_of,
)
from bcprobe.episodes.record import replay
from bcprobe.errors import InputError
from bcprobe.palette import MISTAKE_COLOUR, PHASE_COLOURS

#: Screens shown, and their size in px.
SHOWN = 6
WIDTH, HEIGHT = 240, 180
_GAP = 6
_TIMELINE = 24


def to_html(episode: Episode) -> str:
    """Self-contained HTML: what the episode is, screens with their clicks, timeline, outcome.

    An episode whose screens cannot be drawn again (made by another generator version, or on
    data of one's own) is shown without them.
    """
    facts = f"{len(episode)} clicks · world {episode.world_seed} · {about(episode)}"
    title = f"<b>{html.escape(title_of(episode))}</b> · {html.escape(capitalized(episode.result))}"
    key = [(phase, color) for phase, color in PHASE_COLOURS.items()]
    parts = [
        f'<span style="color:{color}">&#9632;</span> {name}'
        for name, color in [*key, ("below: a mistake stands", MISTAKE_COLOUR)]
    ]
    lines = "<br>".join([title, html.escape(facts), " &nbsp; ".join(parts)])
    text = f'<div style="color:inherit">{lines}</div>'  # the page's own: light or dark
    try:
        picture = draw_screens(episode)
    except InputError as error:
        return f"{text}<div><i>{html.escape(str(error))}</i></div>"
    return f'{text}<img alt="screens of the episode" style="width:100%" src="{_data_uri(picture)}">'


def shown_steps(episode: Episode) -> list[int]:
    """Steps shown: spread evenly over the episode; the first Undo replaces the nearest."""
    count = min(SHOWN, len(episode))
    steps = np.rint(np.linspace(0, len(episode) - 1, count)).astype(int).tolist()
    undo = next((t for t, step in enumerate(episode.steps) if step.undo_next), None)
    inner = range(1, count - 1)
    if undo is not None and inner and undo not in steps:
        steps[min(inner, key=lambda k: abs(steps[k] - undo))] = undo
    return sorted(steps)


def draw_screens(episode: Episode) -> Image.Image:
    """Screens in a row with the click about to be made, over the timeline of the episode.

    Raises `InputError` if the screens cannot be drawn again.
    """
    chosen = shown_steps(episode)
    size = (SHOWN * (WIDTH + _GAP) - _GAP, HEIGHT + _GAP + _TIMELINE)
    picture = Image.new("RGBA", size)  # transparent: the page's own colour, light or dark, shows
    for t, (simulator, step) in enumerate(replay(episode)):
        if t in chosen:
            screen = Image.fromarray(simulator.screen())
            draw_crosshair(ImageDraw.Draw(screen), step.click)
            small = screen.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
            picture.paste(small, (chosen.index(t) * (WIDTH + _GAP), 0))
    if chosen:
        strip = draw_timeline(episode).resize((picture.width, _TIMELINE), Image.Resampling.NEAREST)
        picture.paste(strip, (0, HEIGHT + _GAP))
    return picture


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
