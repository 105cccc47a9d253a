"""What a stack of clicks says about who descends from whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

Place = tuple[int, int]
#: A click (x, y) that links the cell that is due, or None where Divide was pressed for it.
Entry = Place | None


@dataclass(frozen=True)
class Node:
    """A cell in a frame: its place (canvas px), its parent's number and its founder's."""

    frame: int
    parent: int
    founder: int
    x: int
    y: int


@dataclass(frozen=True)
class Tree:
    """Nodes in the order of clicks, founders first.

    ``divided`` are the nodes for which Divide was pressed. ``frame`` is the first frame in
    which a link is missing (the number of frames if none is), ``due`` the node of the frame
    before whose child is missing there, or None; ``started`` says that it has a child.
    """

    nodes: tuple[Node, ...]
    divided: frozenset[int]
    frame: int
    due: int | None
    started: bool

    def at(self, frame: int) -> list[int]:
        """Numbers of the nodes of a frame."""
        return [number for number, node in enumerate(self.nodes) if node.frame == frame]

    def children(self, number: int) -> list[Node]:
        """A node's children."""
        return [node for node in self.nodes if node.parent == number]


@lru_cache(maxsize=4096)
def read_tree(entries: tuple[Entry, ...], founders: tuple[Place, ...], frames: int) -> Tree:
    """The tree that a stack of entries builds: cells are due frame by frame, in node order.

    A cell takes one click, or two after Divide.
    """
    nodes = [Node(0, -1, number, x, y) for number, (x, y) in enumerate(founders)]
    divided: set[int] = set()
    frame, parents, place, had = 1, list(range(len(nodes))), 0, 0
    for entry in entries:
        parent = parents[place]
        if entry is None:
            divided.add(parent)
            continue
        nodes.append(Node(frame, parent, nodes[parent].founder, *entry))
        had += 1
        if had < (2 if parent in divided else 1):
            continue
        place, had = place + 1, 0
        if place == len(parents):
            parents = [n for n, node in enumerate(nodes) if node.frame == frame]
            frame, place = frame + 1, 0
    due = parents[place] if frame < frames else None
    return Tree(tuple(nodes), frozenset(divided), frame, due, had > 0)
