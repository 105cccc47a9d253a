"""What Jupyter shows of an episode."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bcprobe.episodes import html
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import OWN_DATA, frames, generate


@pytest.fixture(scope="module")
def episode() -> Episode:
    made = (generate("colored_dot_tracking", seed) for seed in range(50))
    return next(one for one in made if any(step.undo_next for step in one.steps))


def test_the_first_undo_is_among_the_screens(episode: Episode) -> None:
    steps = html.shown_steps(episode)
    undo = next(t for t, step in enumerate(episode.steps) if step.undo_next)
    assert len(steps) == html.SHOWN
    assert steps == sorted(set(steps))
    assert {0, undo, len(episode) - 1} <= set(steps)


def test_the_picture_shows_those_screens_with_their_clicks(episode: Episode) -> None:
    whole = np.asarray(html.draw_screens(episode))
    picture = whole[..., :3]
    shown = list(frames(episode))
    for place, t in enumerate(html.shown_steps(episode)):
        left = place * (html.WIDTH + 6)
        own = picture[: html.HEIGHT, left : left + html.WIDTH].astype(int)
        plain = Image.fromarray(shown[t]).resize((html.WIDTH, html.HEIGHT), 1)
        change = np.abs(own - np.asarray(plain)).max(-1)
        x, y = (value // 2 for value in episode.steps[t].click)
        assert change[max(0, y - 8) : y + 9, max(0, x - 8) : x + 9].max() > 40
        change[max(0, y - 11) : y + 12, max(0, x - 11) : x + 12] = 0
        assert change.max() < 12
        assert (whole[: html.HEIGHT, left : left + html.WIDTH, 3] == 255).all()
    assert (whole[: html.HEIGHT, html.WIDTH : html.WIDTH + 6, 3] == 0).all()  # the page's colour


def test_jupyter_gets_one_page_with_its_picture_inside(episode: Episode) -> None:
    page = episode._repr_html_()
    assert page is not None
    assert f"{len(episode)} clicks" in page
    assert "Success, score 1.00" in page
    data = re.search(r"base64,([^\"]+)", page)
    assert data is not None
    picture = Image.open(io.BytesIO(base64.b64decode(data[1])))
    assert picture.format == "WEBP"
    assert len(page) < 200_000


def test_screens_that_cannot_be_drawn_are_left_out_with_the_reason(episode: Episode) -> None:
    page = replace(episode, difficulty=OWN_DATA)._repr_html_()
    assert page is not None
    assert "<img" not in page
    assert "data of one&#x27;s own" in page


def test_an_episode_without_clicks_has_a_page(episode: Episode) -> None:
    assert "0 clicks" in str(replace(episode, steps=())._repr_html_())


def test_an_episode_prints_as_one_short_line(episode: Episode) -> None:
    assert repr(episode) == (
        f"Episode('colored_dot_tracking', world {episode.world_seed}, {len(episode)} clicks by "
        "annotator, success, score 1.00)"
    )
    assert len(str([episode])) < 120


def test_an_episode_imports_nothing_heavy_until_it_is_shown() -> None:
    code = "import sys, bcprobe.episodes.episode; print({'torch', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
