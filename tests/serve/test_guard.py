"""Who is answered and who is not; nothing in a request reaches a file or another's page."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import threading
import time
from importlib.resources import files

import pytest

from bcprobe.episodes.player import page, page_data, page_file
from bcprobe.episodes.record import generate
from tests.serve.conftest import CHECKPOINT, HOSTILE, Server


def world(**more: object) -> dict[str, object]:
    return {"task": "colored_dot_tracking", "world_seed": 3, **more}


def test_only_names_of_this_machine_are_answered(server: Server) -> None:
    port = server.port
    for host in (f"evil.example:{port}", "evil.example", f"127.0.0.1.evil.example:{port}", ""):
        assert server.ask("/api/about", Host=host)[0] in (400, 403), host
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "localhost"):
        assert server.ask("/api/about", Host=host)[0] == 200, host


def test_other_sites_pages_change_and_read_nothing(server: Server) -> None:
    begun = server.ask("/api/annotate", world(), Origin="https://evil.example")
    assert begun[0] == 403
    assert server.ask("/api/annotate", world(), Origin="null")[0] == 403
    assert server.ask("/api/annotate", world(), Sec_Fetch_Site="cross-site")[0] == 403
    assert server.ask("/api/about", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    follow = server.ask("/watch", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert follow[0] == 200
    assert server.ask("/api/annotate", world(), Content_Type="text/plain")[0] == 415
    own = server.ask("/api/annotate", world(), Origin=server.address)
    assert own[0] == 200
    assert "access-control-allow-origin" not in own[2]


def test_pages_load_nothing_from_elsewhere_and_fit_in_no_other_page(server: Server) -> None:
    _, page, headers = server.ask("/")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert b"http" not in page.replace(b"http-equiv", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/pages/../app.py",
        "/pages/%2e%2e/app.py",
        "/pages/..%2fapp.py",
        "/pages/%2Fetc%2Fpasswd",
        "/pages/",
        "/api/sessions/..%2f..%2fetc%2fpasswd",
        "/api/sessions/' OR 1=1 --".replace(" ", "%20"),
        "/api/episode/1-../../etc/passwd",
        "/api/episode/99-0",
        "/api/episode/-1-0",
        "/api/episode/1-99999999",
        "/api/episodes/7",
        "/api/export/../../etc",
        "/api/picture/..%2f..%2fetc",
        "/api/models/..%2f..%2fetc",
        "/api/models//etc/passwd",
        "/static/x",
    ],
)
def test_paths_in_requests_reach_no_file(server: Server, path: str) -> None:
    status, found, _ = server.ask(path)
    assert status in (400, 404), (status, found)
    assert b"root:" not in str(found).encode()
    assert "Traceback" not in str(found)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'"x"',
        b'{"task": 3}',
        b'{"task": "colored_dots"}',
        b'{"task": "colored_dot_tracking", "world_seed": -1}',
        b'{"task": "colored_dot_tracking", "world_seed": 1e99}',
        b'{"task": "colored_dot_tracking", "world_seed": true}',
        b'{"task": "colored_dot_tracking", "world_seed": "3"}',
        b'{"task": "colored_dot_tracking", "layout": "../x"}',
        b'{"task": "colored_dot_tracking", "viewport": {"a": 1}}',
        b'{"task": "colored_dot_tracking", "pixel_ratio": NaN}',
        b"\xff\xfe" * 40,
        b"[" * 30_000,
    ],
)
def test_bad_bodies_are_told_in_one_line(server: Server, body: bytes) -> None:
    for path in ("/api/annotate", "/api/watch"):
        status, found, _ = server.ask(path, body)
        if b"viewport" in body or b"pixel_ratio" in body:
            assert status == (400 if path == "/api/annotate" else 200)
            continue
        assert status == 400, found
        assert found["error"]
        assert "\n" not in found["error"]


def test_sizes_and_methods_are_bounded(server: Server) -> None:
    assert server.ask("/api/annotate", b" " * 40_000)[0] == 413
    assert server.ask("/api/about?" + "x" * 20_000)[0] in (400, 414)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert server.ask("/api/annotate", method=method)[0] == 405


def test_a_flood_is_slowed_down(make_server) -> None:
    server = make_server()
    counts: dict[int, int] = {}

    def flood() -> None:
        for _ in range(150):
            status = server.ask("/api/sessions/nobody/name", b"{}")[0]
            counts[status] = counts.get(status, 0) + 1

    threads = [threading.Thread(target=flood) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts[404] >= 400  # a burst is let through
    assert server.get("/api/about")["tasks"]  # and reading goes on


def test_a_stuck_client_holds_nobody_up(server: Server) -> None:
    stuck = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    head = f"POST /api/annotate HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    for one in stuck:
        one.sendall(
            f"{head}Content-Type: application/json\r\nContent-Length: 999\r\n\r\n{{".encode()
        )
    begun = time.monotonic()
    assert server.get("/api/about")["tasks"]
    assert time.monotonic() - begun < 5
    for one in stuck:
        one.close()


def test_names_that_are_markup_stay_text(server: Server) -> None:
    made = server.post("/api/annotate", **world(name=HOSTILE))
    assert made["name"] == " ".join(HOSTILE.split())[:80]
    kept = sqlite3.connect(server.store)
    count = kept.execute(
        "SELECT count(*) FROM sessions WHERE recording LIKE '%onerror%'"
    ).fetchone()
    kept.close()
    assert count[0] >= 1
    rows = server.get("/api/episodes/1")["rows"]
    assert rows[0]["origin"] == HOSTILE
    assert [one["name"] for one in server.get("/api/about")["sources"]] == ["made here", "<i>data"]


def test_pages_share_their_components_with_the_player_of_one_file(server: Server) -> None:
    own = {path.name for path in files("bcprobe.serve").joinpath("pages").iterdir()}
    inlined = page(page_data(generate("colored_dot_tracking", 3)))
    for name in ("dom.js", "screen.js", "timeline.js", "player.js", "inside.js", "parts.css"):
        text = page_file(name)
        assert name not in own
        assert server.ask(f"/pages/{name}")[1].decode() == text
        assert max(text.split("\n"), key=len) in inlined.replace("export ", "")


def test_another_address_asks_for_its_token(make_server) -> None:
    server = make_server("--host", "0.0.0.0")
    assert len(server.token) >= 24
    for path in ("/", "/api/about", "/pages/main.js", "/api/sessions"):
        assert server.ask(path)[0] == 403
    assert server.ask("/api/annotate", world())[0] == 403
    assert server.ask("/?token=wrong")[0] == 403
    status, _, headers = server.ask(f"//evil.example/%2f..?step=3&token={server.token}")
    assert status == 303
    assert headers["location"].startswith("/evil.example/")
    assert "step=3" in headers["location"]
    assert server.token not in headers["location"]
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Strict" in headers["set-cookie"]
    cookie = headers["set-cookie"].partition(";")[0]
    assert server.ask("/api/about", Cookie=cookie)[0] == 200
    assert server.ask("/api/about", Authorization=f"token {server.token}")[0] == 200
    assert server.ask("/api/about", Cookie=cookie, Host="evil.example")[0] == 403


def test_a_browser_is_told_in_a_page(make_server) -> None:
    server = make_server("--host", "0.0.0.0")
    status, page, headers = server.ask("/", Accept="text/html,*/*")
    assert status == 403
    assert headers["content-type"].startswith("text/html")
    assert b"This server asks for its token" in page
    status, page, _ = server.ask(
        "/<b>nowhere", Accept="text/html", Authorization=f"token {server.token}"
    )
    assert status == 404
    assert b"<p>There is no such page" in page
    assert b"<b>" not in page


def test_ctrl_c_ends_it_cleanly_and_a_second_server_takes_another_port(make_server) -> None:
    server = make_server()
    command = (sys.executable, "-m", "bcprobe.cli", "serve", "--checkpoint", CHECKPOINT)
    second = subprocess.run(
        [*command, "--port", str(server.port), "--store", str(server.store)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 2
    assert "another --port" in second.stderr
    assert second.stderr.count("\n") == 1
    assert server.stop() == 0
    assert make_server().stop() == 0  # as soon as it has told its address
