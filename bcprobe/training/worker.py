"""A process that makes groups of episodes on request. Imports no torch."""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.packing import Packed
from bcprobe.training.shards import DataConfig, Recording, make_group, pack_group
from bcprobe.training.targets import Lessons, teach
from bcprobe.training.visited import visited_group


class Group(NamedTuple):
    """Recordings, their lessons, and their display lists as arrays if the recordings have none."""

    recordings: list[Recording]
    lessons: Lessons
    packed: Packed | None = None


class Order(NamedTuple):
    """What is wanted of each group beside its recordings.

    ``weights`` and ``cell`` are those of `bcprobe.training.targets.teach`. Display lists are sent
    as arrays if ``packs``: what a device composes from.
    """

    weights: NDArray[np.float64] | None = None
    cell: tuple[int, int] = (1, 1)
    packs: bool = False


def serve(connection: Connection, data: DataConfig, order: Order) -> None:
    """Answer each group number received with the group, until the other end hangs up.

    All work on a group is done here, as all workers share one process at the other end. While a
    group waits to be taken the next one is made. A failure is sent as its traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    outbox: queue.Queue[Group | str] = queue.Queue(maxsize=1)
    threading.Thread(target=_send_all, args=(connection, outbox), daemon=True).start()
    with suppress(EOFError, ConnectionResetError):
        while True:
            outbox.put(_make(connection.recv(), data, order))


def _make(group: int, data: DataConfig, order: Order) -> Group | str:
    try:
        recordings = [*visited_group(data, group), *make_group(data, group)]
        lessons = teach(recordings, order.weights, order.cell)
        return Group(recordings, lessons, pack_group(recordings) if order.packs else None)
    except Exception:
        return traceback.format_exc()


def _send_all(connection: Connection, outbox: queue.Queue[Group | str]) -> None:
    """Send what comes, in order; ends the process when the other end hangs up, or it cannot."""
    try:
        while True:
            made = outbox.get()
            if isinstance(made, str):
                connection.send(made)
            else:
                send_group(connection, made)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def send_group(connection: Connection, group: Group) -> None:
    """Send a group, then the raw bytes of each image stack once.

    Personas of one world share a stack. What the lessons and arrays are made of stays behind.
    """
    stacks: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    parts = []
    for made in group.recordings:
        if not stacks or stacks[-1] is not made.images:
            stacks.append(made.images)
        displays = made.displays if group.packed is None else ()
        parts.append((len(stacks) - 1, displays, made.clicks, made.actions, made.right))
    connection.send((parts, [stack.shape for stack in stacks], group.lessons, group.packed))
    for stack in stacks:
        connection.send_bytes(np.ascontiguousarray(stack).data.cast("B"))


def receive_group(connection: Connection) -> Group | str:
    """A group sent by `send_group`, or the traceback of a failure."""
    message = connection.recv()
    if isinstance(message, str):
        return message
    parts, shapes, lessons, packed = message
    stacks = [np.empty(shape, dtype=np.uint8) for shape in shapes]
    for stack in stacks:
        connection.recv_bytes_into(stack.data.cast("B"))
    recordings = [Recording(stacks[number], *columns) for number, *columns in parts]
    return Group(recordings, lessons, packed)
