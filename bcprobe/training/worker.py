"""A process that makes groups of episodes on request. Imports no torch."""

from __future__ import annotations

import signal
import traceback
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from bcprobe.gui.packing import Packed
from bcprobe.training.groups import DataConfig, Recording, make_group, pack_group
from bcprobe.training.visited import visited_group


class Group(NamedTuple):
    """Recordings, and their display lists as arrays if the recordings have none."""

    recordings: list[Recording]
    packed: Packed | None


def serve(connection: Connection, data: DataConfig, packs: bool) -> None:
    """Answer each group number received with the group, until the other end hangs up.

    Display lists are sent as arrays if ``packs``: what a device composes from, which would keep
    one process at the other end busy. A failure is sent as its traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            group = connection.recv()
            try:
                recordings = [*visited_group(data, group), *make_group(data, group)]
                packed = pack_group(recordings) if packs else None
            except Exception:
                connection.send(traceback.format_exc())
            else:
                send_group(connection, recordings, packed)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def send_group(
    connection: Connection, recordings: list[Recording], packed: Packed | None = None
) -> None:
    """Send recordings, then the raw bytes of each image stack once.

    Personas of one world share a stack. With ``packed`` no display list of theirs is sent.
    """
    stacks: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    parts = []
    for made in recordings:
        if not stacks or stacks[-1] is not made.images:
            stacks.append(made.images)
        displays = made.displays if packed is None else ()
        parts.append((len(stacks) - 1, displays, made.clicks, made.actions, made.right, made.aims))
    connection.send((parts, [stack.shape for stack in stacks], packed))
    for stack in stacks:
        connection.send_bytes(np.ascontiguousarray(stack).data.cast("B"))


def receive_group(connection: Connection) -> Group | str:
    """A group sent by `send_group`, or the traceback of a failure."""
    message = connection.recv()
    if isinstance(message, str):
        return message
    parts, shapes, packed = message
    stacks = [
        np.frombuffer(connection.recv_bytes(), dtype=np.uint8).reshape(shape) for shape in shapes
    ]
    return Group([Recording(stacks[number], *columns) for number, *columns in parts], packed)
