"""Probabilities of click targets, without drawing the whole click map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bcprobe.gui.layouts import Rect
from bcprobe.model.heads import PointerHead
from bcprobe.model.transformer import ClickTransformer
from bcprobe.types import PLACE_TOLERANCE, SCREEN_HEIGHT, SCREEN_WIDTH


def around(x: int, y: int) -> Rect:
    """The square of points that meet a placement at (x, y), in px, cut at the screen's edge."""
    reach = int(PLACE_TOLERANCE)
    left, top = max(0, x - reach), max(0, y - reach)
    right, bottom = min(SCREEN_WIDTH, x + reach + 1), min(SCREEN_HEIGHT, y + reach + 1)
    return Rect(left, top, right - left, bottom - top)


class ClickTargets:
    """Rectangles on the screen, and how a model's head weighs them.

    Of a pointer head only the cells that a rectangle touches are read: the sum over the click
    map is the same (tested), at a fraction of its cost.
    """

    def __init__(self, model: ClickTransformer, rects: Sequence[Rect]) -> None:
        self.model, self.rects = model, tuple(rects)
        if isinstance(model.head, PointerHead):
            self._cut(model.head)

    def _cut(self, head: PointerHead) -> None:
        """The parts of each rectangle that lie in one cell: which cell, and the px inside it."""
        (width, height), (across, down) = head.cell, head.split
        patch, cell, xs, ys, owner = [], [], [], [], []
        for number, r in enumerate(self.rects):
            for row in range(r.y // height, (r.y + r.height - 1) // height + 1):
                for column in range(r.x // width, (r.x + r.width - 1) // width + 1):
                    patch.append(row // down * head.columns + column // across)
                    cell.append(row % down * across + column % across)
                    xs.append(_inside(r.x - column * width, r.width, width))
                    ys.append(_inside(r.y - row * height, r.height, height))
                    owner.append(number)
        device = self.model.device
        used = sorted(set(patch))
        self.patches = torch.tensor(used, device=device)
        self.patch = torch.tensor([used.index(p) for p in patch], device=device)
        self.cell = torch.tensor(cell, device=device)
        self.xs, self.ys = torch.stack(xs).to(device), torch.stack(ys).to(device)
        self.owner = torch.tensor(owner, device=device)

    def log_probs(self, residual: Tensor, cells: Tensor) -> Tensor:
        """Log-probabilities [row, rectangle] of the next click in each rectangle.

        ``residual`` [row, token, d_model] is a frame's after the last layer, ``cells``
        [row or 1, patch, cell, channel] what the head reads beside it.
        """
        config, head = self.model.config, self.model.head
        x = self.model.ln_final(residual)
        patches, cls = x[:, : config.n_patches], x[:, config.cls_index]
        if not isinstance(head, PointerHead):
            clicks = head(patches[:, None], cls[:, None], cells[:, None])
            across, down = clicks.x[:, 0], clicks.y[:, 0]
            parts = [
                across[:, r.x : r.x + r.width].logsumexp(-1)
                + down[:, r.y : r.y + r.height].logsumexp(-1)
                for r in self.rects
            ]
            return torch.stack(parts, dim=1)
        query = head.query(cls) * cls.shape[-1] ** -0.5
        chosen = torch.einsum("npd,nd->np", head.key(patches), query).log_softmax(-1)
        hidden = head.from_patch(patches[:, self.patches]) + head.from_cls(cls)[:, None]
        hidden = hidden[:, :, None]  # (row, used patch, 1, d)
        if head.fine:
            hidden = F.gelu(hidden + head.from_cell(cells[:, self.patches]))
            inner = head.score(hidden).squeeze(-1).log_softmax(-1)  # (row, used patch, cell)
        else:
            hidden = F.gelu(hidden)
            inner = hidden.new_zeros(hidden.shape[:-1])
        dx, dy = head.offsets(hidden[:, self.patch, self.cell])  # (row, part, px)
        part = (
            chosen[:, self.patches[self.patch]]
            + inner[:, self.patch, self.cell]
            + (dx + self.xs).logsumexp(-1)
            + (dy + self.ys).logsumexp(-1)
        )
        found = [part[:, self.owner == number] for number in range(len(self.rects))]
        return torch.stack([own.logsumexp(-1) for own in found], dim=1)


def _inside(start: int, length: int, size: int) -> Tensor:
    """0 at the px of a cell that lie in start..start + length, minus infinity elsewhere."""
    px = torch.arange(size)
    return torch.zeros(size).masked_fill((px < start) | (px >= start + length), float("-inf"))
