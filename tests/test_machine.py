"""What a process may use."""

from __future__ import annotations

import os

import pytest

from bcprobe.errors import InputError
from bcprobe.machine import CORES, cores, use_cores


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (CORES, "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def test_no_more_cores_than_asked_for_and_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert cores() == 8
    use_cores(None)
    assert cores() == 8
    use_cores(3)
    assert (cores(), os.environ["OMP_NUM_THREADS"]) == (3, "3")
    use_cores(64)
    assert cores() == 8
    with pytest.raises(InputError, match="threads is 0"):
        use_cores(0)
