"""Worlds in which the truth about the last annotation is another, and everything else the same.

`moved` shifts what the last placement is about by so many px; `exchanged` gives another class or
identity. Every image of the world is drawn from the changed truth, so that screens are consistent
from the first frame on. What cannot be moved alone moves together: the section or video frame of
neurons, limbs and mice is shifted whole, and the first placement in it is the one to look at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.rng import generator
from bcprobe.tasks import animal_behavioral_tracking as mice
from bcprobe.tasks import cell_lineage_tracking as lineage
from bcprobe.tasks import colored_dot_tracking as dots
from bcprobe.tasks import exploration_classification_3d as complexes
from bcprobe.tasks import multichannel_image_alignment as alignment
from bcprobe.tasks import neuron_tracking as neurons
from bcprobe.tasks import road_network_construction as roads
from bcprobe.tasks import spectral_plume_finding as plumes
from bcprobe.tasks.base import State, World
from bcprobe.tasks.cell_movies import World as CellWorld
from bcprobe.tasks.road_maps import World as RoadWorld
from bcprobe.types import CANVAS_SIZE

#: Half width (px along the rim) of the bulge by which a plume's rim is moved at a vertex.
BULGE = 14.0
#: px (x, y) by which a truth is moved.
Shift = tuple[float, float]


def moved(task: str, world: World, state: State, shift: Shift) -> World | None:
    """The world in which the truth about the state's last placement lies ``shift`` px further.

    None where the task has no such truth, the last annotation is no placement that can be moved
    alone, or the truth would leave the canvas.
    """
    return _MOVES[task](world, state, shift) if task in _MOVES else None


def exchanged(task: str, world: World, state: State) -> World | None:
    """The world in which the last annotation names the wrong class, identity or gas; else None."""
    return _EXCHANGES[task](world, state) if task in _EXCHANGES else None


def movable() -> tuple[str, ...]:
    """Tasks with a truth that can be moved."""
    return tuple(_MOVES)


def exchangeable() -> tuple[str, ...]:
    """Tasks with a class or identity that can be exchanged."""
    return tuple(_EXCHANGES)


def _inside(*points: NDArray[np.float64]) -> bool:
    return all(4 <= float(v) < CANVAS_SIZE - 4 for point in points for v in np.ravel(point))


def _with(points: NDArray[np.float64], index: Any, shift: Shift) -> NDArray[np.float64]:
    """Points with one shifted."""
    found = points.copy()
    found[index] = found[index] + np.asarray(shift)
    return found


def _move_dot(world: dots.World, state: dots.State, shift: Shift) -> dots.World | None:
    if not state.marks:
        return None
    centres = _with(world.centres, state.marks[-1][0], shift)
    return replace(world, centres=centres) if _inside(centres) else None


def rolled(image: NDArray[Any], shift: Shift, cell: float = 1.0) -> NDArray[Any]:
    """An image [y, x, ...] shifted by whole cells of ``cell`` px; its rim is repeated."""
    dx, dy = (round(part / cell) for part in shift)
    rows = np.clip(np.arange(image.shape[0]) - dy, 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) - dx, 0, image.shape[1] - 1)
    return image[rows][:, columns]


def _move_section(world: neurons.World, state: neurons.State, shift: Shift) -> neurons.World | None:
    """The section of the last mark shifted whole, as a stack that slipped."""
    if not state.marks:
        return None
    z, cell = state.marks[-1][0], CANVAS_SIZE / world.cells.shape[1]
    whole = (cell * round(shift[0] / cell), cell * round(shift[1] / cell))
    centres = _with(world.centres, z, whole)
    if not _inside(centres) or sum(mark[0] == z for mark in state.marks) > 1:
        return None
    stack = neurons.NeuronTracking().images(world)[..., 0].copy()
    stack[z] = rolled(stack[z], whole)
    cells = world.cells.copy()
    cells[z] = rolled(cells[z], whole, cell)
    return replace(world, cells=cells, centres=centres, stack=stack)


def _move_cell(world: CellWorld, state: lineage.State, shift: Shift) -> CellWorld | None:
    """The cell under the last link, in that frame alone."""
    node = _last_node(world, state)
    cell = None if node is None else lineage.cell_of(world, node)
    if node is None or cell is None:
        return None
    old = world.cells[cell]
    age = node.frame - old.birth
    pose = replace(old.poses[age], x=old.poses[age].x + shift[0], y=old.poses[age].y + shift[1])
    if not _inside(np.array([pose.x, pose.y])):
        return None
    poses = (*old.poses[:age], pose, *old.poses[age + 1 :])
    cells = (*world.cells[:cell], replace(old, poses=poses), *world.cells[cell + 1 :])
    row = tuple(
        (number, pose.x, pose.y) if number == cell else (number, x, y)
        for number, x, y in world.present[node.frame]
    )
    present = (*world.present[: node.frame], row, *world.present[node.frame + 1 :])
    return replace(world, cells=cells, present=present)


def _last_node(world: CellWorld, state: lineage.State) -> Any:
    """The cell linked last; None if the last entry is no link."""
    tree = lineage.tree_of(world, state)
    if len(tree.nodes) <= world.founders:
        return None
    if state.entries and len(lineage.tree_of(world, _less(state)).nodes) == len(tree.nodes):
        return None
    return tree.nodes[-1]


def _less(state: lineage.State) -> lineage.State:
    return replace(state, entries=state.entries[:-1])


def _move_bead(
    world: alignment.World, state: alignment.State, shift: Shift
) -> alignment.World | None:
    """The bead under the last point, in its channel alone."""
    if not state.picks or state.picks[-1].channel == 0:
        return None
    pick = state.picks[-1]
    name = "first" if pick.channel == 1 else "second"
    bead = alignment.bead_at(getattr(world, name), pick)
    if bead is None:
        return None
    beads = _with(getattr(world, name), bead, shift)
    changed: dict[str, Any] = {name: beads}
    return replace(world, **changed) if _inside(beads[bead]) else None


def _move_video_frame(world: Any, state: Any, shift: Shift) -> Any | None:
    """The video frame of the first mark in it, shifted whole as by a camera that shook."""
    if not state.marks or sum(mark[0] == state.marks[-1][0] for mark in state.marks) > 1:
        return None
    t, whole = state.marks[-1][0], (round(shift[0]), round(shift[1]))
    name = "keypoints" if hasattr(world, "keypoints") else "ends"
    points = _with(getattr(world, name), t, whole)
    if not _inside(points[t]):
        return None
    return replace(world, **{name: points}, shaken=(*world.shaken, (t, *whole)))


def _move_rim(world: plumes.World, state: plumes.State, shift: Shift) -> plumes.World | None:
    """The rim at the last vertex bulges outwards or inwards by the length of ``shift``."""
    if not state.vertices or state.closed:
        return None
    rim = world.rim
    away = np.hypot(*(rim - np.asarray(state.vertices[-1], dtype=float)).T)
    nearest, count = int(away.argmin()), len(rim)
    step = world.length / count
    ahead = np.roll(rim, -2, axis=0) - np.roll(rim, 2, axis=0)
    normals = np.stack([ahead[:, 1], -ahead[:, 0]], axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    off = (np.arange(count) - nearest + count // 2) % count - count // 2
    weight = np.exp(-0.5 * (off * step / BULGE) ** 2)
    size = math.hypot(*shift) * (1.0 if float(normals[nearest] @ np.asarray(shift)) >= 0 else -1.0)
    found = rim + size * weight[:, None] * normals[nearest]
    return replace(world, rim=found) if _inside(found) else None


def _move_node(world: RoadWorld, state: roads.State, shift: Shift) -> RoadWorld | None:
    if not state.steps or len(state.steps[-1]) != 2:
        return None
    node, distance = roads.nearest_node(world, *state.steps[-1])
    if distance > roads.TOLERANCE:
        return None
    nodes = _with(world.nodes, node, shift)
    return replace(world, nodes=nodes) if _inside(nodes) else None


def _exchange_class(world: complexes.World, state: complexes.State) -> complexes.World | None:
    """The complex named last is of another class, with the same seam."""
    if not state.labels:
        return None
    index = len(state.labels) - 1
    kind = (world.classes[index] + 1) % len(complexes.CLASSES)
    rng = generator("exchanged class", kind, world.seams[index], index)
    settings = complexes.SETTINGS["default"]
    points, normals = complexes._shape(settings, kind, world.seams[index], rng)
    if points.shape != world.points[index].shape:
        return None
    every, sides = world.points.copy(), world.normals.copy()
    every[index], sides[index] = points, normals
    classes = (*world.classes[:index], kind, *world.classes[index + 1 :])
    return replace(world, classes=classes, points=every, normals=sides)


def _exchange_gas(world: plumes.World, state: plumes.State) -> plumes.World | None:
    if not state.gas:
        return None
    gas = plumes.GASES[(plumes.GASES.index(world.gas) + 1) % len(plumes.GASES)]
    return replace(world, gas=gas)


def _exchange_ends(world: mice.World, state: mice.State) -> mice.World | None:
    """The first mouse marked is called by another one's number from the first frame on."""
    if len(state.marks) != 1:
        return None
    own, other = state.marks[0].mouse, (state.marks[0].mouse + 1) % world.mice.count
    ends = world.ends.copy()
    ends[:, [own, other]] = ends[:, [other, own]]
    return replace(world, ends=ends)


_MOVES: dict[str, Callable[[Any, Any, Shift], Any]] = {
    "colored_dot_tracking": _move_dot,
    "neuron_tracking": _move_section,
    "cell_lineage_tracking": _move_cell,
    "multichannel_image_alignment": _move_bead,
    "animal_limb_tracking": _move_video_frame,
    "animal_behavioral_tracking": _move_video_frame,
    "spectral_plume_finding": _move_rim,
    "road_network_construction": _move_node,
}
_EXCHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "3d_exploration_classification": _exchange_class,
    "spectral_plume_finding": _exchange_gas,
    "animal_behavioral_tracking": _exchange_ends,
}
