"""Turn ring-shaped complexes until their seam shows, and say which class each is of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bcprobe.gui.view import View
from bcprobe.gui.widgets import Button, ButtonState
from bcprobe.tasks.hexamer_drawing import (
    AZIMUTHS,
    CENTRE,
    ELEVATIONS,
    HALF,
    ICON_NAMES,
    SPIRAL_GAP,
    axes_shown,
    colored,
    complex_points,
    draw_complex,
    ground_levels,
    palette,
    turned,
)
from bcprobe.types import CANVAS_SIZE, Latents, Outcome

OBJECTS = 3
#: Left-handed spiral, right-handed spiral, closed ring, open ring.
CLASSES = ("A", "B", "C", "D")
CLOSED = 2
LEVEL = ELEVATIONS.index(0)
#: Azimuth steps at which a seam may face the camera: never in the opening view.
SEAMS = (2, 10)
VIEWS = AZIMUTHS * len(ELEVATIONS)


@dataclass(frozen=True)
class Settings:
    """Difficulty of three complexes.

    ``gap``: degrees missing in an open ring; ``rise``: climb of a spiral in radii of the ring;
    ``tilt``: the most a complex leans, degrees; ``rough``: standard deviation of its surface
    in radii; ``specks``: specks of debris around it.
    """

    gap: float
    rise: float
    tilt: float
    rough: float
    specks: int


SETTINGS = {
    "easy": Settings(gap=60, rise=1.0, tilt=3, rough=0.008, specks=10),
    "default": Settings(gap=48, rise=0.85, tilt=6, rough=0.02, specks=40),
    "hard": Settings(gap=36, rise=0.6, tilt=10, rough=0.04, specks=90),
}


@dataclass(frozen=True, eq=False)
class World:
    """Three complexes: classes (0-3), seams (azimuth steps), and opening elevations (index).

    ``points`` and ``normals`` float [3, n, 3], ``specks`` float [3, m, 3] in radii of the
    ring; ``hues`` float [3, 3] RGB 0-1.
    """

    classes: tuple[int, ...]
    seams: tuple[int, ...]
    openings: tuple[int, ...]
    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    specks: NDArray[np.float64]
    hues: NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """Object in view, its azimuth step and elevation index, and the classes named so far.

    ``labels`` holds ``(class, azimuth, elevation)`` of the objects in turn.
    """

    index: int
    azimuth: int
    elevation: int
    labels: tuple[tuple[int, int, int], ...] = ()
    done: bool = False

    @property
    def labelled(self) -> bool:
        """Whether the object in view has a class."""
        return len(self.labels) > self.index


def has_mistake(world: World, state: State) -> bool:
    """Whether an object was given a class that is not its own."""
    return any(label[0] != truth for label, truth in zip(state.labels, world.classes, strict=False))


class ExplorationClassification:
    """3-D exploration and classification.

    Description: three protein complexes of six subunits, one after the other, drawn as shaded
    points among debris. Each is a left-handed spiral (A), a right-handed spiral (B), a closed
    ring (C) or an open ring (D), and shows it only where its seam can be seen.
    Instruction: turn each complex until its seam shows, choose its class, press Next; after
    the last one press Done.
    Actions: Left, Right, Up, Down (30 degrees), A, B, C, D, Next, Undo, Done.
    Observation: the complex from the side in view, axes that turn with it, and a picture of
    each class with its seam in front. The class chosen is lit.
    Success: Done, and all three classes right.
    Settings: `Settings` (easy, default, hard).
    Latents: position is the object; azimuth and elevation in degrees; a mistake (categorical)
    is a wrong class; progress is the share of objects rightly named.
    """

    name = "3d_exploration_classification"
    title = "3-D exploration and classification"
    settings: dict[str, Settings] = SETTINGS
    buttons: tuple[Button, ...] = (
        Button("Left", "Left", "navigate", "Rotate", "back"),
        Button("Right", "Right", "navigate", "Rotate", "forward"),
        Button("Up", "Up", "navigate", "Rotate", "forward"),
        Button("Down", "Down", "navigate", "Rotate", "back"),
        *(Button(name, name, "classify", "Class", "select") for name in CLASSES),
        Button("Next", "Next", "commit", "Object", "view"),
        Button("Undo", "Undo", "undo", "", "undo"),
        Button("Done", "Done", "done", "", "done"),
    )

    def sample(self, rng: np.random.Generator, difficulty: str = "default") -> World:
        """Draw three complexes, each with a class, a seam and a lean."""
        settings = SETTINGS[difficulty]
        classes = tuple(int(c) for c in rng.integers(len(CLASSES), size=OBJECTS))
        seams = tuple(int(s) for s in rng.integers(SEAMS[0], SEAMS[1] + 1, size=OBJECTS))
        shapes = [_shape(settings, c, s, rng) for c, s in zip(classes, seams, strict=True)]
        specks = rng.normal(size=(OBJECTS, settings.specks, 3))
        specks *= rng.uniform(1.25, 1.6, (OBJECTS, settings.specks, 1)) / np.linalg.norm(
            specks, axis=2, keepdims=True
        )
        return World(
            classes=classes,
            seams=seams,
            openings=tuple(int(e) for e in rng.choice([0, 1, 3, 4], size=OBJECTS)),
            points=np.stack([points for points, _ in shapes]),
            normals=np.stack([normals for _, normals in shapes]),
            specks=specks,
            hues=np.sort(rng.uniform(0.35, 0.95, size=(OBJECTS, 3)), axis=1)[:, rng.permutation(3)],
        )

    def images(self, world: World) -> NDArray[np.uint8]:
        """Every object from every side, uint8 [180, 256, 256, 3]: object, azimuth, elevation."""
        ground = ground_levels()
        (x, y), shape = CENTRE, (OBJECTS, VIEWS, CANVAS_SIZE, CANVAS_SIZE, 3)
        window = slice(y - HALF, y + HALF), slice(x - HALF, x + HALF)
        out = np.empty(shape, dtype=np.uint8)
        for number in range(OBJECTS):
            sides = draw_complex(
                world.points[number], world.normals[number], world.specks[number], ground[window]
            )
            colors = palette(world.hues[number])
            out[number] = colored(ground, colors)
            out[number, :, window[0], window[1]] = colored(sides, colors)
        return out.reshape(OBJECTS * VIEWS, CANVAS_SIZE, CANVAS_SIZE, 3)

    def open(self, world: World) -> State:
        """First object, azimuth 0, seen from above or below."""
        return State(0, 0, world.openings[0])

    def states(self, world: World, state: State) -> tuple[ButtonState, ...]:
        """Left, Right, Up, Down, A, B, C, D, Next, Undo, Done."""
        named = state.labels[state.index][0] if state.labelled else -1
        turns = (True, True, state.elevation < len(ELEVATIONS) - 1, state.elevation > 0)
        return (
            *(ButtonState(enabled=turn) for turn in turns),
            *(ButtonState(not state.labelled or c == named, c == named) for c in range(4)),
            ButtonState(enabled=state.labelled and state.index < OBJECTS - 1),
            ButtonState(enabled=bool(state.labels)),
            ButtonState(),
        )

    def press(self, world: World, state: State, button: str) -> State:
        """Turn the object, name its class, go to the next, take the last class back, finish."""
        if state.done:
            return state
        if button in ("Left", "Right"):
            azimuth = (state.azimuth + (1 if button == "Right" else -1)) % AZIMUTHS
            return replace(state, azimuth=azimuth)
        if button in ("Up", "Down"):
            elevation = state.elevation + (1 if button == "Up" else -1)
            inside = 0 <= elevation < len(ELEVATIONS)
            return replace(state, elevation=elevation) if inside else state
        if button in CLASSES:
            label = (CLASSES.index(button), state.azimuth, state.elevation)
            return state if state.labelled else replace(state, labels=(*state.labels, label))
        if button == "Next":
            return _next(world, state)
        return _undo(state) if button == "Undo" else replace(state, done=True)

    def place(self, world: World, state: State, x: int, y: int) -> State:
        """Nothing answers on the canvas."""
        return state

    def draw(self, world: World, state: State) -> View:
        """The object from the side in view, its axes, and the names of the four pictures."""
        degrees = ELEVATIONS[state.elevation]
        named = CLASSES[state.labels[state.index][0]] if state.labelled else "-"
        view = state.index * VIEWS + state.azimuth * len(ELEVATIONS) + state.elevation
        strokes, labels = axes_shown(state.azimuth, state.elevation)
        status = (
            ("Object", f"{state.index + 1}/{OBJECTS}"),
            ("Az", f"{360 // AZIMUTHS * state.azimuth:03d}"),
            ("El", f"{degrees:+03d}"),
            ("Class", named),
        )
        return View(view, (), strokes, status, (*labels, *ICON_NAMES))

    def latents(self, world: World, state: State) -> Latents:
        """Position is the object in view, with the side it is seen from."""
        mistake = has_mistake(world, state)
        return Latents(
            position=state.index,
            position_count=OBJECTS,
            progress=_right(world, state) / OBJECTS,
            mistake=mistake,
            mistake_kind="categorical" if mistake else "",
            azimuth=float(360 // AZIMUTHS * state.azimuth),
            elevation=float(ELEVATIONS[state.elevation]),
        )

    def phase(self, world: World, state: State, button: str) -> str:
        """Turning an object without a class is exploring; turning a named one is verifying."""
        if button in ("Undo", "Done"):
            return "correct" if button == "Undo" else "finish"
        if button in CLASSES or button == "Next":
            return "annotate"
        return "verify" if state.labelled or has_mistake(world, state) else "explore"

    def score(self, world: World, state: State) -> Outcome:
        """Share of the objects whose class is right."""
        right = _right(world, state)
        counts = {"named": float(len(state.labels)), "right": float(right)}
        return Outcome(right / OBJECTS, state.done and right == OBJECTS, state.done, counts)

    def done(self, state: State) -> bool:
        """Whether Done was pressed."""
        return state.done


def _right(world: World, state: State) -> int:
    return sum(label[0] == truth for label, truth in zip(state.labels, world.classes, strict=False))


def _next(world: World, state: State) -> State:
    index = state.index + 1
    if not state.labelled or index == OBJECTS:
        return state
    return State(index, 0, world.openings[index], state.labels)


def _undo(state: State) -> State:
    """Without the last class; one of an earlier object is shown as it was when it was named."""
    if not state.labels:
        return state
    rest = state.labels[:-1]
    if state.labelled:
        return replace(state, labels=rest)
    _, azimuth, elevation = state.labels[-1]
    return State(len(rest), azimuth, elevation, rest)


def _shape(
    settings: Settings, kind: int, seam: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and normals [n, 3] of a complex of a class, leaning, with its seam at an azimuth."""
    gap = (SPIRAL_GAP, SPIRAL_GAP, 0.0, settings.gap)[kind]
    rise = (-settings.rise, settings.rise, 0.0, 0.0)[kind]
    points, normals = complex_points(gap, rise, 70)
    points = points + rng.normal(0, settings.rough, size=points.shape)
    turn = 360 / AZIMUTHS * seam + rng.uniform(-8, 8)
    spin = turned(turn, lean=rng.uniform(0, settings.tilt), way=rng.uniform(0, 360))
    return points @ spin.T, normals @ spin.T
