"""People's sessions over HTTP: all ten tasks to the end, twice-sent clicks, two tabs, kill -9."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bcprobe.episodes.record import frame_hash, generate
from bcprobe.episodes.store import read_episodes
from bcprobe.tasks import TASKS
from tests.serve.conftest import CHECKPOINT, Server


def begin(server: Server, task: str = "colored_dot_tracking", **more: Any) -> dict[str, Any]:
    known = {"device": "touch", "viewport": [390, 844], "pixel_ratio": 3.0, "world_seed": 3}
    return server.post("/api/annotate", task=task, **known | more)


def act(server: Server, view: dict[str, Any], **asked: Any) -> tuple[int, dict[str, Any]]:
    sent = {"count": view["count"], "time_ms": 250.0 * view["count"], **asked}
    return server.ask(f"/api/sessions/{view['id']}/annotate", sent)[:2]


def click(server: Server, view: dict[str, Any], x: int, y: int, **more: Any) -> dict[str, Any]:
    status, found = act(server, view, do="click", x=x, y=y, nonce=f"n{view['count']}", **more)
    assert status == 200, found
    return found


def finish(server: Server, task: str, **more: Any) -> tuple[dict[str, Any], Any]:
    """A session worked as the annotator would, and the annotator's episode."""
    episode = generate(task, 3)
    view = begin(server, task, **more)
    for step in episode.steps:
        assert not view["done"]
        view = click(server, view, *step.click)
    return view, episode


def test_all_ten_tasks_end_in_episodes_whose_frames_agree(server: Server, tmp_path: Path) -> None:
    worked = {task: finish(server, task, name=f"who did {task}") for task in TASKS}
    status, data, headers = server.ask("/api/export/people")
    assert status == 200
    assert "attachment" in headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        file.extractall(tmp_path)
    found = {one.task: one for one in read_episodes(tmp_path / "bcprobe-episodes")}
    assert set(found) == set(TASKS)
    for task, (view, episode) in worked.items():
        made = found[task]
        assert view["done"]
        assert made.origin == "person"
        assert made.recording["viewport"] == [390, 844]
        assert made.recording["name"] == f"who did {task}"
        assert made.outcome == episode.outcome
        assert [s.click for s in made.steps] == [s.click for s in episode.steps]
        assert [s.latents for s in made.steps] == [s.latents for s in episode.steps]
        assert [s.time_ms for s in made.steps] == [250.0 * n for n in range(len(made))]
        assert frame_hash(made) == made.frame_hash == frame_hash(episode)


def test_a_click_that_is_sent_twice_is_made_once(server: Server) -> None:
    view = begin(server)
    first = click(server, view, 100, 100)
    again = click(server, view, 100, 100)
    assert first["count"] == again["count"] == 1
    status, _ = act(server, view, do="click", x=1, y=1, nonce="another")
    assert status == 409
    assert server.get(f"/api/sessions/{view['id']}")["count"] == 1


def test_a_second_tab_is_told_of_the_first(server: Server) -> None:
    view = begin(server)
    assert server.ask(f"/api/sessions/{view['id']}/since/0")[0] == 204
    click(server, view, 100, 100)
    assert server.get(f"/api/sessions/{view['id']}/since/0")["count"] == 1


def test_nothing_tells_what_is_right_before_done(server: Server) -> None:
    view = click(server, begin(server), 100, 100)
    said = json.dumps({k: v for k, v in view.items() if k != "picture"})
    assert not {"mistake", "progress", "score", "phase"} & set(said.replace('"', " ").split())
    assert server.ask(f"/api/sessions/{view['id']}/comparison")[0] == 400
    assert server.ask(f"/api/episode/0-{view['id']}")[0] == 400
    row = next(r for r in server.get("/api/episodes/0")["rows"] if r["key"] == f"0-{view['id']}")
    assert row["score"] is row["mistakes"] is None


def test_undo_and_redo_by_name(server: Server) -> None:
    view = click(server, begin(server), 100, 100)
    picture = view["picture"]
    status, view = act(server, view, do="undo", source="key")
    assert (status, view["can_redo"], view["count"]) == (200, True, 2)
    assert view["picture"] != picture
    status, view = act(server, view, do="redo", source="button")
    assert (view["can_redo"], view["picture"]) == (False, picture)
    status, view = act(server, view, do="next", source="key")
    assert dict(view["status"])["Z"] == "01/15"


def test_a_killed_server_goes_on_where_it_was(make_server) -> None:
    server = make_server()
    episode = generate("neuron_tracking", 3)
    view = begin(server, "neuron_tracking")
    for number, step in enumerate(episode.steps):
        view = click(server, view, *step.click)
        if number in (1, 40):
            server.kill()
            server.start()
            picture = view["picture"]
            view = server.get(f"/api/sessions/{view['id']}")
            assert (view["count"], view["picture"]) == (number + 1, picture)
            assert view["time_ms"] == 250.0 * number
    assert view["done"]
    assert server.stop() == 0


def test_sessions_are_exported_in_a_terminal_and_people_stand_beside_annotators(
    make_server, tmp_path: Path
) -> None:
    server = make_server()
    finish(server, "colored_dot_tracking")
    click(server, begin(server), 100, 100)  # not finished: stays out
    server.stop()
    run = (sys.executable, "-m", "bcprobe.cli")
    kept = ("--store", server.store, "--checkpoint", CHECKPOINT, "--export", tmp_path / "out")
    made = subprocess.run([*run, "serve", *kept, "--json"], capture_output=True, check=True)
    assert json.loads(made.stdout)["episodes"] == 1
    assert len(read_episodes(tmp_path / "out")) == 1
    assert "People worked 1" in (tmp_path / "out" / "README.md").read_text()


def test_the_comparison_sets_annotators_and_the_model_beside(server: Server) -> None:
    import time

    view, episode = finish(server, "colored_dot_tracking")
    for _ in range(600):
        found = server.get(f"/api/sessions/{view['id']}/comparison")
        if found["ready"]:
            break
        time.sleep(0.2)
    assert found["problem"] == ""
    assert found["own"]["score"] == episode.outcome.score
    assert found["own"]["steps"] == len(episode)
    assert [row["who"] for row in found["others"]][-1] == CHECKPOINT
    assert len(found["others"]) == 6
    assert all(0 <= row["score"] <= 1 for row in found["others"])


@pytest.mark.parametrize("number", [-1, 2, 10**6])
def test_screens_that_are_not_there_are_refused(server: Server, number: int) -> None:
    view = click(server, begin(server), 100, 100)
    assert server.ask(f"/api/sessions/{view['id']}/frame/{number}")[0] in (400, 404)
    assert server.ask(f"/api/sessions/{view['id']}/frame/1")[0] == 200
