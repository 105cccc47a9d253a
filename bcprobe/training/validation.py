"""A small fixed set of held-out episodes, looked at again and again while training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bcprobe.episodes.sequences import overlapping_rows, predict
from bcprobe.episodes.simulator import Simulator
from bcprobe.model.precision import products_in
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed
from bcprobe.tasks.base import State
from bcprobe.training.batch import Batch, PackedRecordings, frame_buffer
from bcprobe.training.config import Experiment
from bcprobe.training.recording import EpisodeKey, Recording, record
from bcprobe.types import ACTIONS, PLACE_TOLERANCE, Click

#: Columns of ``validation.parquet``. ``valid``: share of predicted clicks that would change
#: the state; ``accuracy_place``: share of right placements met within 5 px;
#: ``accuracy_button``: share of all button clicks whose prediction lies in the same button,
#: and the same for each kind of action; ``n_...``: clicks behind each number.
VALIDATION_COLUMNS = (
    "step", "frames", "seconds", "loss", "valid", "accuracy_button",
    *(f"{column}_{action}" for action in ACTIONS for column in ("nll", "accuracy", "n")),
)  # fmt: skip
_PLACE = ACTIONS.index("place")
_IDLE = ACTIONS.index("idle")
#: Worlds looked through, per episode wanted, for episodes with an Undo.
_SEARCH = 20


@dataclass(frozen=True)
class Replay:
    """A recording, the simulator that made it, and its state before each click."""

    recording: Recording
    simulator: Simulator
    states: tuple[State, ...]

    def answer(self, frame: int, click: Click) -> tuple[str, bool]:
        """What a click at a frame would hit, and whether it would change the state."""
        self.simulator.state = self.states[frame]
        hit = self.simulator.hit(click).widget
        return hit, self.simulator.after(click) != self.states[frame]


def watch(key: EpisodeKey) -> Replay:
    """Generate an episode and keep its states."""
    simulators: list[Simulator] = []
    states: list[State] = []

    def note(simulator: Simulator) -> None:
        simulators.append(simulator)
        states.append(simulator.state)

    recording = record(key, also_watch=note)
    return Replay(recording, simulators[0], tuple(states))


def validation_set(experiment: Experiment) -> list[Replay]:
    """Episodes of the validation split, half of them with an Undo where there are enough.

    Tasks and layouts take turns.
    """
    wanted = experiment.validation_episodes
    undo = ACTIONS.index("undo")
    chosen: dict[bool, list[Replay]] = {True: [], False: []}
    room = {True: wanted // 2, False: wanted - wanted // 2}
    for number in range(_SEARCH * wanted):
        made = watch(_validation_key(experiment, number))
        kind = bool((made.recording.actions == undo).any())
        if len(chosen[kind]) < room[kind]:
            chosen[kind].append(made)
        if all(len(chosen[kind]) == room[kind] for kind in chosen):
            break
    return chosen[False] + chosen[True]


def _validation_key(experiment: Experiment, number: int) -> EpisodeKey:
    data = experiment.data
    seed = split_seed("validation", number)
    return EpisodeKey(
        task=data.tasks[number % len(data.tasks)],
        layout=data.layouts[number // len(data.tasks) % len(data.layouts)],
        difficulty=data.difficulty,
        world_seed=seed,
        annotator_seed=seed,
        max_steps=data.max_steps,
        manner=data.manner,
    )


class Validation:
    """Teacher-forced measurements on the validation set of an experiment.

    The episodes lie on one sequence, read in rows that overlap so that every frame is scored
    once and with its whole context.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.watched = validation_set(experiment)
        self.sequence = PackedRecordings([made.recording for made in self.watched])
        self.index, self.valid = overlapping_rows(
            len(self.sequence.clicks), experiment.row_length, experiment.model.context - 1
        )
        self.rows = experiment.rows
        self.buffer = frame_buffer(experiment.rows, experiment.row_length)

    def measure(
        self, model: ClickTransformer, precision: torch.dtype = torch.float32
    ) -> dict[str, float]:
        """Values for the columns of `VALIDATION_COLUMNS`, but step, frames and seconds."""
        was_training = model.training
        model.eval()
        clicks = np.zeros((len(self.sequence.clicks), 2), dtype=np.int64)
        nll = np.zeros(len(self.sequence.clicks))
        for start in range(0, len(self.index), self.rows):
            batch, index = self._batch(start)
            on_device = batch.to(model.device)
            with products_in(precision, model.device):
                found = predict(
                    model,
                    on_device.frames,
                    on_device.previous,
                    on_device.targets,
                    on_device.segments,
                )
            valid = batch.valid.numpy()
            clicks[index[valid]] = found.clicks[valid]
            nll[index[valid]] = found.nll[valid]
        model.train(was_training)
        return self._summary(clicks, nll)

    def _batch(self, start: int) -> tuple[Batch, NDArray[np.int64]]:
        """Rows from ``start`` on, and their frames; the last batch repeats rows, not valid."""
        rows = np.arange(start, start + self.rows)
        index, valid = self.index[rows % len(self.index)], self.valid[rows % len(self.index)]
        valid = valid & (rows < len(self.index))[:, None]
        return self.sequence.fill(index, self.buffer, valid), index

    def _summary(self, clicks: NDArray[np.int64], nll: NDArray[np.float64]) -> dict[str, float]:
        sequence = self.sequence
        met, changes = self._meets(clicks)
        asked = np.where(sequence.actions == _PLACE, sequence.right, sequence.actions != _IDLE)
        buttons = asked & (sequence.actions != _PLACE)
        summary = {
            "loss": nll.mean(),
            "valid": changes.mean(),
            "accuracy_button": _mean(met[buttons]),
        }
        for number, action in enumerate(ACTIONS):
            kind = sequence.actions == number
            summary |= {
                f"nll_{action}": _mean(nll[kind]),
                f"accuracy_{action}": _mean(met[kind & asked]),
                f"n_{action}": float((kind & asked).sum()),
            }
        return {name: float(value) for name, value in summary.items()}

    def _meets(self, clicks: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each predicted click meets the recorded one, and whether it does anything."""
        sequence = self.sequence
        near = np.hypot(*(clicks - sequence.clicks).T) <= PLACE_TOLERANCE
        met, changes = near.copy(), np.zeros(len(clicks), dtype=bool)
        segments = sequence.segments(np.arange(len(clicks)))
        for place, segment in enumerate(segments):
            frame = int(place - sequence.starts[segment])
            watched = self.watched[segment]
            hit, changes[place] = watched.answer(frame, _click(clicks[place]))
            if sequence.actions[place] != _PLACE:
                met[place] = hit == watched.answer(frame, _click(sequence.clicks[place]))[0]
        return met, changes


def _mean(values: NDArray[np.bool_] | NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _click(point: Sequence[int] | NDArray[np.int64]) -> Click:
    return Click(int(point[0]), int(point[1]))
