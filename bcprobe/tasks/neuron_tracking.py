"""Follow one neuron through a stack of electron micrographs, one click per section."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import Mark, View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.tasks.neuron_drawing import Stain, draw_sections, stain_tissue
from bcprobe.tasks.neuron_tissue import GAP_UNIT, Tissue, grow_tissue, section_cells
from bcprobe.types import CANVAS_SIZE, Latents, Outcome

SLICES = 24
SUCCESS_SHARE = 0.9
OWN, NEAR, TARGET = (90, 225, 255), (255, 170, 50), (255, 225, 60)
#: The target's centre keeps away from the rim of the canvas and from its membrane, px.
MARGIN, _LEAST_DEPTH = 22, 5.5


@dataclass(frozen=True)
class Settings:
    """Difficulty of a stack.

    ``noise``: standard deviation of the grain, grey levels. ``contrast``: darkness of the
    membranes (0-1). ``size``: scale of the cells. ``drift``: how far cells wander from the
    first section to the last, px. ``swell``: share by which they swell and shrink.
    """

    noise: float
    contrast: float
    size: float
    drift: float
    swell: float


SETTINGS = {
    "easy": Settings(noise=7.0, contrast=1.0, size=1.2, drift=14.0, swell=0.08),
    "default": Settings(noise=12.0, contrast=0.9, size=1.0, drift=26.0, swell=0.15),
    "hard": Settings(noise=20.0, contrast=0.72, size=0.9, drift=40.0, swell=0.22),
}


@dataclass(frozen=True, eq=False)
class World:
    """A stack of sections with one neuron to follow.

    ``cells`` int [section, side, side] names the cell of each node of a square grid over the
    canvas, 0 where there is none; ``target`` is the cell to follow; ``centres`` float
    [section, 2] canvas px (x, y) lie well inside it. The sections are either drawn from
    ``tissue``, ``stain`` and ``gap`` (distance to the membrane), or given as ``stack`` uint8
    [section, 256, 256]. ``name`` says where a given stack comes from.
    """

    cells: NDArray[np.integer]
    target: int
    centres: NDArray[np.float64]
    tissue: Tissue | None = None
    stain: Stain | None = None
    gap: NDArray[np.uint8] | None = None
    stack: NDArray[np.uint8] | None = None
    name: str = ""

    @property
    def slices(self) -> int:
        """Number of sections."""
        return len(self.centres)


@dataclass(frozen=True)
class State:
    """Section in view and the marks ``(z, x, y)`` in order of placing."""

    z: int = 0
    marks: tuple[tuple[int, int, int], ...] = ()
    done: bool = False


def is_right(world: World, mark: tuple[int, int, int]) -> bool:
    """Whether a mark lies in the target cell of its section."""
    z, x, y = mark
    side = world.cells.shape[1]
    return world.cells.item(z, y * side // CANVAS_SIZE, x * side // CANVAS_SIZE) == world.target


def right_slices(world: World, state: State) -> frozenset[int]:
    """Sections that hold a right mark."""
    return frozenset(mark[0] for mark in state.marks if is_right(world, mark))


def has_mistake(world: World, state: State) -> bool:
    """Whether a mark lies outside the target, or a section holds two marks."""
    slices = {mark[0] for mark in state.marks}
    return len(slices) < len(state.marks) or not all(is_right(world, m) for m in state.marks)


class NeuronTracking:
    """Neuron tracking.

    Description: 24 sections of neural tissue as an electron microscope shows them: cells with
    dark membranes, mitochondria, vesicles and grain, which drift, swell and shrink with z.
    Instruction: the cell to follow is crossed in section 0; click inside it in every section,
    then press Done.
    Actions: +z, -z, Undo, Done, clicks on the canvas.
    Observation: the section; the cross (section 0), a ring where a mark lies in this section,
    a dot for marks of the sections before and after; how many marks there are and the first
    section that lacks one.
    Success: Done, and right marks in at least 90 % of the sections, counting no more marks
    than sections.
    Settings: `Settings` (easy, default, hard).
    Latents: position is the section; a mistake (spatial) is a mark outside the target cell or
    a second mark in a section; progress is the share of sections rightly marked.
    """

    name = "neuron_tracking"
    title = "Neuron tracking"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        Button("+z", "+z", "navigate", "Z navigation", "forward"),
        Button("-z", "-z", "navigate", "Z navigation", "back"),
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw a stack in which some cell stays on the canvas and roomy in every section."""
        settings = SETTINGS[difficulty]
        while True:
            tissue = grow_tissue(rng, SLICES, settings.size, settings.drift, settings.swell)
            followed = _followed(tissue, rng)
            if followed is not None:
                cells, gap, target, centres = followed
                stain = stain_tissue(rng, tissue, settings.noise, settings.contrast)
                return World(cells, target, centres, tissue, stain, gap)

    def images(self, world: World) -> NDArray[np.uint8]:
        """The sections: uint8 [section, 256, 256, 3], grey."""
        if world.stack is not None:
            return np.repeat(world.stack[..., None], 3, axis=-1)
        assert world.tissue is not None
        assert world.stain is not None
        assert world.gap is not None
        return draw_sections(world.tissue, world.stain, world.cells, world.gap)

    def open(self, world: World) -> State:
        """First section, nothing marked."""
        return State()

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """+z, -z, Undo, Done."""
        return (
            ButtonState(enabled=state.z < world.slices - 1),
            ButtonState(enabled=state.z > 0),
            ButtonState(enabled=bool(state.marks)),
            ButtonState(),
        )

    def press(self, world: World, state: State, button: str) -> State:
        """Move, take the last mark back, or finish."""
        if state.done:
            return state
        if button in ("+z", "-z"):
            z = state.z + (1 if button == "+z" else -1)
            return replace(state, z=z) if 0 <= z < world.slices else state
        if button == "Undo":
            return replace(state, marks=state.marks[:-1]) if state.marks else state
        return replace(state, done=True)

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """Mark the point in the section in view."""
        return state if state.done else replace(state, marks=(*state.marks, (state.z, x, y)))

    def draw(self, world: World, state: State) -> View:
        """The section with its marks and those of its two neighbours."""
        marks = [_mark(x, y, own=z == state.z) for z, x, y in state.marks if abs(z - state.z) < 2]
        if state.z == 0:
            x, y = (int(c) for c in np.rint(world.centres[0]))
            marks.insert(0, Mark("cross", x, y, 6, TARGET))
        left = sorted(set(range(world.slices)) - {mark[0] for mark in state.marks})
        status = (
            ("Z", f"{state.z:02d}/{world.slices - 1:02d}"),
            ("Points", f"{len(state.marks):02d}"),
            ("Next", f"{left[0]:02d}" if left else "--"),
        )
        return View(state.z, tuple(marks), status=status)

    def latents(self, world: World, state: State) -> Latents:
        """Position is the section in view."""
        mistake = has_mistake(world, state)
        return Latents(
            position=state.z,
            position_count=world.slices,
            progress=len(right_slices(world, state)) / world.slices,
            mistake=mistake,
            mistake_kind="spatial" if mistake else "",
        )

    def phase(self, world: World, state: State, button: str) -> str:
        """Moving towards unmarked sections is annotating; looking at marked ones, verifying."""
        if button in ("Undo", "Done"):
            return "correct" if button == "Undo" else "finish"
        if button == "canvas":
            return "annotate"
        if not state.marks:
            return "explore"
        if has_mistake(world, state):
            return "verify"
        marked = {mark[0] for mark in state.marks}
        ahead = range(state.z + 1, world.slices) if button == "+z" else range(state.z)
        moving = button in ("+z", "-z")
        return "annotate" if moving and not marked.issuperset(ahead) else "verify"

    def score(self, world: World, state: State) -> Outcome:
        """Share of sections rightly marked; marks beyond one per section count against it."""
        right, marks = len(right_slices(world, state)), len(state.marks)
        share = right / max(world.slices, marks)
        counts = {
            "marks": float(marks),
            "right": float(right),
            "coverage": len({mark[0] for mark in state.marks}) / world.slices,
        }
        return Outcome(share, state.done and share >= SUCCESS_SHARE, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _mark(x: int, y: int, own: bool) -> Mark:
    return Mark("ring", x, y, 7, OWN) if own else Mark("dot", x, y, 2, NEAR)


_Followed = tuple[NDArray[np.uint8], NDArray[np.uint8], int, NDArray[np.float64]]


def _followed(tissue: Tissue, rng: np.random.Generator) -> _Followed | None:
    """Cells, gaps, a cell that can be followed through all sections, and its centres."""
    low, high = tissue.centres.min(axis=0), tissue.centres.max(axis=0)
    central = ((low > MARGIN + 8) & (high < CANVAS_SIZE - MARGIN - 8)).all(axis=1)
    fit = central & (tissue.radii.min(axis=0) > 9) & (tissue.radii.max(axis=0) < 27)
    fibres = np.flatnonzero(fit)
    if not len(fibres):
        return None
    cells, gap = section_cells(tissue)
    for fibre in rng.permutation(fibres)[:12]:
        target = int(tissue.owner[fibre])
        centres = _middles(cells == target, gap)
        if centres is not None and np.hypot(*np.diff(centres, axis=0).T).max() < 14:
            return cells, gap, target, centres
    return None


def _middles(inside: NDArray[np.bool_], gap: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """A cell's `middle` in each section [section, 2]; None if it has none in some section."""
    points = []
    for nodes, near in zip(inside, gap, strict=True):
        point = middle(nodes, near / GAP_UNIT)
        if point is None:
            return None
        points.append(point)
    return np.array(points)


def middle(
    inside: NDArray[np.bool_], depth: NDArray[np.float64], margin: float = MARGIN
) -> NDArray[np.float64] | None:
    """Canvas point (x, y) deep inside a cell and near its centre of mass.

    ``inside`` [side, side] are the cell's nodes, ``depth`` their distance to its membrane, px.
    None for a cell too narrow for a click, or nearer than ``margin`` px to the canvas's rim.
    """
    side = len(inside)
    y, x = np.nonzero(inside)
    deep = depth[y, x]
    if not len(x) or deep.max() < _LEAST_DEPTH:
        return None
    off = np.hypot(x - x.mean(), y - y.mean())
    best = np.where(deep >= max(_LEAST_DEPTH, 0.7 * deep.max()), off, np.inf).argmin()
    scale = CANVAS_SIZE / side
    point = np.array([(x[best] + 0.5) * scale - 0.5, (y[best] + 0.5) * scale - 0.5])
    outside = ((point < margin) | (point > CANVAS_SIZE - margin)).any()
    return None if outside else point
