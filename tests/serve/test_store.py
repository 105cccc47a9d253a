"""Clicks are on disk before anybody hears of them, and nobody's clicks get mixed up."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bcprobe.errors import InputError
from bcprobe.serve import store as stores
from bcprobe.serve.store import ConflictError, Made, Session, Store
from bcprobe.types import Click


@pytest.fixture
def store(tmp_path: Path):
    made = Store(tmp_path / "s.sqlite")
    yield made
    made.close()


def begin(store: Store) -> Session:
    known = {"layout": "original", "difficulty": "default"}
    return store.create("annotate", "colored_dot_tracking", 3, recording={"name": "Ø <b>"}, **known)


def test_a_session_reads_back_as_it_was_made(store: Store) -> None:
    session = begin(store)
    made = [Made(Click(1, 2), 3.5, "key", "n", {"p_undo": 0.25}), Made(Click(4, 5))]
    store.append(session, 0, made)
    assert store.session(session.id) == session
    assert store.steps(session) == made
    assert store.steps(session, 1) == made[1:]
    assert [(one.id, count) for one, count in store.sessions("annotate")] == [(session.id, 2)]
    assert store.session("nobody") is None


def test_of_two_who_click_at_once_one_is_refused(store: Store) -> None:
    session, refused = begin(store), []

    def click(x: int) -> None:
        try:
            store.append(session, 0, [Made(Click(x, 0))])
        except ConflictError:
            refused.append(x)

    threads = [threading.Thread(target=click, args=(x,)) for x in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert store.count(session) == 1


def test_a_session_has_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MOST_STEPS", 3)
    session = begin(store)
    store.append(session, 0, [Made(Click(0, 0))] * 3)
    with pytest.raises(InputError, match="press Done"):
        store.append(session, 3, [Made(Click(0, 0))])


WRITER = """
import sys
from bcprobe.serve.store import Made, Store
from bcprobe.types import Click
store = Store(sys.argv[1])
session = store.create("annotate", "neuron_tracking", 1, layout="original", difficulty="default")
print(session.id, flush=True)
for number in range(100_000):
    store.append(session, number, [Made(Click(number % 480, 7))])
    print(number, flush=True)
"""


def test_what_was_said_to_be_kept_outlives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    name = writer.stdout.readline().strip()
    said = [int(writer.stdout.readline()) for _ in range(25)]
    writer.send_signal(signal.SIGKILL)
    said += [int(line) for line in writer.stdout.read().split()]
    writer.stdout.close()
    writer.wait()
    store = Store(path)
    session = store.session(name)
    assert session is not None
    kept = [made.click for made in store.steps(session)]
    assert len(kept) in (len(said), len(said) + 1)
    assert kept[: len(said)] == [Click(number % 480, 7) for number in said]
    store.close()


def test_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("not a database " * 100)
    foreign = sqlite3.connect(tmp_path / "foreign.sqlite")
    foreign.execute("CREATE TABLE mine (x)")
    foreign.close()
    newer = sqlite3.connect(tmp_path / "newer.sqlite")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    for name, words in (("text", "cannot keep"), ("foreign", "not one of"), ("newer", "update")):
        with pytest.raises(InputError, match=words):
            Store(tmp_path / f"{name}.sqlite")
