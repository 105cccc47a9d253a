"""Work on all cores: in processes for models and worlds, in threads for linear algebra.

Joblib's processes start from any script, guarded or not, and from a notebook.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from bcprobe.machine import cores

T = TypeVar("T")
U = TypeVar("U")
_HAS_MASK = hasattr(signal, "pthread_sigmask")
#: What every process starts with: torch in huge pages is a tenth faster; nothing is imported
#: from the folder that the user happens to stand in.
_SETTINGS = {"THP_MEM_ALLOC_ENABLE": "1", "PYTHONSAFEPATH": "1"}


def in_processes(
    work: Callable[[T], U], jobs: Sequence[T], workers: int | None = None
) -> Iterator[U]:
    """``work`` of each job, in order, as soon as it is there; a core a process, one thread each.

    ``work`` is a function of a module and the jobs are plain data. ``workers`` (default: one a
    core) is how many processes there are; with one, or one job, the work is done here. Raises
    what ``work`` raises.
    """
    count = min(workers or cores(), len(jobs))
    if count <= 1:
        yield from map(work, jobs)
        return
    from joblib import Parallel, delayed, parallel_config

    with _environment(_SETTINGS), parallel_config("loky", inner_max_num_threads=1):
        pool = Parallel(n_jobs=count, return_as="generator", batch_size=1, pre_dispatch=2 * count)
        yield from pool(delayed(_alone)(work, job) for job in jobs)


class Process:
    """A process of its own for one piece of work, which can be told to stop.

    It starts from any script, is not reached by Ctrl-C on the terminal, and stops by itself if
    this program dies.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        """``settings`` are added to its environment."""
        from joblib.externals.loky import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(
            1,
            timeout=None,
            env={**_SETTINGS, **settings},
            initializer=_detach,  # and not its first work: a parent may die before it sends that
            initargs=(os.getpid(),),
        )
        self.pid = self.pool.submit(os.getpid)

    def call(self, work: Callable[..., U], *arguments: Any) -> U:
        """What ``work`` returns or raises there; ``OSError`` if the process dies, as it does
        when memory runs out. It ends with the work."""
        from joblib.externals.loky.process_executor import BrokenProcessPool

        try:
            with self.pool:
                return self.pool.submit(_stoppable, work, *arguments).result()
        except BrokenProcessPool as error:
            raise OSError("its process died; there may have been too little memory") from error

    def submit(self, work: Callable[..., U], *arguments: Any) -> Future[U]:
        """The future of one more piece of work. The process stays until `end`; after it died the
        future raises ``OSError``."""
        from joblib.externals.loky.process_executor import BrokenProcessPool

        answer: Future[U] = Future()

        def pass_on(found: Future[U]) -> None:
            error = found.exception()
            if isinstance(error, BrokenProcessPool):
                answer.set_exception(OSError("its process died"))
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found.result())

        try:
            self.pool.submit(work, *arguments).add_done_callback(pass_on)
        except (BrokenProcessPool, RuntimeError) as error:
            raise OSError("its process died") from error
        return answer

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.pool.shutdown(wait=False, kill_workers=True)

    def stop(self) -> None:
        """Raise ``KeyboardInterrupt`` in the work."""
        with suppress(ProcessLookupError, RuntimeError):
            os.kill(self.pid.result(), signal.SIGINT)


#: Set in a process that was told to stop before its work began.
_TOLD_TO_STOP = threading.Event()
#: Set in a process while it has no work.
_IDLE = threading.Event()


def _detach(parent: int) -> None:
    """From now on only `Process.stop` and its parent's death interrupt this process."""
    _let_grow()
    os.setpgid(0, 0)
    multiprocessing.set_start_method("spawn", force=True)  # joblib's own is unknown to its children
    signal.signal(signal.SIGINT, _note_stop)
    _IDLE.set()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _let_grow() -> None:
    """A process that grows by 300 MB is otherwise replaced, and the models it holds are lost."""
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize


def _note_stop(*_: Any) -> None:
    _TOLD_TO_STOP.set()


def _stoppable(work: Callable[..., U], *arguments: Any) -> U:
    """``work`` of the arguments, with ``KeyboardInterrupt`` raised in it at a stop."""
    _IDLE.clear()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if _TOLD_TO_STOP.is_set():
            raise KeyboardInterrupt
        return work(*arguments)
    finally:
        signal.signal(signal.SIGINT, _note_stop)
        _IDLE.set()


def _end_with(parent: int) -> None:
    """Interrupt the work once the parent is dead, and end when it has saved."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGINT)
    _IDLE.wait()
    os._exit(130)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Context in which a process started by multiprocessing takes no notice of what it should not.

    Signals to the terminal's or job's whole group (Ctrl-C, SIGTERM, SIGUSR1) do not reach it, not
    even while it starts: it ends when its pipe closes. The program that starts it is not run again
    there, guarded or not, and nothing is imported from the folder that the user stands in.
    """
    blocked = {signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if _HAS_MASK else [])}
    program = sys.modules["__main__"]
    with _environment({"PYTHONSAFEPATH": "1"}):
        resource_tracker.ensure_running()  # started later it would lift the block
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked) if _HAS_MASK else None
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        with _environment({"PYTHONSAFEPATH": "1"}):
            yield
    finally:
        sys.modules["__main__"] = program
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def in_threads(work: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """``work`` of each item, a core a thread, with one thread of linear algebra each.

    More of those wait for each other at the sizes of probes.
    """
    from joblib import Parallel, delayed

    with one_thread():
        pool = Parallel(n_jobs=cores(), prefer="threads")
        return list(pool(delayed(work)(item) for item in items))


def one_thread() -> Any:
    """Context with one thread of linear algebra."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")


def _alone(work: Callable[[T], U], job: T) -> U:
    """The work of a job on one thread of torch, if it uses torch."""
    os.environ["OMP_NUM_THREADS"] = "1"
    _let_grow()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's, who ends this one
    return work(job)


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """The settings as environment variables of processes started in the block."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
