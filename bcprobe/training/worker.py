"""A process that makes shards of episodes on request. Imports no torch."""

from __future__ import annotations

import os
import queue
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.packing import Packed
from bcprobe.training.recording import Recording
from bcprobe.training.shards import DataConfig, make_shard, pack_displays
from bcprobe.training.targets import Targets, make_targets


class Shard(NamedTuple):
    """Recordings, their targets, and their display lists as arrays if the recordings have none."""

    recordings: list[Recording]
    targets: Targets
    packed: Packed | None = None


class Request(NamedTuple):
    """What is wanted of each shard beside its recordings.

    ``weights`` and ``cell`` are those of `bcprobe.training.targets.make_targets`. Display lists
    are sent as arrays if ``packs``: what a device composes from.
    """

    weights: NDArray[np.float64] | None = None
    cell: tuple[int, int] = (1, 1)
    packs: bool = False


def serve(connection: Connection, data: DataConfig, request: Request) -> None:
    """Answer each shard number received with the shard, until the other end hangs up.

    All work on a shard is done here, as all workers share one process at the other end. While a
    shard waits to be taken the next one is made. A failure is sent as its traceback.
    """
    outbox: queue.Queue[Shard | str] = queue.Queue(maxsize=1)
    threading.Thread(target=_send_all, args=(connection, outbox), daemon=True).start()
    with suppress(EOFError, ConnectionResetError):
        while True:
            outbox.put(_make(connection.recv(), data, request))


def _make(shard: int, data: DataConfig, request: Request) -> Shard | str:
    try:
        recordings = list(make_shard(data, shard))
        targets = make_targets(recordings, request.weights, request.cell)
        return Shard(recordings, targets, pack_displays(recordings) if request.packs else None)
    except Exception:
        return traceback.format_exc()


def _send_all(connection: Connection, outbox: queue.Queue[Shard | str]) -> None:
    """Send what comes, in order; ends the process when the other end hangs up, or it cannot."""
    try:
        while True:
            made = outbox.get()
            if isinstance(made, str):
                connection.send(made)
            else:
                send_shard(connection, made)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def send_shard(connection: Connection, shard: Shard) -> None:
    """Send a shard, then the raw bytes of each image stack once.

    Personas of one world share a stack. What the targets and arrays are made of stays behind.
    """
    stacks: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    parts = []
    for made in shard.recordings:
        if not stacks or stacks[-1] is not made.images:
            stacks.append(made.images)
        displays = made.displays if shard.packed is None else ()
        parts.append((len(stacks) - 1, displays, made.clicks, made.actions, made.right))
    connection.send((parts, [stack.shape for stack in stacks], shard.targets, shard.packed))
    for stack in stacks:
        connection.send_bytes(np.ascontiguousarray(stack).data.cast("B"))


def receive_shard(connection: Connection) -> Shard | str:
    """A shard sent by `send_shard`, or the traceback of a failure."""
    message = connection.recv()
    if isinstance(message, str):
        return message
    parts, shapes, targets, packed = message
    stacks = [np.empty(shape, dtype=np.uint8) for shape in shapes]
    for stack in stacks:
        connection.recv_bytes_into(stack.data.cast("B"))
    recordings = [Recording(stacks[number], *columns) for number, *columns in parts]
    return Shard(recordings, targets, packed)
