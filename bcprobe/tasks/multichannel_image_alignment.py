"""Bring two channels of one field into register by pairs of landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import RGB, Label, Mark, Overlay, Stroke, View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.tasks.fluorescence_drawing import Field, draw_channel, place_cells, place_dirt
from bcprobe.tasks.rigid import Rigid, fixed_point, kabsch, move
from bcprobe.types import CANVAS_SIZE, Latents, Outcome

TOLERANCE = 6.0
SUCCESS_RESIDUAL, WORST_RESIDUAL = 3.0, 15.0
FEWEST, MOST = 3, 5
VIEWS = ("Ch1", "Ch2", "Overlay")
GREEN: RGB = (90, 240, 120)
MAGENTA: RGB = (255, 110, 235)
WHITE: RGB = (255, 255, 255)


@dataclass(frozen=True)
class Settings:
    """Difficulty: ``shift`` is the most the channels are shifted (px), ``turn`` the most they
    are turned (degrees), ``debris`` how many bright spots each channel has to itself,
    ``noise`` the noise in grey levels."""

    shift: float
    turn: float
    debris: int
    noise: float


SETTINGS = {
    "easy": Settings(shift=18.0, turn=3.0, debris=0, noise=4.0),
    "default": Settings(shift=36.0, turn=8.0, debris=1, noise=8.0),
    "hard": Settings(shift=40.0, turn=8.0, debris=3, noise=16.0),
}


@dataclass(frozen=True, eq=False)
class World:
    """A field and how channel 2 lies on it.

    ``first`` and ``second`` float [bead, 2] are the beads in channel 1 and 2 (canvas px),
    from top to bottom in channel 1; ``turn`` (rad) and ``shift`` [2] px take one to the other.
    """

    settings: Settings
    field: Field
    turn: float
    shift: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def to_second(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points [n, 2] of channel 1 lie in channel 2."""
        return move(points, self.turn, self.shift)


class Pick(NamedTuple):
    """A landmark's point in channel 1 or 2, or an alignment (channel 0)."""

    channel: int
    x: int = 0
    y: int = 0


@dataclass(frozen=True)
class State:
    """What is shown (`VIEWS`), and the picks in order: channel 1, channel 2, 1, 2, ..., Align."""

    view: str = "Ch1"
    picks: tuple[Pick, ...] = ()
    done: bool = False

    @property
    def aligned(self) -> bool:
        """Whether the channels were aligned."""
        return bool(self.picks) and self.picks[-1].channel == 0

    @property
    def firsts(self) -> tuple[Pick, ...]:
        """Points in channel 1."""
        return tuple(pick for pick in self.picks if pick.channel == 1)

    @property
    def seconds(self) -> tuple[Pick, ...]:
        """Points in channel 2; one fewer than `firsts` while one is due."""
        return tuple(pick for pick in self.picks if pick.channel == 2)

    @property
    def due(self) -> bool:
        """Whether the last landmark lacks its point in channel 2."""
        return len(self.firsts) > len(self.seconds)


def bead_at(beads: NDArray[np.float64], pick: Pick) -> int | None:
    """Number of the bead within `TOLERANCE` px of a point."""
    for number, (x, y) in enumerate(beads.tolist()):
        if math.hypot(x - pick.x, y - pick.y) <= TOLERANCE:
            return number
    return None


def paired_beads(world: World, state: State) -> tuple[int, ...]:
    """Beads whose landmark is right in both channels, each once."""
    firsts, seconds = _beads_of(world, state.picks)
    pairs = zip(firsts, seconds, strict=False)
    return tuple(dict.fromkeys(a for a, b in pairs if a is not None and a == b))


def has_mistake(world: World, state: State) -> bool:
    """Whether a point is on no bead, on a bead used before, or on another bead than its partner."""
    firsts, seconds = _beads_of(world, state.picks)
    return None in firsts or len(set(firsts)) < len(firsts) or seconds != firsts[: len(seconds)]


@lru_cache(maxsize=512)
def _beads_of(
    world: World, picks: tuple[Pick, ...]
) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """The bead under each point of channel 1, and of channel 2."""
    return (
        tuple(bead_at(world.first, pick) for pick in picks if pick.channel == 1),
        tuple(bead_at(world.second, pick) for pick in picks if pick.channel == 2),
    )


def estimate(state: State) -> Rigid:
    """Rigid transform estimated from the pairs."""
    pairs = zip(state.firsts, state.seconds, strict=False)
    return kabsch(tuple((a.x, a.y, b.x, b.y) for a, b in pairs))


def residual(world: World, state: State) -> float:
    """Mean distance in px between where the estimate and the truth put a grid of points."""
    turn, shift = estimate(state)
    axis = np.linspace(32, CANVAS_SIZE - 32, 5)
    hidden = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return float(np.hypot(*(hidden @ turn.T + shift - world.to_second(hidden)).T).mean())


class MultichannelImageAlignment:
    """Multichannel image alignment.

    Description: nuclei (channel 1) and membranes (channel 2) of one field, shifted and turned
    against each other. Bright round beads show in both; dirt shows in one only.
    Instruction: click a bead in Ch1, switch, click it in Ch2; when all beads are paired press
    Align, look at the overlay, and press Done.
    Actions: Ch1, Ch2, Overlay, Align (from three pairs on), Undo, Done, clicks in Ch1 and Ch2.
    Observation: the channel with its numbered points; in Ch2 a cross where the point due lies in
    Ch1; in the overlay both channels (green, magenta) and lines between the points.
    Success: Done, aligned, and hidden points within 3 px on average.
    Settings: `Settings` (easy, default, hard).
    Latents: position is the pair being made; a mistake (spatial) is a point on no bead or on
    another bead; progress is the share of beads rightly paired, and the alignment.
    """

    name = "multichannel_image_alignment"
    title = "Multichannel image alignment"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        *(Button(name, name, "view", "Channel", "view") for name in VIEWS),
        Button("Align", "Align", "commit", "Register", "forward"),
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw a field, and a shift and turn that keep all beads in both channels."""
        settings = SETTINGS[difficulty]
        while True:
            turn = math.radians(rng.uniform(-settings.turn, settings.turn))
            bearing, size = rng.uniform(0, 2 * np.pi), settings.shift * math.sqrt(rng.random())
            shift = size * np.array([np.cos(bearing), np.sin(bearing)])
            first = _spread(int(rng.integers(FEWEST, MOST + 1)), 58.0, rng)
            second = move(first, turn, shift)
            if second.min() >= 16 and second.max() <= CANVAS_SIZE - 16:
                break
        first, second = first[order := np.argsort(first[:, 1])], second[order]
        field = Field(
            cells=place_cells(rng),
            beads=first,
            debris=(
                place_dirt(first, settings.debris, rng),
                place_dirt(second, settings.debris, rng),
            ),
            texture=int(rng.integers(1 << 30)),
        )
        return World(settings, field, turn, shift, first, second)

    def images(self, world: World) -> NDArray[np.uint8]:
        """Channel 1, channel 2, both again in green and magenta: uint8 [4, 256, 256, 3]."""
        field, noise = world.field, world.settings.noise
        moved = field.cells.copy()
        moved[:, :2] = world.to_second(field.cells[:, :2])
        moved[:, 4] += world.turn
        grey = [
            draw_channel(field, 0, field.cells, world.first, noise),
            draw_channel(field, 1, moved, world.second, noise),
        ]
        images = np.zeros((4, CANVAS_SIZE, CANVAS_SIZE, 3), dtype=np.uint8)
        images[0], images[1] = grey[0][..., None], grey[1][..., None]
        images[2, ..., 1] = grey[0]
        images[3, ..., 0] = images[3, ..., 2] = grey[1]
        return images

    def open(self, world: World) -> State:
        """Channel 1, no landmarks."""
        return State()

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """Ch1, Ch2, Overlay, Align, Undo, Done."""
        ready = len(state.seconds) >= FEWEST and not state.due and not state.aligned
        return (
            *(ButtonState(active=name == state.view) for name in VIEWS),
            ButtonState(enabled=ready, ticked=state.aligned),
            ButtonState(enabled=bool(state.picks)),
            ButtonState(),
        )

    def press(self, world: World, state: State, button: str) -> State:
        """Show a channel or both, align, take the last pick back, or finish."""
        if state.done:
            return state
        if button in VIEWS:
            return replace(state, view=button)
        if button == "Align":
            ready = self.states(world, state)[3].enabled
            return replace(state, picks=(*state.picks, Pick(0))) if ready else state
        if button == "Undo":
            return replace(state, picks=state.picks[:-1])
        return replace(state, done=True) if button == "Done" else state

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """A landmark's point in channel 1, or the one due in channel 2, in the channel shown."""
        channel = 2 if state.due else 1
        if state.done or state.aligned or state.view != VIEWS[channel - 1]:
            return state
        return replace(state, picks=(*state.picks, Pick(channel, x, y)))

    def draw(self, world: World, state: State) -> View:
        """The channel or the overlay, with its points."""
        status = (
            ("View", state.view.ljust(7)),
            ("Pairs", str(len(state.seconds))),
            ("Next", "Ch2" if state.due else "Ch1"),
        )
        if state.view == "Overlay":
            return self._overlay(state, status)
        channel = VIEWS.index(state.view)
        points = state.seconds if channel else state.firsts
        marks = tuple(Mark("ring", p.x, p.y, 8, WHITE) for p in points)
        labels = tuple(Label(str(i + 1), p.x + 12, p.y - 9, WHITE) for i, p in enumerate(points))
        if channel and state.due:
            ghost = state.firsts[-1]
            marks += (Mark("cross", ghost.x, ghost.y, 4, GREEN),)
            labels += (Label(str(len(state.firsts)), ghost.x + 12, ghost.y - 9, GREEN),)
        return View(channel, marks, (), status, labels)

    def _overlay(self, state: State, status: tuple[tuple[str, str], ...]) -> View:
        """Both channels; before Align as they are, after it with channel 2 brought back."""
        seconds = [(p.x, p.y) for p in state.seconds]
        matrix = Overlay(3).matrix
        if state.aligned:
            turn, shift = estimate(state)
            matrix = fixed_point(turn, shift)
            seconds = [_rounded(turn.T @ (np.array(p) - shift)) for p in seconds]
        pairs = list(zip(state.firsts, seconds, strict=False))
        return View(
            2,
            tuple(Mark("ring", a.x, a.y, 8, GREEN) for a in state.firsts)
            + tuple(Mark("ring", x, y, 8, MAGENTA) for x, y in seconds),
            tuple(Stroke(a.x, a.y, *b, WHITE, 1) for a, b in pairs),
            status,
            tuple(Label(str(i + 1), a.x + 12, a.y - 9, GREEN) for i, a in enumerate(state.firsts)),
            Overlay(3, matrix),
        )

    def latents(self, world: World, state: State) -> Latents:
        """Position is the pair being made."""
        mistake = has_mistake(world, state)
        beads = len(world.first)
        right = len(paired_beads(world, state)) + (state.aligned and not mistake)
        return Latents(
            position=min(len(state.seconds), MOST - 1),
            position_count=MOST,
            progress=right / (beads + 1),
            mistake=mistake,
            mistake_kind="spatial" if mistake else "",
        )

    def phase(self, world: World, state: State, button: str) -> str:
        """Looking before the first landmark explores, after Align or at a mistake it verifies."""
        if button in ("Undo", "Done"):
            return "correct" if button == "Undo" else "finish"
        if state.aligned or (button == "Overlay" and state.picks):
            return "verify"
        if button not in VIEWS or (state.picks and not has_mistake(world, state)):
            return "annotate"
        return "verify" if state.picks else "explore"

    def score(self, world: World, state: State) -> Outcome:
        """1 up to a residual of 3 px, falling to 0 at 15 px; 0 while not aligned."""
        off = residual(world, state) if state.aligned else math.inf
        span = WORST_RESIDUAL - SUCCESS_RESIDUAL
        score = min(1.0, max(0.0, (WORST_RESIDUAL - off) / span)) if state.aligned else 0.0
        counts = {"pairs": float(len(state.seconds)), "aligned": float(state.aligned)}
        if state.aligned:
            counts |= {"residual": off, "landmark_error": _landmark_error(world, state)}
        return Outcome(score, state.done and off <= SUCCESS_RESIDUAL, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _landmark_error(world: World, state: State) -> float:
    """Mean distance in px between the second points and where their first ones lie."""
    firsts = np.array([(p.x, p.y) for p in state.firsts], dtype=float)
    seconds = np.array([(p.x, p.y) for p in state.seconds], dtype=float)
    return float(np.hypot(*(world.to_second(firsts) - seconds).T).mean())


def _rounded(point: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _spread(count: int, apart: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points [count, 2] well inside the canvas and that far apart."""
    kept: list[NDArray[np.float64]] = []
    while len(kept) < count:
        point = rng.uniform(36, CANVAS_SIZE - 36, 2)
        if all(math.dist(point, other) >= apart for other in kept):
            kept.append(point)
    return np.stack(kept)
