"""Output that cannot be written, or not as it is, and signals: one line and an exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ARGUMENTS = [sys.executable, "-m", "bcprobe.cli"]


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*ARGUMENTS, *arguments], check=False, **given)  # type: ignore[call-overload]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_encoding_without_our_characters_is_written_all_the_same(encoding: str) -> None:
    done = run("tasks", env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"})
    assert done.returncode == 0
    assert b"colored_dot_tracking" in done.stdout
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = run("tasks", "--json", stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith(b"bcprobe: cannot write the output")
    assert done.stderr.count(b"\n") == 1


def test_a_pipe_that_nobody_reads_says_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    done = run("tasks", "--json", stdout=write)
    os.close(write)
    assert done.returncode in (1, 128 + signal.SIGPIPE)  # Typer has its own
    assert done.stderr == b""


def test_a_closed_output_is_no_traceback() -> None:
    command = " ".join(f"'{part}'" for part in [*ARGUMENTS, "tasks"])
    done = subprocess.run(f"{command} >&-", shell=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_thirty_columns_show_every_name_and_number() -> None:
    done = run("checkpoints", env={**os.environ, "COLUMNS": "30"})
    assert done.returncode == 0
    text = b"".join(done.stdout.split())
    assert b"6,029,312" in text
    assert b"1.3" in text


def test_nothing_is_imported_from_where_the_user_stands(tmp_path: Path) -> None:
    for name in ("queue", "json", "numpy", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from here')")
    code = "from bcprobe.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "generate", "--task", "3d_exploration_classification",
         "--episodes", "1", "--out", "out"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count(b"imported from here")) == (0, 0)
