"""Optimizers and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bcprobe.training.config import Experiment


def schedule(frames: int, experiment: Experiment, planned: int | None = None) -> float:
    """Factor (0-1) on the learning rate once ``frames`` of ``planned`` have been seen.

    Rises linearly over ``warmup`` frames, then falls along half a cosine to ``final_lr``.
    ``planned`` defaults to the experiment's length; where time is what ends it warm-up takes a
    tenth at most.
    """
    planned = experiment.frames if planned is None else planned
    warmup = experiment.warmup
    if experiment.minutes:
        warmup = min(warmup, planned // 10)
    if frames < warmup:
        return frames / warmup
    share = min(1.0, (frames - warmup) / max(1, planned - warmup))
    return experiment.final_lr + (1 - experiment.final_lr) * 0.5 * (1 + math.cos(math.pi * share))


def make_optimizers(model: nn.Module, experiment: Experiment) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for hidden matrices and AdamW for the rest.

    Norms, biases and embeddings do not decay. Each parameter group holds its peak rate as
    ``peak_lr``.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    hidden = experiment.optimizer == "muon"
    matrices = [p for name, p in named if hidden and is_hidden(name, p)]
    rest = [(name, p) for name, p in named if not (hidden and is_hidden(name, p))]
    optimizers: list[torch.optim.Optimizer] = [_adamw(rest, experiment)]
    if matrices:
        optimizers.append(_muon(matrices, experiment))
    return optimizers


#: Matrices that read pixels or clicks, or whose outputs are logits of places.
_OUTER = ("stages.0", "click.project", "head.across", "head.down", "head.score")


def is_hidden(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a matrix between hidden layers."""
    outer = any(f"{layer}." in name for layer in _OUTER)
    return name.endswith(".weight") and parameter.ndim == 2 and not outer


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: matrices only, no norm, bias or embedding."""
    return name.endswith("weight") and parameter.ndim >= 2


def _adamw(named: Sequence[tuple[str, Tensor]], experiment: Experiment) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {
            "params": [p for name, p in named if decays(name, p) is decayed],
            "weight_decay": experiment.weight_decay if decayed else 0.0,
            "peak_lr": experiment.lr,
        }
        for decayed in (True, False)
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=experiment.lr, betas=experiment.betas, fused=True)


def _muon(matrices: Sequence[Tensor], experiment: Experiment) -> torch.optim.Optimizer:
    group: dict[str, Any] = {"params": list(matrices), "peak_lr": experiment.muon_lr}
    return StackedMuon([group], lr=experiment.muon_lr, weight_decay=experiment.weight_decay)


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon` (Jordan et al. 2024) that orthogonalises matrices of one shape together.

    A network's many small matrices make few launches that way; the state is the same.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient; there is no ``closure``."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append(matrix)
            for (rows, columns), matrices in by_shape.items():
                updates = orthogonal(torch.stack(self._momenta(matrices, group["momentum"])))
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                rate = group["lr"] * math.sqrt(max(1, rows / columns))
                moved = list(updates.to(matrices[0].dtype).unbind())
                torch._foreach_add_(matrices, moved, alpha=-rate)

    def _momenta(self, matrices: Sequence[Tensor], momentum: float) -> list[Tensor]:
        """Nesterov's momentum of each gradient."""
        grads = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix, grad in zip(matrices, grads, strict=True):
            if "momentum_buffer" not in self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(grad)
        buffers = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        return list(torch._foreach_lerp(grads, buffers, momentum))


#: Coefficients of the quintic Newton-Schulz iteration, and how often it is applied.
_QUINTIC, _ITERATIONS = (3.4445, -4.7750, 2.0315), 5


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices [n, row, column] with their singular values brought near 1, in bfloat16."""
    a, b, c = _QUINTIC
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        update = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, update, x, beta=a)
    return x.mT if tall else x


def set_rate(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's rate to ``factor`` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group["peak_lr"]
