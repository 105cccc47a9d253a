"""Work on all cores: in processes for models and worlds, in threads for linear algebra.

Joblib's processes start from any script, guarded or not, and from a notebook.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from bcprobe.machine import cores

T = TypeVar("T")
U = TypeVar("U")
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
