"""The player's page and GIF show every click of an episode and need nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bcprobe.episodes import player
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.player import write_gif, write_html
from bcprobe.episodes.record import frames, generate
from bcprobe.errors import InputError
from bcprobe.rng import split_seed

TASK = "colored_dot_tracking"


@pytest.fixture(scope="module")
def episode() -> Episode:
    """A short stretch of an episode with a mistake in it."""
    made = (generate(TASK, split_seed("test", i)) for i in range(50))
    worked = next(e for e in made if any(step.undo_next for step in e.steps))
    first = next(t for t, step in enumerate(worked.steps) if step.undo_next)
    return replace(worked, steps=worked.steps[: first + 3])


@pytest.fixture(scope="module")
def page(episode: Episode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_html(episode, tmp_path_factory.mktemp("player") / "episode.html")


def page_data(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found
    return dict(json.loads(found[1]))


def decoded(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/webp;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))


def test_page_data_equals_the_episode(page: Path, episode: Episode) -> None:
    data = page_data(page)
    assert len(data["steps"]) == len(episode)
    for shown, step in zip(data["steps"], episode.steps, strict=True):
        assert (shown["x"], shown["y"]) == step.click
        assert (shown["action"], shown["phase"], shown["valid"]) == (
            step.action,
            step.phase,
            step.valid,
        )
        assert (shown["mistake"], shown["progress"]) == (
            step.latents.mistake,
            step.latents.progress,
        )
    texts = {shown["action"]: shown["text"] for shown in data["steps"]}
    assert texts["undo"] == "Presses Undo"
    assert texts["place"].startswith("Clicks the canvas at (")


def test_page_shows_every_frame_and_stores_equal_ones_once(page: Path, episode: Episode) -> None:
    data = page_data(page)
    images = [decoded(uri) for uri in data["images"]]
    for shown, frame in zip(data["steps"], frames(episode), strict=True):
        assert np.array_equal(images[shown["image"]], frame)
    assert len(images) == len({frame.tobytes() for frame in frames(episode)}) + 1  # the last one
    assert len(images) < len(episode)


def test_page_ends_with_the_screen_after_the_last_click(page: Path, episode: Episode) -> None:
    data = page_data(page)
    whole = generate(TASK, episode.world_seed)
    assert whole.steps[: len(episode)] == episode.steps
    after = list(frames(whole))[len(episode)]
    assert np.array_equal(decoded(data["images"][data["closing"]]), after)


def test_page_needs_no_network(page: Path) -> None:
    text = re.sub(r'<script type="application/json".*?</script>', "", page.read_text())
    assert not re.search(
        r"""(src|href)\s*=\s*["'](?!data:)[^"']+["']|@import|url\(["']?http""", text
    )
    assert "default-src 'none'" in text


def test_large_pages_fall_back_to_lossy_screens(episode: Episode) -> None:
    short = replace(episode, steps=episode.steps[:4])
    exact, small = (player.page_data(short, budget)["images"] for budget in (1_000_000, 40_000))
    assert sum(map(len, small)) < sum(map(len, exact))
    shown = decoded(small[0]).astype(float)
    assert np.abs(shown - next(frames(short))).mean() < 6


def test_text_from_outside_cannot_break_the_page(episode: Episode, tmp_path: Path) -> None:
    hostile = replace(episode, steps=episode.steps[:2], origin="</script><b>model")
    page = write_html(hostile, tmp_path / "page.html")
    assert "</script><b>" not in page.read_text()
    assert "</script><b>model" in page_data(page)["about"]


def test_gif_has_a_picture_per_click(episode: Episode, tmp_path: Path) -> None:
    with Image.open(write_gif(episode, tmp_path / "episode.gif")) as picture:
        assert picture.n_frames == len(episode)
        assert picture.size == (480, 378)
        picture.seek(5)
        shown = np.asarray(picture.convert("RGB"))
    x, y = episode.steps[5].click
    around = shown[y - 14 : y + 15, x - 14 : x + 15].astype(int)
    yellow = np.abs(around - (255, 216, 77)).max(axis=-1) < 40
    assert yellow.sum() > 40


def test_gif_of_no_clicks_is_the_opening(episode: Episode, tmp_path: Path) -> None:
    empty = replace(episode, steps=())
    with Image.open(write_gif(empty, tmp_path / "empty.gif")) as picture:
        assert picture.size == (480, 360)
    assert page_data(write_html(empty, tmp_path / "empty.html"))["steps"] == []


def test_unwritable_path_is_told(episode: Episode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_html(replace(episode, steps=()), tmp_path / "file" / "page.html")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_page_plays_in_a_browser(page: Path, episode: Episode) -> None:
    api = pytest.importorskip("playwright.sync_api")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-sync"]
    with api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*options, *quiet]
        )
        tab = browser.new_page()
        problems: list[str] = []
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.goto(page.as_uri())
        said = tab.locator(".said")
        for number in range(1, 4):
            tab.keyboard.press("ArrowRight")
            api.expect(said).to_have_text(re.compile(f"^Click {number} of {len(episode)}: "))
        assert tab.locator(".timeline .tick").count() == len(episode)
        tab.keyboard.press("End")
        api.expect(said).to_have_text(f"The last screen, after {len(episode)} clicks")
        tab.keyboard.press("Home")
        tab.get_by_label("Speed").select_option("16")
        tab.get_by_role("button", name="Play").click()
        api.expect(said).to_have_text(re.compile(r"^Click ([4-9]|\d\d) of "))
        tab.get_by_role("button", name="Pause").click()
        tab.keyboard.press("Home")
        tab.keyboard.press("m")
        api.expect(tab.locator(".facts .stands")).to_have_text(re.compile("stands"))
        browser.close()
    assert problems == []
