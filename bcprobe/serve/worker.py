"""The process that holds the models, so that no click ever waits for one. Needs no torch here."""

from __future__ import annotations

import threading
from collections import OrderedDict
from importlib import import_module
from typing import Any

from bcprobe.parallel import Process
from bcprobe.serve.store import Session

#: Seconds after which an answer is given up.
PATIENCE = 120.0
#: Comparisons and fits remembered.
MOST_TASKS = 256


class Worker:
    """Asks `bcprobe.serve.answers` in a process of its own, which is started by the first question.

    A process that died is started again; its questions carry all that it needs.
    """

    def __init__(self) -> None:
        self._process: Process | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._tasks: OrderedDict[Any, _Task] = OrderedDict()

    def ask(self, function: str, *arguments: Any) -> Any:
        """What a function of `bcprobe.serve.answers` returns or raises.

        Raises `RuntimeError` once it is closed: nothing may start a process that nobody ends.
        """
        try:
            return self._submit(function, *arguments)
        except OSError:
            self._restart()
            return self._submit(function, *arguments)

    def _submit(self, function: str, *arguments: Any) -> Any:
        with self._lock:
            if self._closed:
                raise RuntimeError("the server has ended")
            if self._process is None:
                self._process = Process({"OMP_NUM_THREADS": "1"})
                self._process.submit(_settle)
            process = self._process
        return process.submit(_call, function, *arguments).result(PATIENCE)

    def _restart(self) -> None:
        with self._lock:
            self._process = None

    def close(self) -> None:
        """End the process, for good."""
        with self._lock:
            process, self._process, self._closed = self._process, None, True
        if process is not None:
            process.end()

    def comparison(
        self, session: Session, checkpoint: str
    ) -> tuple[list[dict[str, Any]] | None, str]:
        """Rows of others on the session's world, None while they are still at it; and what failed.

        The work is done a little at a time, and whatever else is asked goes before.
        """
        job = {
            "task": session.task,
            "world_seed": session.world_seed,
            "layout": session.layout,
            "difficulty": session.difficulty,
            "checkpoint": checkpoint,
        }
        task = self._task(("comparison", *job.values()), "compare_on", job)
        return task.result, task.problem

    def readout(self, checkpoint: str) -> str:
        """Fit the read-out of a checkpoint in the background. What failed, or empty."""
        return self._task(("readout", checkpoint), "fit", checkpoint).problem

    def _task(self, key: Any, function: str, argument: Any) -> _Task:
        with self._lock:
            task = self._tasks.get(key)
            if task is None:
                task = self._tasks[key] = _Task(self, function, argument)
                while len(self._tasks) > MOST_TASKS:
                    self._tasks.popitem(last=False)
        return task


class _Task:
    """Something that is asked again and again until it is finished."""

    def __init__(self, worker: Worker, function: str, argument: Any) -> None:
        self.result: Any = None
        self.problem = ""
        threading.Thread(target=self._work, args=(worker, function, argument), daemon=True).start()

    def _work(self, worker: Worker, function: str, argument: Any) -> None:
        try:
            found = None
            while found is None:
                found = worker.ask(function, argument)
            self.result = found
        except Exception as error:
            self.result, self.problem = [], str(error) or type(error).__name__


def _settle() -> None:
    import_module("bcprobe.serve.answers").settle()


def _call(function: str, *arguments: Any) -> Any:
    return getattr(import_module("bcprobe.serve.answers"), function)(*arguments)
