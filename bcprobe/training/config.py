"""What a training run is, as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.annotators import ANNOTATORS
from bcprobe.errors import InputError, check_name
from bcprobe.gui.layouts import LAYOUTS
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.tasks import get_task
from bcprobe.training.shards import DataConfig
from bcprobe.types import ACTIONS

OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True)
class Experiment:
    """Everything a run's weights depend on; saved beside everything made from it.

    ``frames`` is the length of the run in frames (one frame, one click to predict). A batch
    holds ``rows`` rows of ``row_length`` consecutive frames. The learning rate rises over
    ``warmup`` frames, then falls along a cosine to ``final_lr`` times ``lr``; ``muon_lr``
    is that of hidden matrices when ``optimizer`` is ``muon``. ``action_weights`` weighs the
    loss of some actions (others 1); reported losses are never weighted, but that of training on
    whole distributions (``data.soft``) is to the weighted one. A step is saved
    whenever the frames seen pass a power of two from ``first_save`` on. ``start_from`` is the
    checkpoint of the same shape whose weights the run starts from; empty: random ones. With
    ``minutes`` (0: none) time and not ``frames`` ends the run, and warm-up takes at most a tenth.
    """

    name: str
    data: DataConfig = field(default_factory=DataConfig)
    model: ClickTransformerConfig = field(default_factory=ClickTransformerConfig)
    model_seed: int = 0
    frames: int = 1 << 20
    rows: int = 4
    row_length: int = 32
    optimizer: str = "adamw"
    lr: float = 1e-3
    muon_lr: float = 0.01
    final_lr: float = 0.1
    warmup: int = 1 << 14
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05
    grad_clip: float = 1.0
    action_weights: tuple[tuple[str, float], ...] = ()
    first_save: int = 1 << 10
    validate_every: int = 1 << 16
    validation_episodes: int = 12
    start_from: str = ""
    minutes: float = 0.0

    def __post_init__(self) -> None:
        check_name("optimizer", self.optimizer, OPTIMIZERS)
        for task in self.data.tasks:
            check_name("difficulty", self.data.difficulty, get_task(task).settings)
            if task not in ANNOTATORS:
                raise InputError(
                    f"task '{task}' has no annotator, so there is nothing to learn from and no "
                    "answer where clicks are disturbed; add one to bcprobe/annotators"
                )
        for layout in self.data.layouts:
            check_name("layout", layout, LAYOUTS)
        for action, weight in self.action_weights:
            check_name("action", action, ACTIONS)
            if not weight > 0:
                raise InputError(f"the weight of action '{action}' is {weight}, not above 0")
        if not 0 <= self.minutes < math.inf:
            raise InputError(f"minutes is {self.minutes}; it must be above 0")
        if self.frames < self.batch_frames:
            raise InputError(
                f"frames is {self.frames}; one batch of '{self.name}' has {self.batch_frames}"
            )

    @property
    def weights(self) -> NDArray[np.float64]:
        """How much each kind of click counts in the loss: float64 [action]."""
        weights = dict(self.action_weights)
        return np.array([weights.get(action, 1.0) for action in ACTIONS])

    @property
    def batch_frames(self) -> int:
        """Frames in a batch."""
        return self.rows * self.row_length

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run; the last one ends at or after ``frames``."""
        return -(-self.frames // self.batch_frames)

    def as_dict(self) -> dict[str, Any]:
        """Plain form, as saved: JSON and back changes nothing."""
        plain = asdict(self)
        plain["model"] = self.model.as_dict()
        plain["betas"] = list(self.betas)
        plain["action_weights"] = [list(pair) for pair in self.action_weights]
        plain["data"] = self.data.as_dict()
        return plain


def saved_step(experiment: Experiment, frames: int) -> int | None:
    """The step, named by frames, that is saved after the batch that ends at ``frames``; or None.

    Steps are 0 and the powers of two from ``first_save`` on, each saved at the first batch that
    reaches it.
    """
    if frames == 0:
        return 0
    power = 1 << frames.bit_length() - 1  # the largest that was reached
    if not experiment.minutes:
        power = min(power, 1 << experiment.frames.bit_length() - 1)
    new = frames - experiment.batch_frames < power
    return power if new and power >= experiment.first_save else None


def is_validated(experiment: Experiment, frames: int) -> bool:
    """Whether a run is validated after the batch that ends at ``frames``.

    At the start, then twice an octave from ``first_save`` on and every ``validate_every`` frames;
    the end comes beside these.
    """
    before = frames - experiment.batch_frames
    octaves = (round(experiment.first_save * 2 ** (k / 2)) for k in range(80))
    even = frames // experiment.validate_every > max(before, 0) // experiment.validate_every
    return frames == 0 or even or any(before < wanted <= frames for wanted in octaves)
