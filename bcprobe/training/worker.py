"""A process that makes groups of episodes on request. Imports no torch."""

from __future__ import annotations

import signal
import traceback
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bcprobe.training.groups import DataConfig, Recording, make_group
from bcprobe.training.visited import visited_group


def serve(connection: Connection, data: DataConfig) -> None:
    """Answer each group number received with the group, until the other end hangs up.

    A group is sent as its recordings without images, then the raw bytes of each image stack
    once. A failure is sent as its traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            group = connection.recv()
            try:
                recordings = [*visited_group(data, group), *make_group(data, group)]
            except Exception:
                connection.send(traceback.format_exc())
            else:
                send_group(connection, recordings)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def send_group(connection: Connection, recordings: list[Recording]) -> None:
    """Send recordings; personas of one world share one stack of images."""
    stacks: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    parts = []
    for made in recordings:
        if not stacks or stacks[-1] is not made.images:
            stacks.append(made.images)
        columns = (made.displays, made.clicks, made.actions, made.right, made.aims)
        parts.append((len(stacks) - 1, *columns))
    connection.send((parts, [stack.shape for stack in stacks]))
    for stack in stacks:
        connection.send_bytes(np.ascontiguousarray(stack).data.cast("B"))


def receive_group(connection: Connection) -> list[Recording] | str:
    """Recordings sent by `send_group`, or the traceback of a failure."""
    message = connection.recv()
    if isinstance(message, str):
        return message
    parts, shapes = message
    stacks = [
        np.frombuffer(connection.recv_bytes(), dtype=np.uint8).reshape(shape) for shape in shapes
    ]
    return [Recording(stacks[number], *columns) for number, *columns in parts]
