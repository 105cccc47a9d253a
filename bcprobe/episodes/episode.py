"""An episode: a world worked click by click, kept as seeds and clicks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bcprobe.types import GENERATOR_VERSION, Click, Latents, Outcome

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One click with what it hit and the latents of the state before it.

    ``widget`` is the button's name, ``canvas`` for the canvas, or empty. ``valid`` says
    that the click changed the state. ``undo_next`` says that this click is an Undo. ``time_ms``
    is when a person made it, in ms since the opening screen by a monotonic clock; None where
    no person was at work.
    """

    click: Click
    widget: str
    action: str
    valid: bool
    phase: str
    latents: Latents
    time_ms: float | None = None

    @property
    def undo_next(self) -> bool:
        """Whether this click presses Undo."""
        return self.action == "undo"


@dataclass(frozen=True, repr=False)
class Episode:
    """A world worked click by click: seeds and clicks, never pixels.

    ``origin`` names who clicked (``annotator``, ``model``, ``random``, ``person``...).
    ``frame_hash`` is the SHA-256 over all frames shown, in order, as uint8 RGB. ``recording``
    tells how a person's clicks were recorded (``viewport``, ``device``, ``name`` if one was
    given), and is empty for all others.
    """

    task: str
    layout: str
    difficulty: str
    world_seed: int
    annotator_seed: int
    persona: dict[str, float]
    origin: str
    steps: tuple[Step, ...]
    outcome: Outcome
    frame_hash: str
    generator_version: int = GENERATOR_VERSION
    recording: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return (
            f"Episode({self.task!r}, world {self.world_seed}, {len(self)} clicks by "
            f"{self.origin}, {self.result})"
        )

    @property
    def result(self) -> str:
        """Whether it was solved, and its score, in words."""
        word = "not solved" if self.outcome.done else "not finished"
        return f"{'success' if self.outcome.success else word}, score {self.outcome.score:.2f}"

    def as_tensors(self) -> tuple[Tensor, Tensor]:
        """Frames uint8 [1, frame, 3, 360, 480] and previous clicks int64 [1, frame, 2] in px.

        They are what a model takes: ``model(*episode.as_tensors())``. The previous click of the
        first frame is (-1, -1). Frames lie channels last in memory.
        """
        from bcprobe.episodes.sequences import PackedEpisodes

        return PackedEpisodes([self]).as_tensors()[:2]

    def _repr_html_(self) -> str:
        """What Jupyter shows: some screens, the timeline, the outcome."""
        from bcprobe.episodes.html import to_html

        return to_html(self)
