"""Work in processes: it comes back in order, is stopped on its own, and may die on its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bcprobe.parallel import Process


def settings() -> tuple[str, int]:
    return os.environ["BCPROBE_TRIED"], os.getpid()


def wait_to_be_stopped(begun: str) -> str:
    try:
        Path(begun).touch()
        time.sleep(60)
    except KeyboardInterrupt:
        return "saved"
    return "never stopped"


def start_a_child() -> int:
    child = multiprocessing.Process(target=time.time)
    child.start()
    child.join()
    return child.exitcode


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_has_its_settings_and_ends_with_its_work() -> None:
    value, pid = Process({"BCPROBE_TRIED": "yes"}).call(settings)
    assert value == "yes"
    assert pid != os.getpid()
    assert "BCPROBE_TRIED" not in os.environ
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_may_start_others() -> None:
    assert Process({}).call(start_a_child) == 0


def test_a_process_is_stopped_while_it_works(tmp_path: Path) -> None:
    process, begun = Process({}), tmp_path / "begun"

    def stop() -> None:
        while not begun.exists():
            time.sleep(0.05)
        process.stop()

    threading.Thread(target=stop).start()
    assert process.call(wait_to_be_stopped, str(begun)) == "saved"


def test_a_process_told_to_stop_does_not_begin(tmp_path: Path) -> None:
    process = Process({})
    process.stop()
    with pytest.raises(KeyboardInterrupt):
        process.call(wait_to_be_stopped, str(tmp_path / "begun"))
    assert not (tmp_path / "begun").exists()


def test_a_process_saves_and_ends_when_its_parent_dies(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    code = (
        "from bcprobe.parallel import Process; from tests.test_parallel import wait_to_be_stopped;"
        f"process = Process({{}}); print(process.pid.result(), flush=True);"
        f"process.call(wait_to_be_stopped, {str(begun)!r})"
    )
    root = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root) as parent:
        child = int(parent.stdout.readline())
        while not begun.exists():
            time.sleep(0.05)
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_process_that_dies_is_an_error_of_its_own() -> None:
    with pytest.raises(OSError, match="its process died"):
        Process({}).call(die)
    assert Process({"BCPROBE_TRIED": "again"}).call(settings)[0] == "again"
