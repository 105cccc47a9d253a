"""Small road networks: junctions, road ends and the roads that join them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bcprobe.types import CANVAS_SIZE

Pair = tuple[int, int]
#: Roads are so long (px), pass other junctions at such a distance, and meet at such angles.
_LENGTHS, _CLEAR, _LEAST_ANGLE = (44.0, 132.0), 22.0, 38.0
#: A junction of two roads only is a bend at least so sharp (degrees off straight).
_LEAST_BEND = 36.0
_PITCH, _MARGIN = 72, 24


@dataclass(frozen=True)
class Settings:
    """Difficulty of a tile.

    ``junctions`` and ``roads``: how many there are, least and most. ``cover``: trees over
    each road, on average. ``contrast``: of asphalt against fields (0-1). ``tracks``: share
    of field edges that show as pale tracks (0-1). ``noise``: grain in grey levels.
    """

    junctions: tuple[int, int]
    roads: tuple[int, int]
    cover: float
    contrast: float
    tracks: float
    noise: float


@dataclass(frozen=True, eq=False)
class World:
    """A road network and what is needed to draw the land around it.

    ``nodes`` float [node, 2] canvas px (x, y) in reading order; ``roads`` are pairs of node
    indices, smaller first, in order; ``bows`` float [road] px to the side of the straight
    line, ``widths`` float [road] px; ``seed`` draws fields, roofs and trees.
    """

    nodes: NDArray[np.float64]
    roads: tuple[Pair, ...]
    bows: NDArray[np.float64]
    widths: NDArray[np.float64]
    settings: Settings
    seed: int


def sample_map(rng: np.random.Generator, settings: Settings) -> World:
    """Draw a connected network whose every junction shows as one."""
    while True:
        nodes = _scatter(rng, int(rng.integers(settings.junctions[0], settings.junctions[1] + 1)))
        roads = _join(rng, nodes, int(rng.integers(settings.roads[0], settings.roads[1] + 1)))
        if len(roads) >= settings.roads[0] and _legible(nodes, roads):
            break
    count = len(roads)
    return World(
        nodes=nodes,
        roads=roads,
        bows=rng.uniform(-5, 5, size=count),
        widths=np.where(rng.random(count) < 0.35, 10.5, rng.uniform(7, 8.5, size=count)),
        settings=settings,
        seed=int(rng.integers(2**31)),
    )


def road_line(world: World, road: int, points: int = 9) -> NDArray[np.float64]:
    """Middle of a road as ``points`` canvas points (x, y) from its first node to its second."""
    start, end = (world.nodes[node] for node in world.roads[road])
    share = np.linspace(0, 1, points)[:, None]
    along = end - start
    side = np.array([-along[1], along[0]]) / np.hypot(*along)
    return start + share * along + 4 * share * (1 - share) * world.bows[road] * side


def _scatter(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Places [node, 2] on a shaken grid, in reading order (rows of half a grid pitch)."""
    grid = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 2)
    chosen = grid[np.sort(rng.permutation(len(grid))[:count])]
    places = CANVAS_SIZE / 2 + chosen * _PITCH + rng.uniform(-24, 24, size=(count, 2))
    places = np.rint(np.clip(places, _MARGIN, CANVAS_SIZE - _MARGIN))
    return places[np.lexsort((places[:, 0], places[:, 1] // (_PITCH / 2)))]


def _join(rng: np.random.Generator, nodes: NDArray[np.float64], count: int) -> tuple[Pair, ...]:
    """At most ``count`` roads: first those that connect all nodes, then further ones."""
    pairs = [p for p in combinations(range(len(nodes)), 2) if _passable(nodes, p)]
    lengths = np.array([np.hypot(*(nodes[b] - nodes[a])) for a, b in pairs])
    order = np.argsort(lengths * rng.uniform(0.7, 1.3, size=len(pairs)), kind="stable")
    part = list(range(len(nodes)))
    roads: list[Pair] = []
    for closing in (False, True):
        for index in order:
            a, b = pairs[index]
            joined = part[a] == part[b]
            if joined != closing or len(roads) >= count or not _fits(nodes, roads, (a, b)):
                continue
            roads.append((a, b))
            part = [part[a] if p == part[b] else p for p in part]
    return tuple(sorted(roads)) if len(set(part)) == 1 else ()


def _passable(nodes: NDArray[np.float64], pair: Pair) -> bool:
    """Whether a road of natural length joins two nodes clear of all others."""
    start, end = nodes[pair[0]], nodes[pair[1]]
    along, length = end - start, float(np.hypot(*(end - start)))
    if not _LENGTHS[0] <= length <= _LENGTHS[1]:
        return False
    others = np.delete(nodes, pair, axis=0) - start
    share = np.clip(others @ along / length**2, 0, 1)
    return bool(np.hypot(*(others - share[:, None] * along).T).min() >= _CLEAR)


def _fits(nodes: NDArray[np.float64], roads: list[Pair], new: Pair) -> bool:
    """Whether a new road crosses none and leaves its nodes at open angles."""
    if new in roads:
        return False
    for road in roads:
        shared = set(road) & set(new)
        if not shared and _cross(nodes, road, new):
            return False
        if shared and _angle(nodes, shared.pop(), road, new) < _LEAST_ANGLE:
            return False
    return True


def _angle(nodes: NDArray[np.float64], node: int, one: Pair, two: Pair) -> float:
    """Angle in degrees (0-180) between two roads at a node they share."""
    ways = [nodes[a + b - node] - nodes[node] for a, b in (one, two)]
    cosine = float(ways[0] @ ways[1] / (np.hypot(*ways[0]) * np.hypot(*ways[1])))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _cross(nodes: NDArray[np.float64], one: Pair, two: Pair) -> bool:
    a, b, c, d = (nodes[i] for i in (*one, *two))
    return _side(a, b, c) != _side(a, b, d) and _side(c, d, a) != _side(c, d, b)


def _side(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> bool:
    return bool((b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0]))


def _legible(nodes: NDArray[np.float64], roads: tuple[Pair, ...]) -> bool:
    """Whether every node is an end, a bend or a junction of three roads or more."""
    for node in range(len(nodes)):
        own = [road for road in roads if node in road]
        if len(own) == 2 and _angle(nodes, node, *own) > 180 - _LEAST_BEND:
            return False
    return True
