"""A run in progress: weights, optimizers and tables, and the one step that moves them on."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bcprobe.errors import InputError
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.training.batch import Batch
from bcprobe.training.config import Experiment
from bcprobe.training.optim import make_optimizers, schedule, set_rate
from bcprobe.training.processes import Processes
from bcprobe.training.saving import SavedState, optimizer_tensors, restore_optimizers
from bcprobe.training.step import Forward, check_parts, parts
from bcprobe.training.stream import Position
from bcprobe.training.timebox import UNKNOWN
from bcprobe.training.validation import VALIDATION_COLUMNS
from bcprobe.types import ACTIONS

#: Steps between looks at measurements that lie on a GPU.
NOTE_EVERY = 16
#: Steps that a shown loss and speed are averaged over.
SHOWN_STEPS = 50

#: Columns of ``training.parquet``: NLL in nats per click, ``seconds`` of training so far,
#: ``data_wait`` the share (0-1) of the step's time spent waiting for data. A kind of action
#: that the batch lacks has nan.
TRAINING_COLUMNS = (
    "step", "frames", "seconds", "loss", "lr", "grad_norm", "frames_per_second", "data_wait",
    *(f"nll_{action}" for action in ACTIONS),
)  # fmt: skip


class Table:
    """Rows of numbers under named columns, growing at the end."""

    def __init__(
        self, columns: Sequence[str], rows: NDArray[np.float64] | Sequence[Sequence[float]] = ()
    ) -> None:
        self.columns = tuple(columns)
        self.rows = [[float(value) for value in row] for row in rows]

    def append(self, values: dict[str, float]) -> None:
        """Add a row; columns without a value get nan."""
        self.rows.append([float(values.get(name, math.nan)) for name in self.columns])

    def array(self) -> NDArray[np.float64]:
        """All rows: float64 [row, column]."""
        return np.array(self.rows, dtype=np.float64).reshape(-1, len(self.columns))

    def frame(self) -> pd.DataFrame:
        """The table for pandas; columns that only hold whole numbers are int64."""
        table = pd.DataFrame(self.array(), columns=list(self.columns))
        counts = [name for name in ("step", "frames") if name in table]
        return table.astype(dict.fromkeys(counts, "int64"))


def nll_by_action(nll: Tensor, batch: Batch) -> Tensor:
    """Mean NLL of the valid frames, then of each kind of action: float [1 + action]."""
    weight = batch.valid.to(nll.device, nll.dtype).flatten()
    kinds = batch.actions.to(nll.device).flatten().long()
    size = len(ACTIONS)
    sums = torch.zeros(size, device=nll.device).index_add(0, kinds, nll.flatten().float() * weight)
    counts = torch.zeros(size, device=nll.device).index_add(0, kinds, weight.float())
    return torch.cat([(sums.sum() / counts.sum())[None], sums / counts])


class DivergedError(InputError):
    """The loss or the gradient is no longer a number."""


#: What the messages of an allocation that failed hold.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class MemoryFullError(InputError):
    """A step does not fit into the device's memory."""


def starting_weights(experiment: Experiment) -> dict[str, Tensor]:
    """Weights of the checkpoint that an experiment starts from; none if it starts from nothing.

    Raises `InputError` if the checkpoint is not available or has another shape.
    """
    if not experiment.start_from:
        return {}
    named = f"'{experiment.name}' starts from checkpoint '{experiment.start_from}'"
    try:
        found = load_checkpoint(experiment.start_from)
    except InputError as error:
        raise InputError(f"{named}: {error}") from error
    if found.config != experiment.model:
        raise InputError(f"{named}, which has another shape")
    return dict(found.state_dict())


class Run:
    """Everything that changes while training, and nothing else.

    A step's batch is shared by ``processes``; each works through its rows in ``accumulation``
    equal parts, one after another, and steps once. Either number changes the order in which
    floats are added, nothing else. Matrix products run in ``precision``.

    ``frames`` and ``step`` count what has been learned from; ``position`` is where the
    stream goes on; ``seconds`` is the time trained so far, over all sittings. ``planned`` is how
    many frames the whole run will have learned from; of one that time ends it is an estimate, and
    ``used`` the seconds that it has taken in all (`bcprobe.training.timebox`).
    """

    def __init__(
        self,
        experiment: Experiment,
        device: torch.device,
        processes: Processes = Processes(),  # noqa: B008
        accumulation: int = 1,
        precision: torch.dtype = torch.float32,
    ) -> None:
        check_parts(experiment.rows, processes.count, accumulation)
        torch.manual_seed(experiment.model_seed)
        self.experiment, self.device = experiment, device
        self.processes, self.accumulation = processes, accumulation
        self.precision = precision
        self.model = ClickTransformer(experiment.model).to(device)
        self.forward = Forward(self.model, processes, precision)
        self.optimizers = make_optimizers(self.model, experiment)
        self.step = self.frames = 0
        self.seconds = self.used = 0.0
        self.planned = UNKNOWN if experiment.minutes else experiment.frames
        self.position = Position()
        self.training = Table(TRAINING_COLUMNS)
        self.validation = Table(VALIDATION_COLUMNS)
        self._pending: list[tuple[dict[str, float], Tensor]] = []

    @property
    def finished(self) -> bool:
        """Whether all frames have been learned from."""
        return self.frames >= self.planned

    def learn(self, batch: Batch, after: Position, waited: float) -> None:
        """One optimizer step. ``waited`` is the time its data kept it waiting, in seconds.

        Raises `DivergedError` if loss or gradient is not finite (looked at every step on the CPU,
        every `NOTE_EVERY` steps elsewhere), `MemoryFullError` if the step does not fit.
        """
        began = time.perf_counter()
        factor = schedule(self.frames + self.experiment.batch_frames, self.experiment, self.planned)
        set_rate(self.optimizers, factor)
        nll = self._fitting_backward(batch)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.experiment.grad_clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step, self.position = self.step + 1, after
        self.frames += self.experiment.batch_frames
        row = {"step": self.step, "frames": self.frames, "lr": factor * self.experiment.lr}
        measured = torch.cat([norm.detach()[None], nll_by_action(nll, batch).to(self.device)])
        self._pending.append((row, measured))
        taken = time.perf_counter() - began + waited
        self.seconds += taken
        row |= {
            "seconds": self.seconds,
            "frames_per_second": self.experiment.batch_frames / taken,
            "data_wait": waited / taken,
        }
        if self.device.type == "cpu" or len(self._pending) == NOTE_EVERY:
            self.note()

    def _fitting_backward(self, batch: Batch) -> Tensor:
        try:
            return self._backward(batch)
        except RuntimeError as error:
            if not any(part in str(error) for part in _NO_MEMORY):
                raise
            plan = self.experiment
            raise MemoryFullError(
                f"out of memory on {self.device}: raise accumulation (now {self.accumulation}), or "
                f"lower rows (now {plan.rows}) or row_length (now {plan.row_length}); "
                "the last saved state is good"
            ) from error

    def _backward(self, batch: Batch) -> Tensor:
        """NLL of each frame [row, frame], after the gradients of its weighted mean."""
        weight = batch.weight.to(self.device) * batch.valid.to(self.device)
        total, own = weight.sum() / self.processes.count, self.processes.rows(len(weight))
        found: list[Tensor] = []
        for part in parts(batch, own, self.accumulation, self.device):
            with self.forward.local(len(found) + 1 < self.accumulation):
                nll = self.forward(part)
                rows = weight[own].split(len(nll))[len(found)]
                ((nll * rows).sum() / total).backward()
            found.append(nll.detach())
        return self.processes.gather(torch.cat(found))

    def note(self) -> None:
        """Move pending measurements into the table. Raises `DivergedError` if one is not finite."""
        pending, self._pending = self._pending, []
        for row, measured in pending:
            norm, loss, *by_action = measured.tolist()
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise DivergedError(
                    f"training diverged at step {row['step']} (loss {loss}, gradient norm {norm}); "
                    "the last saved state is good: lower the learning rate"
                )
            row |= {"loss": loss, "grad_norm": norm}
            row |= {f"nll_{a}": value for a, value in zip(ACTIONS, by_action, strict=True)}
            self.training.append(row)

    def summary(self) -> str:
        """Frames, loss and speed in one line, for the progress bar."""
        rows, columns = self.training.rows[-SHOWN_STEPS:], self.training.columns
        loss, speed, wait = (
            sum(row[columns.index(name)] for row in rows) / max(1, len(rows))
            for name in ("loss", "frames_per_second", "data_wait")
        )
        return (
            f"{self.frames:,}/{self.planned:,} frames  loss {loss:.3f}  "
            f"{speed:.0f} frames/s  data wait {wait:.1%}"
        )

    def state(self) -> SavedState:
        """Everything needed to go on, after `note`."""
        self.note()
        parts = {
            "model": self.model.state_dict(),
            "optimizer": optimizer_tensors(self.optimizers),
            "random": _random_state(),
            "table": {
                "training": torch.from_numpy(self.training.array()),
                "validation": torch.from_numpy(self.validation.array()),
            },
        }
        tensors = {
            f"{part}.{name}": t for part, named in parts.items() for name, t in named.items()
        }
        return SavedState(
            tensors,
            {
                "experiment": self.experiment.as_dict(),
                "step": self.step,
                "frames": self.frames,
                "seconds": self.seconds,
                "used": self.used,
                "planned": self.planned,
                "position": list(self.position),
                "threads": torch.get_num_threads(),
                "accumulation": self.accumulation,
                "precision": "bf16" if self.precision == torch.bfloat16 else "fp32",
                "torch": torch.__version__,
            },
        )

    def restore(self, saved: SavedState) -> None:
        """Go back to a saved state."""
        values = saved.values
        self.model.load_state_dict(saved.part("model"))
        restore_optimizers(self.optimizers, saved.part("optimizer"))
        _restore_random_state(saved.part("random"))
        tables = saved.part("table")
        self.training = Table(TRAINING_COLUMNS, tables["training"].numpy())
        self.validation = Table(VALIDATION_COLUMNS, tables["validation"].numpy())
        self.step, self.frames = values["step"], values["frames"]
        self.seconds, self.used = values["seconds"], values["used"]
        self.planned = values["planned"]
        self.position = Position(*values["position"])


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _restore_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
