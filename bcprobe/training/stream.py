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
from bcprobe.parallel import undisturbed
from bcprobe.training.batch import Batch, PackedRecordings, frame_buffer
from bcprobe.training.shards import DataConfig, make_batches
from bcprobe.training.worker import Request, Shard, receive_shard, serve

#: Batches that exist at once: one in use, one ready, one being composed.
BUFFERS = 3
#: Seconds between looks at the workers' health.
HEARTBEAT = 0.5


#: A point in a GPU's work; None on the CPU.
Event = torch.cuda.Event | None


class StreamError(InputError):
    """A data worker died or failed; the message names it."""


class Position(NamedTuple):
    """Place in the stream: the next batch is number ``batch`` of ``shard``."""

    shard: int = 0
    batch: int = 0


class Stream(Iterator[tuple[Batch, Position]]):
    """Endless batches, each with the position after it.

    The sequence depends on the data config and the batch's shape alone, neither on the
    number of workers nor on where the stream was entered: a stream that starts at a position
    it once gave goes on as that one did. A batch's frames are overwritten once the next batch
    but one has been asked for; keep no views. Memory holds one shard in use, two a worker, and
    `BUFFERS` batches. Batches lie on ``device``, with the frames of the rows ``share`` (default:
    all); frames for a GPU never exist on the host, and are composed beside the work
    of the GPU's current stream. ``weights`` and ``cell`` are those of
    `bcprobe.training.targets.make_targets`. ``waited`` counts the seconds spent waiting for data.

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
        self._side = _SideStream(torch.device(device))
        self._free: queue.Queue[tuple[Tensor, Event]] = queue.Queue()
        for _ in range(BUFFERS):
            buffer = frame_buffer(shown, row_length, device=device)
            self._free.put((buffer, self._side.event()))
        self._ready: queue.Queue[tuple[Batch, Position, Tensor, Event]] = queue.Queue()
        self._in_use: Tensor | None = None
        self._error: BaseException | None = None
        self._stop = threading.Event()
        request = Request(weights, cell, packs=torch.device(device).type != "cpu")
        self._pool = _Pool(data, workers, start.shard, request)
        self._thread = threading.Thread(target=self._produce, name="bcprobe-compose", daemon=True)
        self._thread.start()

    def __next__(self) -> tuple[Batch, Position]:
        while not self._stop.is_set():
            if (found := self.take(HEARTBEAT)) is not None:
                return found
        raise StopIteration

    def take(self, seconds: float) -> tuple[Batch, Position] | None:
        """The next batch and the position after it; None if it is not ready after that time."""
        began = time.perf_counter()
        if self._in_use is not None:
            self._free.put((self._in_use, self._side.event()))
            self._in_use = None
        try:
            if self._error is not None:
                raise self._error
            batch, after, self._in_use, composed = self._ready.get(timeout=seconds)
            self._side.wait(composed, batch)
            return batch, after
        except queue.Empty:
            return None
        finally:
            self.waited += time.perf_counter() - began

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
            for shard in count(self.start.shard):
                made = self._fetch(shard)
                first = self.start.batch if shard == self.start.shard else 0
                if made is None or not self._compose(shard, made, first):
                    return
        except BaseException as error:
            self._error = error

    def _compose(self, shard: int, made: Shard, first: int) -> bool:
        """Make a shard's batches from number ``first`` on; false if told to stop."""
        lengths = [len(recording) for recording in made.recordings]
        batches = make_batches(self.data, shard, lengths, self.rows, self.row_length)
        sequence = PackedRecordings(made.recordings, made.targets, made.packed)
        for number in range(first, len(batches)):
            free = self._empty_buffer()
            if free is None:
                return False
            last = number + 1 == len(batches)
            after = Position(shard + 1, 0) if last else Position(shard, number + 1)
            buffer, learned_from = free
            with self._side.after(learned_from):
                batch = sequence.fill(batches[number], buffer, share=self.share)
                self._ready.put((batch, after, buffer, self._side.event()))
        return True

    def _fetch(self, shard: int) -> Shard | None:
        while not self._stop.is_set():
            if self._pool.ready(shard):
                return self._pool.take(shard)
        return None

    def _empty_buffer(self) -> tuple[Tensor, Event] | None:
        while not self._stop.is_set():
            self._pool.check()
            try:
                return self._free.get(timeout=HEARTBEAT)
            except queue.Empty:
                continue
        return None


class _SideStream:
    """A GPU's work on batches, beside that on its current stream; on the CPU there is none.

    Events keep the two in order: a buffer is filled after it was learned from, and learned from
    after it was filled, while no thread waits.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def event(self) -> Event:
        """The end of all that the calling thread has asked of the GPU so far."""
        if self.stream is None:
            return None
        return torch.cuda.current_stream(self.device).record_event()

    @contextmanager
    def after(self, event: Event) -> Iterator[None]:
        """Context in which the GPU's work runs beside the current stream's, after an event."""
        if self.stream is None or event is None:
            yield
            return
        self.stream.wait_event(event)
        with torch.cuda.stream(self.stream):
            yield

    def wait(self, event: Event, batch: Batch) -> None:
        """Let the current stream go on after an event, and its memory manager know the batch."""
        if event is None:
            return
        current = torch.cuda.current_stream(self.device)
        current.wait_event(event)
        for field in fields(batch):
            if (values := getattr(batch, field.name)) is not None:
                values.record_stream(current)


class _Pool:
    """Worker processes; shard ``n`` is made by worker ``n % workers``.

    Each has two shards to make at any time, so that one that takes long holds up none of the
    others; ``making`` is the first of them.
    """

    def __init__(self, data: DataConfig, workers: int, first: int, request: Request) -> None:
        context = get_context("spawn")
        self.processes, self.connections = [], []
        for number in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=serve,
                args=(theirs, data, request),
                name=f"data worker {number}",
                daemon=True,
            )
            with undisturbed():
                process.start()
            theirs.close()
            self.processes.append(process)
            self.connections.append(ours)
        self.making = {shard % workers: shard for shard in range(first, first + workers)}
        for number, shard in self.making.items():
            self.connections[number].send(shard)
            self.connections[number].send(shard + workers)

    def ready(self, shard: int) -> bool:
        """Whether the shard can be taken, after waiting at most a heartbeat."""
        self.check()
        number = shard % len(self.processes)
        return bool(connection.wait([self.connections[number]], timeout=HEARTBEAT))

    def take(self, shard: int) -> Shard:
        """The shard; its worker goes on to its next one."""
        number = shard % len(self.processes)
        try:
            made = receive_shard(self.connections[number])
            if isinstance(made, str):
                reason = made.strip().splitlines()[-1]
                raise StreamError(f"data worker {number} failed at shard {shard}: {reason}")
            self.making[number] = shard + len(self.processes)
            self.connections[number].send(shard + 2 * len(self.processes))
        except (EOFError, OSError) as error:
            self.processes[number].join(timeout=HEARTBEAT)
            self.check()
            raise StreamError(f"data worker {number} hung up at shard {shard}") from error
        return made

    def check(self) -> None:
        """Raise `StreamError` if a worker is dead."""
        for number, process in enumerate(self.processes):
            if not process.is_alive():
                raise StreamError(
                    f"data worker {number} (process {process.pid}) died with exit code "
                    f"{process.exitcode} while making shard {self.making[number]}"
                )

    def close(self) -> None:
        """Hang up, and end workers that do not notice in time."""
        for end in self.connections:
            end.close()
        for process in self.processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()
