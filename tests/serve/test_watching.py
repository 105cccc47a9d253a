"""A model at work over HTTP: the same clicks as in a rollout, tripped, steered, forked, linked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bcprobe.activations.extract import collect
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import work
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.serve.readout import TOKENS, find_readout
from tests.serve.conftest import CHECKPOINT, Server

SEED = (2 << 40) + 5


def begin(server: Server, **more: Any) -> dict[str, Any]:
    return server.post("/api/watch", task="colored_dot_tracking", world_seed=SEED, **more)


def act(server: Server, view: dict[str, Any], **asked: Any) -> dict[str, Any]:
    return server.post(f"/api/sessions/{view['id']}/watch", count=view["count"], **asked)


def play(server: Server, view: dict[str, Any], clicks: int) -> tuple[dict[str, Any], list[Any]]:
    rows = []
    for _ in range(clicks):
        view = act(server, view, do="step")
        rows += view["steps"]
    return view, rows


@pytest.fixture(scope="module")
def model():
    return load_checkpoint(CHECKPOINT)


def test_a_watched_model_clicks_as_in_a_rollout_and_is_read_as_in_a_batch(
    server: Server, model
) -> None:
    _, rows = play(server, begin(server), 45)
    task = "colored_dot_tracking"
    episode = work(ModelPolicy(model), task, [SEED], origin="model", max_steps=45)[0]
    assert [(row["x"], row["y"]) for row in rows] == [tuple(s.click) for s in episode.steps]
    assert [row["mistake"] for row in rows] == [s.latents.mistake for s in episode.steps]
    readout = find_readout(CHECKPOINT)
    assert readout is not None
    seen = collect(model, [episode], readout.sites, TOKENS)
    for token in TOKENS:
        site = readout.best(token)
        values = seen.at(readout.sites[site], token).astype(np.float32)
        for row, x in zip(rows, values, strict=True):
            if row[token] is not None:
                assert row[token] == pytest.approx(readout.read(token, site, x), abs=2e-2)
    assert seen.predictions is not None
    assert [row["p_undo"] for row in rows] == pytest.approx(seen.predictions["p_undo"], abs=1e-3)


def test_it_is_tripped_and_undoes(server: Server) -> None:
    view = act(server, begin(server), do="trip", distance=25)
    assert view["steps"][-1]["source"] == "trip"
    assert view["stands"]
    (trip,) = view["trips"]
    assert trip == {"step": view["count"] - 1, "stood": True, "undo": None, "cleared": None}
    assert view["now"]["reading"]["p_undo"] > 0.5
    assert view["now"]["reading"]["mistake"]["cls"] > 0.5
    view, rows = play(server, view, 1)
    assert rows[0]["action"] == "undo"
    assert view["trips"][0]["undo"] == view["count"] - 1
    assert not view["stands"]


def test_a_trip_of_no_pixels_is_no_mistake(server: Server) -> None:
    view = act(server, begin(server), do="trip", distance=0)
    assert not view["stands"]
    assert not view["trips"][0]["stood"]


def test_steering_moves_the_read_out_and_leaves_the_twin_alone(server: Server) -> None:
    view = act(server, begin(server), do="trip", distance=25)
    plain = view["now"]["reading"]
    twin = server.post(f"/api/sessions/{view['id']}/fork", count=view["count"])
    assert [r["x"] for r in twin["steps"]] == [
        r["x"] for r in server.get(f"/api/sessions/{view['id']}")["steps"]
    ]
    down = act(server, view, do="steer", site=4, token="cls", amount=-3)
    steered = down["now"]["reading"]
    assert steered["steer"] == {"site": 4, "token": "cls", "amount": -3}
    assert steered["mistake"]["cls"] < 0.5 < plain["mistake"]["cls"]
    assert steered["p_undo"] < plain["p_undo"]
    again = act(server, twin, do="look")["now"]["reading"]
    assert again["p_undo"] == pytest.approx(plain["p_undo"], abs=1e-4)
    off = act(server, down, do="steer", site=4, token="cls", amount=0)
    assert off["now"]["reading"]["p_undo"] == pytest.approx(plain["p_undo"], abs=1e-4)


def test_a_person_takes_over_and_hands_back(server: Server) -> None:
    view, _ = play(server, begin(server), 2)
    view = act(server, view, do="click", x=100, y=150)
    assert view["steps"][0]["source"] == "pointer"
    assert view["steps"][0]["p_undo"] is not None
    view, rows = play(server, view, 1)
    assert rows[0]["source"] == "model"
    assert server.get(f"/api/episode/0-{view['id']}")["origin"] == "model and person"


def test_a_link_holds_the_run(server: Server) -> None:
    view, rows = play(server, begin(server), 30)
    who = {"model": 0, "pointer": 1, "trip": 2}
    clicks = [[row["x"], row["y"], who[row["source"]]] for row in rows]
    same = begin(server, clicks=clicks)
    assert same["picture"] == view["picture"]
    assert same["steps"][0]["p_undo"] is None
    path = f"/api/sessions/{same['id']}/readings/3/29"
    read = server.get(path)
    assert [one["p_undo"] for one in read] == pytest.approx(
        [row["p_undo"] for row in rows[3:]], abs=1e-4
    )
    bad = {"task": "colored_dot_tracking", "world_seed": 1}
    for clicks in ("x", [[1, 2]], [[1, 2, 9]], [[999, 2, 0]], [[1, 2, 0]] * 1501):
        assert server.ask("/api/watch", {**bad, "clicks": clicks})[0] == 400


def test_a_link_steers_as_the_run_was_steered(server: Server) -> None:
    view, _ = play(server, begin(server, temperature=1.0, seed=7), 4)
    view = act(server, view, do="steer", site=4, token="placed", amount=2)
    view = act(server, view, do="trip", distance=30)
    view = act(server, view, do="steer", site=3, token="cls", amount=-1.5)
    view, _ = play(server, view, 2)
    view = server.get(f"/api/sessions/{view['id']}")
    rows, count = view["steps"], view["count"]
    changes = [[4, 4, "placed", 2], [count - 2, 3, "cls", -1.5]]
    assert [row["steer"] is not None for row in rows] == [n >= 4 for n in range(count)]
    clicks = [[row["x"], row["y"], int(row["source"] == "trip") * 2] for row in rows]
    asked = {"temperature": 1.0, "seed": 7, "clicks": clicks, "steers": changes}
    same = begin(server, **asked)
    assert [row["steer"] for row in same["steps"]] == [row["steer"] for row in rows]
    assert same["settings"] == view["settings"]
    read = server.get(f"/api/sessions/{same['id']}/readings/{count - 30}/{count - 1}")
    for one, row in zip(read, rows[-30:], strict=True):
        assert one["p_undo"] == pytest.approx(row["p_undo"], abs=1e-4)
        assert one["trip"] == row["trip"]
    seen = server.get(f"/api/sessions/{same['id']}/seen/{count - 1}")
    assert seen["reading"]["steer"]["site"] == 3
    onward = [play(server, one, 2)[1] for one in (view, same)]
    assert [(r["x"], r["y"]) for r in onward[0]] == [(r["x"], r["y"]) for r in onward[1]]
    twin = server.post(f"/api/sessions/{view['id']}/fork", count=count)
    branch = server.post(f"/api/sessions/{view['id']}/fork", count=count, steered=True)
    assert twin["settings"]["steer"] is None
    assert branch["settings"]["steer"] == view["settings"]["steer"]


@pytest.mark.parametrize(
    "steers", ["x", [[]], [[1]], [[0, 1, "cls"]], [[0, 999, "cls", 1]], [[0, 1, "x", 1]], [[0]] * 9]
)
def test_links_that_cannot_be_are_refused(server: Server, steers: object) -> None:
    asked = {"task": "colored_dot_tracking", "world_seed": 1, "steers": steers}
    assert server.ask("/api/watch", asked)[0] == 400


def test_steering_at_no_site_changes_nothing(server: Server) -> None:
    view = begin(server)
    asked = {"do": "steer", "site": 150, "token": "cls", "amount": 1, "count": 0}
    status, found, _ = server.ask(f"/api/sessions/{view['id']}/watch", asked)
    assert status == 400
    assert "there is no site 150" in found["error"]
    assert server.get(f"/api/sessions/{view['id']}")["settings"]["steer"] is None


def test_the_temperature_draws_the_same_clicks_for_the_same_seed(server: Server) -> None:
    runs = [play(server, begin(server, temperature=1.0, seed=s), 6)[1] for s in (1, 1, 2)]
    clicks = [[(row["x"], row["y"]) for row in rows] for rows in runs]
    assert clicks[0] == clicks[1] != clicks[2]


def test_lens_and_attention_on_request(server: Server, model) -> None:
    view, _ = play(server, begin(server), 8)
    found = server.get(f"/api/sessions/{view['id']}/apart/8")
    assert len(found["lens"]) == model.config.n_layers + 1
    assert np.shape(found["attention"])[:2] == (model.config.n_layers, model.config.n_heads)
    assert all(0 <= head["sum"] <= 1.001 for layer in found["attention"] for head in layer)
    assert found["lens"][-1]["data"] == view["now"]["heat"]["data"]
    assert server.ask(f"/api/sessions/{view['id']}/apart/9")[0] == 400


def test_the_model_goes_on_in_a_new_process(make_server) -> None:
    server = make_server()
    view, rows = play(server, begin(server), 30)
    server.kill()
    server.start()
    view = server.get(f"/api/sessions/{view['id']}")
    assert [row["p_undo"] for row in view["steps"]] == [row["p_undo"] for row in rows]
    view, after = play(server, view, 1)
    twin = server.post(f"/api/sessions/{view['id']}/fork", count=29)
    _, once_more = play(server, twin, 2)
    assert [(r["x"], r["y"]) for r in once_more] == [(r["x"], r["y"]) for r in (rows[29], after[0])]
