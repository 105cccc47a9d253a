"""Training data as it is needed: worker processes make episodes, a thread composes batches."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import count
from multiprocessing import connection, get_context
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.training.batch import Batch, Tape, frame_buffer
from bcprobe.training.shards import DataConfig, deal
from bcprobe.training.worker import Group, Order, receive_group, serve

#: Batches that exist at once: one in use, one ready, one being composed.
BUFFERS = 3
#: Seconds between looks at the workers' health.
HEARTBEAT = 0.5


#: A point in a GPU's work; None on the CPU.
Mark = torch.cuda.Event | None


class StreamError(InputError):
    """A data worker died or failed; the message names it."""


class Position(NamedTuple):
    """Place in the stream: the next batch is number ``batch`` of ``group``."""

    group: int = 0
    batch: int = 0


class Stream(Iterator[tuple[Batch, Position]]):
    """Endless batches, each with the position after it.

    The sequence depends on the data config and the batch's shape alone, neither on the
    number of workers nor on where the stream was entered: a stream that starts at a position
    it once gave goes on as that one did. A batch's frames are overwritten once the next batch
    but one has been asked for; keep no views. Memory holds one group in use, two a worker, and
    `BUFFERS` batches. Batches lie on ``device``, with the frames of the rows ``share`` (default:
    all); frames for a GPU never exist on the host, and are composed beside the work
    of the GPU's current stream. ``weights`` and ``cell`` are those of
    `bcprobe.training.targets.teach`. ``waited`` counts the seconds spent waiting for data.

    Raises `StreamError` within seconds if a worker dies.
    """

    def __init__(
        self,
        data: DataConfig,
        rows: int,
        row_length: int,
        *,
        workers: int = 1,
        start: Position = Position(),  # noqa: B008
        device: torch.device | str = "cpu",
        share: slice = slice(None),
        weights: NDArray[np.float64] | None = None,
        cell: tuple[int, int] = (1, 1),
    ) -> None:
        self.data, self.rows, self.row_length, self.start = data, rows, row_length, start
        self.share, shown = share, len(range(rows)[share])
        self.waited = 0.0
        self._lane = _Lane(torch.device(device))
        self._free: queue.Queue[tuple[Tensor, Mark]] = queue.Queue()
        for _ in range(BUFFERS):
            buffer = frame_buffer(shown, row_length, device=device)
            self._free.put((buffer, self._lane.mark()))
        self._ready: queue.Queue[tuple[Batch, Position, Tensor, Mark]] = queue.Queue()
        self._in_use: Tensor | None = None
        self._error: BaseException | None = None
        self._stop = threading.Event()
        order = Order(weights, cell, packs=torch.device(device).type != "cpu")
        self._pool = _Pool(data, workers, start.group, order)
        self._thread = threading.Thread(target=self._produce, name="bcprobe-compose", daemon=True)
        self._thread.start()

    def __next__(self) -> tuple[Batch, Position]:
        began = time.perf_counter()
        if self._in_use is not None:
            self._free.put((self._in_use, self._lane.mark()))
            self._in_use = None
        batch, after, self._in_use, composed = self._take()
        self._lane.wait(composed, batch)
        self.waited += time.perf_counter() - began
        return batch, after

    def _take(self) -> tuple[Batch, Position, Tensor, Mark]:
        while True:
            if self._error is not None:
                raise self._error
            if self._stop.is_set():
                raise StopIteration
            try:
                return self._ready.get(timeout=HEARTBEAT)
            except queue.Empty:
                continue

    def close(self) -> None:
        """Stop the thread and the workers."""
        self._stop.set()
        self._thread.join()
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _produce(self) -> None:
        try:
            for group in count(self.start.group):
                made = self._fetch(group)
                first = self.start.batch if group == self.start.group else 0
                if made is None or not self._compose(group, made, first):
                    return
        except BaseException as error:
            self._error = error

    def _compose(self, group: int, made: Group, first: int) -> bool:
        """Make a group's batches from number ``first`` on; false if told to stop."""
        lengths = [len(recording) for recording in made.recordings]
        batches = deal(self.data, group, lengths, self.rows, self.row_length)
        tape = Tape(made.recordings, made.lessons, made.packed)
        for number in range(first, len(batches)):
            free = self._empty_buffer()
            if free is None:
                return False
            last = number + 1 == len(batches)
            after = Position(group + 1, 0) if last else Position(group, number + 1)
            buffer, learned_from = free
            with self._lane.beside(learned_from):
                batch = tape.fill(batches[number], buffer, share=self.share)
                self._ready.put((batch, after, buffer, self._lane.mark()))
        return True

    def _fetch(self, group: int) -> Group | None:
        while not self._stop.is_set():
            if self._pool.ready(group):
                return self._pool.take(group)
        return None

    def _empty_buffer(self) -> tuple[Tensor, Mark] | None:
        while not self._stop.is_set():
            self._pool.check()
            try:
                return self._free.get(timeout=HEARTBEAT)
            except queue.Empty:
                continue
        return None


class _Lane:
    """A GPU's work on batches, beside that on its current stream; on the CPU there is none.

    Marks keep the two in order: a buffer is filled after it was learned from, and learned from
    after it was filled, while no thread waits.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def mark(self) -> Mark:
        """The end of all that the calling thread has asked of the GPU so far."""
        if self.stream is None:
            return None
        return torch.cuda.current_stream(self.device).record_event()

    @contextmanager
    def beside(self, mark: Mark) -> Iterator[None]:
        """Context in which the GPU's work runs beside the current stream's, after a mark."""
        if self.stream is None or mark is None:
            yield
            return
        self.stream.wait_event(mark)
        with torch.cuda.stream(self.stream):
            yield

    def wait(self, mark: Mark, batch: Batch) -> None:
        """Let the current stream go on after a mark, and its memory manager know the batch."""
        if mark is None:
            return
        current = torch.cuda.current_stream(self.device)
        current.wait_event(mark)
        for field in fields(batch):
            if (values := getattr(batch, field.name)) is not None:
                values.record_stream(current)


class _Pool:
    """Worker processes; group ``g`` is made by worker ``g % workers``.

    Each has two groups to make at any time, so that one that takes long holds up none of the
    others; ``making`` is the first of them.
    """

    def __init__(self, data: DataConfig, workers: int, first: int, order: Order) -> None:
        context = get_context("spawn")
        self.processes, self.connections = [], []
        for number in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=serve, args=(theirs, data, order), name=f"data worker {number}", daemon=True
            )
            process.start()
            theirs.close()
            self.processes.append(process)
            self.connections.append(ours)
        self.making = {group % workers: group for group in range(first, first + workers)}
        for number, group in self.making.items():
            self.connections[number].send(group)
            self.connections[number].send(group + workers)

    def ready(self, group: int) -> bool:
        """Whether the group can be taken, after waiting at most a heartbeat."""
        self.check()
        number = group % len(self.processes)
        return bool(connection.wait([self.connections[number]], timeout=HEARTBEAT))

    def take(self, group: int) -> Group:
        """The group; its worker goes on to its next one."""
        number = group % len(self.processes)
        try:
            made = receive_group(self.connections[number])
            if isinstance(made, str):
                reason = made.strip().splitlines()[-1]
                raise StreamError(f"data worker {number} failed at group {group}: {reason}")
            self.making[number] = group + len(self.processes)
            self.connections[number].send(group + 2 * len(self.processes))
        except (EOFError, OSError) as error:
            self.processes[number].join(timeout=HEARTBEAT)
            self.check()
            raise StreamError(f"data worker {number} hung up at group {group}") from error
        return made

    def check(self) -> None:
        """Raise `StreamError` if a worker is dead."""
        for number, process in enumerate(self.processes):
            if not process.is_alive():
                raise StreamError(
                    f"data worker {number} (process {process.pid}) died with exit code "
                    f"{process.exitcode} while making group {self.making[number]}"
                )

    def close(self) -> None:
        """Hang up, and end workers that do not notice in time."""
        for end in self.connections:
            end.close()
        for process in self.processes:
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()
