"""A real Firefox at the pages: a world by keyboard and clicks to its end, a model watched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bcprobe.episodes.player import write_html
from bcprobe.episodes.record import generate
from tests.serve.conftest import Server
from tests.serve.firefox import FIREFOX, Firefox
from tests.serve.test_browser import CLICK

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FIREFOX is None, reason="there is no Firefox: apt-get install firefox-esr"),
]
LEFT, ENTER = "\ue012", "\ue007"


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    browser = Firefox(tmp_path_factory.mktemp("firefox") / "profile")
    yield browser
    browser.close()


def test_a_world_is_worked_to_its_end(firefox: Firefox, server: Server) -> None:
    made = server.post("/api/annotate", task="colored_dot_tracking", world_seed=3)
    firefox.goto(f"{server.address}/annotate?session={made['id']}")
    firefox.until("document.querySelector('.buttons button')")
    firefox.press(LEFT, ENTER)
    firefox.until("document.querySelector('.counters').innerText.includes('Points\\n1')")
    firefox.press("u")
    firefox.until("document.querySelector('.counters').innerText.includes('Clicks\\n2')")
    steps = [list(step.click) for step in generate("colored_dot_tracking", 3).steps]
    firefox.run(f"await ({CLICK})(given[0]);", steps)
    firefox.until("document.querySelector('.ending .score')")
    played = server.get(f"/api/episode/0-{made['id']}")
    assert [[row["x"], row["y"]] for row in played["steps"][2:]] == steps
    assert played["success"]


def test_a_model_is_watched_and_tripped(firefox: Firefox, server: Server) -> None:
    made = server.post("/api/watch", task="colored_dot_tracking", world_seed=(2 << 40) + 5)
    firefox.goto(f"{server.address}/watch?run={made['id']}")
    firefox.until("!['–', undefined].includes(document.querySelector('.meter b')?.innerText)")
    painted = """
      const canvas = document.querySelector(".heat");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value, i) => i % 4 === 3 && value > 50);"""
    assert firefox.run(painted)
    trip = "[...document.querySelectorAll('button')].find((b) => b.innerText === 'Trip it up')"
    firefox.run(f"{trip}.click();")
    firefox.until("document.querySelector('.truth.stands')")
    assert server.get(f"/api/sessions/{made['id']}")["steps"][-1]["source"] == "trip"
    firefox.until("location.search.includes('clicks=')")


def test_the_player_of_one_file_plays(firefox: Firefox, tmp_path: Path) -> None:
    page = write_html(generate("colored_dot_tracking", 3), tmp_path / "episode.html")
    firefox.goto(page.as_uri())
    firefox.until("document.querySelector('.timeline .phase')")
    firefox.press("m")
    firefox.until("document.querySelector('.facts .stands')")
