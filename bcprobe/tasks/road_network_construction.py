"""Draw the road network of an aerial tile: nodes at junctions, an edge for every road."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import Mark, Stroke, View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.tasks.aerial_drawing import draw_tile
from bcprobe.tasks.road_maps import Pair, Settings, World, sample_map
from bcprobe.types import Latents, Outcome

TOLERANCE = 8.0
#: A click picks a node up to so far away (px); no second node is set so close.
PICK = 10.0
SUCCESS_F1 = 0.9
NODE, EDGE, PICKED = (255, 232, 64), (64, 226, 255), (255, 90, 200)
SETTINGS = {
    "easy": Settings((5, 6), (6, 7), cover=0.3, contrast=1.0, tracks=0.15, noise=3.0),
    "default": Settings((6, 8), (6, 10), cover=0.9, contrast=0.8, tracks=0.35, noise=5.0),
    "hard": Settings((7, 9), (8, 12), cover=1.8, contrast=0.55, tracks=0.6, noise=8.0),
}


@dataclass(frozen=True)
class State:
    """``mode`` is Node, Edge or empty; ``mask`` says that the road mask is shown.

    ``steps`` in order of annotating: ``(x, y)`` sets a node, ``(node,)`` picks one as an end;
    every second end closes an edge.
    """

    mode: str = ""
    mask: bool = False
    steps: tuple[tuple[int, ...], ...] = ()
    done: bool = False


@lru_cache(maxsize=4096)
def drawn(steps: tuple[tuple[int, ...], ...]) -> tuple[tuple[Pair, ...], tuple[Pair, ...], int]:
    """Nodes (x, y) and edges (pairs of nodes) in order; and the end that waits, or -1."""
    nodes = tuple((step[0], step[1]) for step in steps if len(step) == 2)
    ends = [step[0] for step in steps if len(step) == 1]
    edges = tuple(zip(ends[0::2], ends[1::2], strict=False))
    return nodes, edges, ends[-1] if len(ends) % 2 else -1


def matches(world: World, nodes: tuple[Pair, ...]) -> list[int]:
    """For each drawn node the true node within `TOLERANCE` px that no earlier one has, or -1."""
    found: list[int] = []
    for x, y in nodes:
        nearest, distance = nearest_node(world, x, y)
        taken = distance > TOLERANCE or nearest in found
        found.append(-1 if taken else nearest)
    return found


def nearest_node(world: World, x: float, y: float) -> tuple[int, float]:
    """The true node nearest to a canvas point, and its distance in px."""
    distance = np.hypot(*(world.nodes - (x, y)).T)
    nearest = int(distance.argmin())
    return nearest, float(distance[nearest])


@dataclass(frozen=True)
class Verdict:
    """What the truth says of an annotation.

    ``matched``: the true node of each drawn one, or -1. ``roads``: the true roads that are
    drawn. ``kind`` of the latest mistake, or empty.
    """

    matched: tuple[int, ...]
    roads: frozenset[Pair]
    kind: str


def judge(world: World, steps: tuple[tuple[int, ...], ...]) -> Verdict:
    """Judge nodes and edges against the truth; the last judgements are remembered."""
    return _judge(world, steps)


@lru_cache(maxsize=512)
def _judge(world: World, steps: tuple[tuple[int, ...], ...]) -> Verdict:
    nodes, edges, _ = drawn(steps)
    matched = matches(world, nodes)
    true = set(world.roads)
    named = [tuple(sorted((matched[a], matched[b]))) for a, b in edges]
    wrong = [index for index, pair in enumerate(named) if pair not in true or pair in named[:index]]
    kind = "structural" if wrong else "spatial" if -1 in matched else ""
    roads = frozenset(pair for pair in world.roads if pair in named)
    return Verdict(tuple(matched), roads, kind)


class RoadNetworkConstruction:
    """Road network construction.

    Description: an aerial tile with fields, roofs, trees and 6 to 12 roads between 5 to 9
    junctions and road ends; some roads run under trees, and field edges look like roads.
    Instruction: set a node on every junction and road end, join the nodes of every road by
    an edge, then press Done.
    Actions: Node (clicks set nodes), Edge (clicks pick the two ends of an edge), Mask (shows
    where asphalt reflects, toggles), Undo, Done, clicks on the canvas. A click within 10 px of
    a node sets no other; while an end waits for its other end, Node does not answer.
    Observation: the tile or its mask; squares on nodes (another colour on the waiting end),
    lines for edges; how many nodes and edges there are.
    Success: Done, and F1 of edges whose nodes lie within 8 px of theirs at least 0.9.
    Settings: `Settings` (easy, default, hard).
    Latents: there is one position; a mistake is a node off or doubled (spatial) or an edge
    where no road is (structural); progress is the share of nodes and roads rightly drawn.
    """

    name = "road_network_construction"
    title = "Road network construction"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        Button("Node", "Node", "select", "Draw", "select"),
        Button("Edge", "Edge", "select", "Draw", "select"),
        Button("Mask", "Mask", "view", "View", "view"),
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw a network; the land around it is drawn from its seed."""
        return sample_map(rng, SETTINGS[difficulty])

    def images(self, world: World) -> NDArray[np.uint8]:
        """The tile and its road mask: uint8 [2, 256, 256, 3]."""
        return draw_tile(world)

    def open(self, world: World) -> State:
        """Nothing drawn, no mode chosen."""
        return State()

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """Node, Edge, Mask, Undo, Done."""
        nodes, _, waiting = drawn(state.steps)
        return (
            ButtonState(enabled=waiting < 0, active=state.mode == "Node"),
            ButtonState(enabled=len(nodes) > 1, active=state.mode == "Edge"),
            ButtonState(active=state.mask),
            ButtonState(enabled=bool(state.steps)),
            ButtonState(),
        )

    def press(self, world: World, state: State, button: str) -> State:
        """Choose a mode, toggle the mask, take the last node or end back, or finish."""
        if state.done:
            return state
        nodes, _, waiting = drawn(state.steps)
        if button == "Node":
            return state if waiting >= 0 else replace(state, mode="Node")
        if button == "Edge":
            return replace(state, mode="Edge") if len(nodes) > 1 else state
        if button == "Mask":
            return replace(state, mask=not state.mask)
        if button == "Undo":
            return replace(state, steps=state.steps[:-1]) if state.steps else state
        return replace(state, done=True)

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """Set a node, or pick one as an end of an edge."""
        if state.done or not state.mode:
            return state
        nodes, edges, waiting = drawn(state.steps)
        near = _pick(nodes, x, y)
        if state.mode == "Node":
            return state if near >= 0 else replace(state, steps=(*state.steps, (x, y)))
        known = {frozenset(edge) for edge in edges}
        if near in (-1, waiting) or frozenset((near, waiting)) in known:
            return state
        return replace(state, steps=(*state.steps, (near,)))

    def draw(self, world: World, state: State) -> View:
        """The tile or its mask with nodes and edges."""
        nodes, edges, waiting = drawn(state.steps)
        strokes = tuple(Stroke(*nodes[a], *nodes[b], EDGE) for a, b in edges)
        marks = tuple(
            Mark("square", x, y, 4, PICKED if index == waiting else NODE)
            for index, (x, y) in enumerate(nodes)
        )
        status = (("Nodes", f"{len(nodes):02d}"), ("Edges", f"{len(edges):02d}"))
        return View(int(state.mask), marks, strokes, status)

    def latents(self, world: World, state: State) -> Latents:
        """There is one datum in view."""
        verdict = judge(world, state.steps)
        right = sum(node >= 0 for node in verdict.matched) + len(verdict.roads)
        whole = len(world.nodes) + len(world.roads)
        return Latents(0, 1, right / whole, bool(verdict.kind), verdict.kind)

    def phase(self, world: World, state: State, button: str) -> str:
        """Looking at the mask is exploring before the first node, and verifying after it."""
        if button in ("Undo", "Done"):
            return "correct" if button == "Undo" else "finish"
        if button in ("Node", "Edge", "canvas"):
            return "annotate"
        return "verify" if state.steps else "explore"

    def score(self, world: World, state: State) -> Outcome:
        """F1 of edges that join matched nodes along a true road."""
        nodes, edges, _ = drawn(state.steps)
        verdict = judge(world, state.steps)
        f1 = 2 * len(verdict.roads) / (len(edges) + len(world.roads))
        counts = {
            "nodes": float(len(nodes)),
            "edges": float(len(edges)),
            "right_nodes": float(sum(node >= 0 for node in verdict.matched)),
            "right_edges": float(len(verdict.roads)),
        }
        return Outcome(f1, state.done and f1 >= SUCCESS_F1, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _pick(nodes: tuple[Pair, ...], x: int, y: int) -> int:
    """The drawn node nearest to a point and within `PICK` px of it, or -1."""
    away = [((a - x) ** 2 + (b - y) ** 2, index) for index, (a, b) in enumerate(nodes)]
    distance, index = min(away, default=(PICK**2 + 1, -1))
    return index if distance <= PICK**2 else -1
