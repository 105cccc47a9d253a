"""Link cells from frame to frame through their divisions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import RGB, Label, Mark, Stroke, View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.tasks.cell_drawing import draw_movie
from bcprobe.tasks.cell_movies import SETTINGS, Settings, World, grow
from bcprobe.tasks.lineage_tree import Entry, Node, Place, Tree, read_tree
from bcprobe.types import Latents, Outcome

#: A click within so many px of a cell's centre is on that cell.
TOLERANCE = 8.0
SUCCESS_F1 = 0.9
#: Okabe and Ito's colours, one per founder and its descendants.
COLOURS: tuple[RGB, ...] = ((86, 180, 233), (230, 159, 0), (0, 200, 130), (240, 110, 190))
_DUE: RGB = (240, 228, 66)


@dataclass(frozen=True)
class State:
    """Frame in view and the stack of links and Divides, see `lineage_tree`."""

    t: int = 0
    entries: tuple[Entry, ...] = ()
    done: bool = False


def founders_of(world: World) -> tuple[Place, ...]:
    """Places of the founders in the first frame, in whole px."""
    return tuple((round(x), round(y)) for _, x, y in world.present[0])


def tree_of(world: World, state: State) -> Tree:
    """What the state's stack says."""
    return read_tree(state.entries, founders_of(world), world.frames)


def cell_at(world: World, frame: int, x: float, y: float) -> int | None:
    """The cell within `TOLERANCE` px of a point, or None."""
    for cell, cx, cy in world.present[frame]:
        if math.hypot(cx - x, cy - y) <= TOLERANCE:
            return cell
    return None


def cell_of(world: World, node: Node) -> int | None:
    """The cell a node lies on, or None."""
    return cell_at(world, node.frame, node.x, node.y)


@dataclass(frozen=True)
class Verdict:
    """``right`` counts links that are in the truth, ``made`` all; ``kind`` of the last mistake."""

    right: int
    made: int
    kind: str


@lru_cache(maxsize=512)
def judge(world: World, entries: tuple[Entry, ...]) -> Verdict:
    """How a stack of links compares with the truth."""
    tree = read_tree(entries, founders_of(world), world.frames)
    right, kind = 0, ""
    cells = [cell_of(world, node) for node in tree.nodes]
    taken: set[tuple[int, int]] = set()
    for number in sorted(tree.divided):
        cell, frame = cells[number], tree.nodes[number].frame + 1
        if cell is None or len(world.children(cell, frame)) < 2:
            kind = "structural"
    for number in range(world.founders, len(tree.nodes)):
        node = tree.nodes[number]
        parent, cell = cells[node.parent], cells[number]
        children = () if parent is None else world.children(parent, node.frame)
        linked = cell in children and (node.frame, cell) not in taken
        right += linked
        if cell is not None:
            taken.add((node.frame, cell))
        if len(children) == 2 and node.parent not in tree.divided:
            kind = "structural"
        elif not linked:
            kind = "spatial" if cell is None else "identity"
    return Verdict(right, len(tree.nodes) - world.founders, kind)


def link_count(world: World) -> int:
    """Links in the truth: every cell of every frame but the first has one to its parent."""
    return sum(len(cells) for cells in world.present[1:])


class CellLineageTracking:
    """Cell lineage tracking.

    Description: a movie (fluorescence or phase contrast) of cells that wander, round up, pinch
    and divide, among drifting debris. The founders carry colours in the first frame.
    Instruction: frame by frame, click what the cell that is due has become; at a division
    press Divide first and click both daughters; +t when all are linked; Done at the end.
    Actions: +t, -t, Divide, Undo, Done, clicks on the frame in which links are missing.
    Observation: the frame; its linked cells as rings in the lineage's colour with a line from
    where they were; unlinked ones of the frame before as dots, the one due ringed in yellow.
    Success: Done, and F1 of parent-child links at least 0.9.
    Settings: `bcprobe.tasks.cell_movies.Settings` (easy, default, hard).
    Latents: position is the frame; a mistake is a link to the wrong cell (identity) or to none
    (spatial), an ordinary link at a division or a Divide where there is none (structural);
    progress is the share of links that stand and are right.
    """

    name = "cell_lineage_tracking"
    title = "Cell lineage tracking"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        Button("+t", "+t", "navigate", "Frame", "forward"),
        Button("-t", "-t", "navigate", "Frame", "back"),
        Button("Divide", "Divide", "select", "Event", "select"),
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw a movie's truth."""
        return grow(rng, SETTINGS[difficulty])

    def images(self, world: World) -> NDArray[np.uint8]:
        """The movie: uint8 [frames, 256, 256, 3]."""
        return draw_movie(world)

    def open(self, world: World) -> State:
        """First frame, nothing linked."""
        return State()

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """+t, -t, Divide, Undo, Done."""
        tree = tree_of(world, state)
        here = tree.due is not None and tree.frame == state.t
        on = here and tree.due in tree.divided
        return (
            ButtonState(enabled=state.t < world.frames - 1),
            ButtonState(enabled=state.t > 0),
            ButtonState(enabled=here and not on, active=on),
            ButtonState(enabled=bool(state.entries)),
            ButtonState(),
        )

    def press(self, world: World, state: State, button: str) -> State:
        """Move, announce a division of the cell that is due, take back, or finish."""
        if state.done:
            return state
        if button in ("+t", "-t"):
            t = state.t + (1 if button == "+t" else -1)
            return replace(state, t=t) if 0 <= t < world.frames else state
        if button == "Divide":
            free = self.states(world, state)[2].enabled
            return replace(state, entries=(*state.entries, None)) if free else state
        if button == "Undo":
            return replace(state, entries=state.entries[:-1])
        return replace(state, done=True) if button == "Done" else state

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """Link the cell that is due to a point of the frame in which it is due."""
        tree = tree_of(world, state)
        if state.done or tree.due is None or tree.frame != state.t:
            return state
        return replace(state, entries=(*state.entries, (x, y)))

    def draw(self, world: World, state: State) -> View:
        """The frame, its links, and the cells of the frame before that lack one."""
        tree = tree_of(world, state)
        here = [tree.nodes[n] for n in tree.at(state.t)]
        before = [n for n in tree.at(state.t - 1) if not tree.children(n)]
        due = tree.due if tree.frame == state.t else None
        marks = [Mark("dot", *_place(tree, n), 2, _colour(tree.nodes[n])) for n in before]
        labels = [Label(str(n.founder + 1), n.x + 13, n.y - 11, _colour(n)) for n in here]
        if due is not None:
            marks += [Mark("ring", *_place(tree, due), 6, _DUE)]
            if due in tree.divided:
                marks += [Mark("ring", *_place(tree, due), 10, _DUE)]
        marks += [Mark("ring", node.x, node.y, 8, _colour(node)) for node in here]
        lines = [Stroke(*_place(tree, n.parent), n.x, n.y, _colour(n), 1)
                 for n in here if n.parent >= 0]  # fmt: skip
        status = (
            ("T", f"{state.t:02d}/{world.frames - 1:02d}"),
            ("Due", "-" if due is None else str(tree.nodes[due].founder + 1)),
            ("Links", f"{len(state.entries) - len(tree.divided):02d}"),
        )
        return View(state.t, tuple(marks), tuple(lines), status, tuple(labels))

    def latents(self, world: World, state: State) -> Latents:
        """Position is the frame in view."""
        verdict = judge(world, state.entries)
        return Latents(
            position=state.t,
            position_count=world.frames,
            progress=verdict.right / link_count(world),
            mistake=bool(verdict.kind),
            mistake_kind=verdict.kind,
        )

    def phase(self, world: World, state: State, button: str) -> str:
        """Moving towards the frame in which links are missing is annotating, else verifying."""
        if button in ("Undo", "Done"):
            return "correct" if button == "Undo" else "finish"
        if button not in ("+t", "-t"):
            return "annotate"
        if not state.entries:
            return "explore"
        frame = tree_of(world, state).frame
        towards = frame > state.t if button == "+t" else frame < state.t
        left = frame < world.frames and not judge(world, state.entries).kind
        return "annotate" if left and towards else "verify"

    def score(self, world: World, state: State) -> Outcome:
        """F1 over parent-child links, those of divisions included."""
        verdict, wanted = judge(world, state.entries), link_count(world)
        f1 = 2 * verdict.right / (verdict.made + wanted)
        counts = {"links": float(verdict.made), "right": float(verdict.right)}
        return Outcome(f1, state.done and f1 >= SUCCESS_F1, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _place(tree: Tree, number: int) -> Place:
    return tree.nodes[number].x, tree.nodes[number].y


def _colour(node: Node) -> RGB:
    return COLOURS[node.founder]
