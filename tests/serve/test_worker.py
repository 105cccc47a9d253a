"""The process that holds the models ends with the server, whatever is asked at that moment."""

from __future__ import annotations

import pytest

from bcprobe.parallel import Process
from bcprobe.serve.worker import Worker


def test_a_question_after_the_end_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Process, environment: dict[str, str]) -> None:
        raise AssertionError("a process was started that nobody ends")

    monkeypatch.setattr(Process, "__init__", start)
    worker = Worker()
    worker.close()
    with pytest.raises(RuntimeError, match="has ended"):
        worker.ask("know", "dots-nano")


def test_a_process_that_is_ended_amid_a_question_is_not_started_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker, started = Worker(), []

    class Ended:
        def __init__(self, environment: dict[str, str]) -> None:
            started.append(self)

        def submit(self, work: object, *arguments: object) -> Ended:
            return self

        def result(self, patience: float) -> None:
            worker.close()
            raise OSError("its process died")

        def end(self) -> None:
            pass

    monkeypatch.setattr("bcprobe.serve.worker.Process", Ended)
    with pytest.raises(RuntimeError, match="has ended"):
        worker.ask("know", "dots-nano")
    assert len(started) == 1
