"""From the final [cls] to a distribution over the screen's 172,800 pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcprobe.model.config import ClickTransformerConfig
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

#: Left, top, width and height in px.
Box = tuple[int, int, int, int]


class ClickDistribution(Protocol):
    """Where the next click lands, for every frame of a batch."""

    def click_log_prob(self, xy: Tensor) -> Tensor:
        """Log-probability [batch, frame] of clicks int64 [batch, frame, 2] in px.

        Raises ``ValueError`` for clicks off the screen.
        """
        ...

    def cross_entropy(self, across: Tensor, down: Tensor) -> Tensor:
        """Mean of the negative log-probability over distributions of clicks: [batch, frame] nats.

        ``across`` [batch, frame, rows of cells, 480] and ``down`` [batch, frame, 360, columns of
        cells] are their probabilities summed over the cells' height and width.
        """
        ...

    def argmax(self) -> Tensor:
        """The click (x, y) of a model that always takes the likeliest: int64 [batch, frame, 2].

        Each factor's mode in turn, the limit of `sample` as the temperature falls to 0. For
        the pointer that is the likeliest patch, then the likeliest place in it. The single
        likeliest pixel would favour what is aimed at sharply (a dot) over what is aimed at
        broadly (a button) although the button is the likelier decision.
        """
        ...

    def sample(self, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Clicks at random, int64 [batch, frame, 2]; each factor's logits are divided by the
        temperature, and 0 gives `argmax`."""
        ...

    def heat_map(self) -> Tensor:
        """Probability of each pixel: [batch, frame, 360, 480], sums to 1."""
        ...

    def box_prob(self, box: Box) -> Tensor:
        """Probability [batch, frame] that the click lands in a box (x, y, width, height) in px.

        Equal to the sum of `heat_map` over the box, without laying out the whole screen.
        """
        ...

    def entropy(self) -> Tensor:
        """Entropy [batch, frame] of the click, in nats."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        ...


def check_clicks(xy: Tensor) -> None:
    """Raise ``ValueError`` for clicks off the screen; a GPU, not waited for, stops with its own."""
    if xy.is_cuda or torch.compiler.is_compiling():
        size = xy.new_tensor([SCREEN_WIDTH, SCREEN_HEIGHT])
        torch._assert_async(((xy >= 0) & (xy < size)).all())
        return
    low, high = xy.amin(dim=tuple(range(xy.ndim - 1))), xy.amax(dim=tuple(range(xy.ndim - 1)))
    if low.min() < 0 or high[0] >= SCREEN_WIDTH or high[1] >= SCREEN_HEIGHT:
        raise ValueError(f"click off the {SCREEN_WIDTH} x {SCREEN_HEIGHT} screen")


def _pick(log_probs: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Draw an index from the last dimension."""
    weights = (log_probs / temperature).softmax(-1).flatten(0, -2)
    return torch.multinomial(weights, 1, generator=generator).view(log_probs.shape[:-1])


class PointerClicks:
    """A patch of the grid, a cell of the patch, then the offset inside the cell, x and y apart.

    ``patches`` [batch, frame, patch] and ``inner`` [batch, frame, patch, cell], given the patch,
    are log-probabilities; ``hidden`` [batch, frame, patch, cell, d_model] is what the head reads
    each cell's offsets from.
    """

    def __init__(self, head: PointerHead, patches: Tensor, inner: Tensor, hidden: Tensor) -> None:
        self.head, self.patches, self.inner, self.hidden = head, patches, inner, hidden

    def __repr__(self) -> str:
        rows, frames = self.patches.shape[:2]
        return f"PointerClicks: {rows} x {frames} frames"

    def click_log_prob(self, xy: Tensor) -> Tensor:
        """See `ClickDistribution`."""
        check_clicks(xy)
        (width, height), (across, down), columns = (
            self.head.cell,
            self.head.split,
            self.head.columns,
        )
        column, row = xy[..., 0] // width, xy[..., 1] // height  # of cells
        patch = row // down * columns + column // across
        cell = row % down * across + column % across
        inner, dx, dy = self._inside(patch, cell)
        return (
            _at(self.patches, patch)
            + _at(inner, cell)
            + _at(dx, xy[..., 0] % width)
            + _at(dy, xy[..., 1] % height)
        )

    def cross_entropy(self, across: Tensor, down: Tensor) -> Tensor:
        """See `ClickDistribution`."""
        (width, height), (columns, rows) = self.head.cell, self.head.split  # of a patch
        x = across.unflatten(-1, (-1, columns, width)).unflatten(2, (-1, rows))
        y = down.unflatten(-1, (-1, columns)).unflatten(2, (-1, rows, height))
        x = x.permute(0, 1, 2, 4, 3, 5, 6)  # (b, t, row, column of patches, of cells, px)
        y = y.permute(0, 1, 2, 5, 3, 6, 4)
        x, y = (part.flatten(4, 5).flatten(2, 3) for part in (x, y))  # (b, t, patch, cell, px)
        dx, dy = self.head.offsets(self.hidden)
        inside = (x * dx).sum((-1, -2, -3)) + (y * dy).sum((-1, -2, -3))
        cells = x.sum(-1)  # (b, t, patch, cell)
        chosen = (cells * (self.patches[..., None] + self.inner)).sum((-1, -2))
        return -chosen - inside

    def argmax(self) -> Tensor:
        """See `ClickDistribution`."""
        return self._choose(lambda log_probs: log_probs.argmax(-1))

    def sample(self, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """See `ClickDistribution`."""
        if temperature == 0:
            return self.argmax()
        return self._choose(lambda log_probs: _pick(log_probs, temperature, generator))

    def heat_map(self) -> Tensor:
        """See `ClickDistribution`."""
        (across, down), columns = self.head.split, self.head.columns
        dx, dy = self.head.offsets(self.hidden)
        inside = dy.exp()[..., :, None] * dx.exp()[..., None, :]  # (.., cell, height, width)
        chance = (self.patches[..., None] + self.inner).exp()
        heat = chance[..., None, None] * inside
        heat = heat.unflatten(3, (down, across)).unflatten(2, (-1, columns))
        heat = heat.permute(0, 1, 2, 4, 6, 3, 5, 7)  # row, down, height, column, across, width
        return heat.flatten(5, 7).flatten(2, 4)  # (b, t, 360, 480)

    @property
    def device(self) -> torch.device:
        """See `ClickDistribution`."""
        return self.patches.device

    def box_prob(self, box: Box) -> Tensor:
        """See `ClickDistribution`."""
        (left, top, width, height), (across, down) = box, self.head.split
        wide, high = across * self.head.cell[0], down * self.head.cell[1]  # of a patch, px
        total = torch.zeros_like(self.patches[..., 0])
        for row in range(top // high, (top + height - 1) // high + 1):
            for column in range(left // wide, (left + width - 1) // wide + 1):
                patch = row * self.head.columns + column
                dx, dy = self.head.offsets(self.hidden[:, :, patch])  # (b, t, cell, px)
                chance = (self.patches[..., patch, None] + self.inner[:, :, patch]).exp()
                x = _span(dx, left - column * wide, width, across, 0)
                y = _span(dy, top - row * high, height, across, 1)
                total = total + (chance * x * y).sum(-1)
        return total

    def entropy(self) -> Tensor:
        """See `ClickDistribution`."""
        dx, dy = self.head.offsets(self.hidden)
        cell = self.inner.exp() * (_entropy(dx) + _entropy(dy))  # (b, t, patch, cell)
        patch = self.patches.exp() * (_entropy(self.inner) + cell.sum(-1))
        return _entropy(self.patches) + patch.sum(-1)

    def _choose(self, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """Pixels (x, y), each factor's index chosen in turn."""
        patch = choose(self.patches)  # (batch, frame)
        cell = choose(_along(self.inner, patch))
        _, dx, dy = self._inside(patch, cell)
        return self._pixels(patch, cell, choose(dx), choose(dy))

    def _inside(self, patch: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the cells of a ``patch`` and the offsets in a ``cell`` of it.

        Both int64 [batch, frame].
        """
        hidden = _along(_along(self.hidden, patch), cell)
        return (_along(self.inner, patch), *self.head.offsets(hidden))

    def _pixels(self, patch: Tensor, cell: Tensor, x: Tensor, y: Tensor) -> Tensor:
        (width, height), (across, down) = self.head.cell, self.head.split
        row, column = patch // self.head.columns, patch % self.head.columns
        row, column = row * down + cell // across, column * across + cell % across
        return torch.stack([column * width + x, row * height + y], dim=-1)


def _span(log_probs: Tensor, first: int, length: int, across: int, axis: int) -> Tensor:
    """Probability [b, t, cell] of a span of px along an axis (0: x, 1: y) of a patch.

    ``log_probs`` [b, t, cell, px] are of the offsets in each cell, ``first`` counts from the
    patch's edge; cells lie ``across`` to a row.
    """
    size, cells = log_probs.shape[-1], torch.arange(log_probs.shape[2], device=log_probs.device)
    place = cells % across if axis == 0 else cells // across
    at = place[:, None] * size + torch.arange(size, device=log_probs.device)  # px of the patch
    return (log_probs.exp() * ((at >= first) & (at < first + length))).sum(-1)


def _entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats over the last dimension."""
    return -(log_probs.exp() * log_probs).sum(-1)


def _at(log_probs: Tensor, index: Tensor) -> Tensor:
    """Entries of the last dimension, by ``index`` of the others' shape."""
    return log_probs.gather(-1, index[..., None]).squeeze(-1)


def _along(x: Tensor, index: Tensor) -> Tensor:
    """Entries [batch, frame, ...] of ``x`` [batch, frame, n, ...], by index [batch, frame]."""
    wide = index.view(*index.shape, *[1] * (x.ndim - 2)).expand(*index.shape, 1, *x.shape[3:])
    return x.gather(2, wide).squeeze(2)


class PointerHead(nn.Module):
    """Points from [cls] at a patch token, then places the click inside that patch.

    The *fine* pointer finds the place by way of the patch's cells, whose features it reads from
    the encoder: with a stem twice as wide it has learned more after equal frames
    (``benchmarks/recipes.md``).
    """

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.cell, self.split, self.columns = config.cell, config.split, config.grid[0]
        self.query = nn.Linear(config.d_model, config.d_model)
        self.key = nn.Linear(config.d_model, config.d_model, bias=False)
        self.from_patch = nn.Linear(config.d_model, config.d_model)
        self.from_cls = nn.Linear(config.d_model, config.d_model, bias=False)
        self.across = nn.Linear(config.d_model, self.cell[0])
        self.down = nn.Linear(config.d_model, self.cell[1])
        self.fine = bool(config.cell_channels)
        if self.fine:
            self.from_cell = nn.Linear(config.cell_channels, config.d_model, bias=False)
            self.score = nn.Linear(config.d_model, 1, bias=False)

    def forward(self, patches: Tensor, cls: Tensor, cells: Tensor) -> PointerClicks:
        """Distribution from final patch tokens [b, t, patch, d] and [cls], shape [b, t, d].

        ``cells`` [b, t, patch, cell, channel] are the encoder's.
        """
        query = self.query(cls) / math.sqrt(cls.shape[-1])
        chosen = torch.einsum("btpd,btd->btp", self.key(patches), query).log_softmax(
            -1, dtype=torch.float32
        )
        hidden = self.from_patch(patches) + self.from_cls(cls)[:, :, None]  # (b, t, patch, d)
        hidden = hidden[..., None, :]
        if not self.fine:
            return PointerClicks(self, chosen, torch.zeros_like(chosen)[..., None], F.gelu(hidden))
        hidden = F.gelu(hidden + self.from_cell(cells))  # (b, t, patch, cell, d)
        inner = self.score(hidden).squeeze(-1).log_softmax(-1, dtype=torch.float32)
        return PointerClicks(self, chosen, inner, hidden)

    def readers(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Directions [..., patch, d] and constants [..., patch] of the patches' logits at [cls].

        Patch p has the logit ``u_p . x + c_p`` for the final normed [cls] ``x``, with ``u_p = W_q'
        k_p / sqrt(d)`` and ``c_p = b_q . k_p / sqrt(d)``: its key ``k_p`` is made of its own final
        normed token, of which ``patches`` [..., patch, d] are all.
        """
        keys = self.key(patches) / math.sqrt(patches.shape[-1])
        return keys @ self.query.weight, keys @ self.query.bias

    def offsets(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the offsets: [..., cell width] and [..., cell height] px."""
        if not torch.compiler.is_compiling() and hidden.is_inference():
            hidden = hidden.clone()  # may be asked for after the mode in which the model looked
        return self.across(hidden).log_softmax(-1, dtype=torch.float32), self.down(
            hidden
        ).log_softmax(-1, dtype=torch.float32)


class IndependentClicks:
    """Column and row of the click, each with its own softmax, as in the paper.

    ``x`` [batch, frame, 480] and ``y`` [batch, frame, 360] are log-probabilities.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __repr__(self) -> str:
        rows, frames = self.x.shape[:2]
        return f"IndependentClicks: {rows} x {frames} frames"

    def click_log_prob(self, xy: Tensor) -> Tensor:
        """See `ClickDistribution`."""
        check_clicks(xy)
        return (self.x.gather(-1, xy[..., :1]) + self.y.gather(-1, xy[..., 1:])).squeeze(-1)

    def cross_entropy(self, across: Tensor, down: Tensor) -> Tensor:
        """See `ClickDistribution`."""
        return -(across.sum(2) * self.x).sum(-1) - (down.sum(3) * self.y).sum(-1)

    def argmax(self) -> Tensor:
        """See `ClickDistribution`."""
        return torch.stack([self.x.argmax(-1), self.y.argmax(-1)], dim=-1)

    def sample(self, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """See `ClickDistribution`."""
        if temperature == 0:
            return self.argmax()
        x, y = (_pick(part, temperature, generator) for part in (self.x, self.y))
        return torch.stack([x, y], dim=-1)

    def heat_map(self) -> Tensor:
        """See `ClickDistribution`."""
        return self.y.exp()[..., :, None] * self.x.exp()[..., None, :]

    @property
    def device(self) -> torch.device:
        """See `ClickDistribution`."""
        return self.x.device

    def box_prob(self, box: Box) -> Tensor:
        """See `ClickDistribution`."""
        left, top, width, height = box
        across = self.x[..., left : left + width].exp().sum(-1)
        return across * self.y[..., top : top + height].exp().sum(-1)

    def entropy(self) -> Tensor:
        """See `ClickDistribution`."""
        return _entropy(self.x) + _entropy(self.y)


class IndependentHead(nn.Module):
    """The paper's head: x-bins and y-bins from [cls], predicted apart."""

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.across = nn.Linear(config.d_model, SCREEN_WIDTH)
        self.down = nn.Linear(config.d_model, SCREEN_HEIGHT)

    def forward(self, patches: Tensor, cls: Tensor, cells: Tensor) -> IndependentClicks:
        """Distribution from final [cls], shape [b, t, d]; patch tokens and cells are not read."""
        return IndependentClicks(
            self.across(cls).log_softmax(-1, dtype=torch.float32),
            self.down(cls).log_softmax(-1, dtype=torch.float32),
        )

    def readers(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Directions [..., patch, d] and constants [..., patch], as `PointerHead.readers` gives.

        A patch's logit is the mean over its columns plus the mean over its rows of pixels; it
        does not depend on ``patches`` [..., patch, d].
        """
        made = []
        for of in (lambda layer: layer.weight, lambda layer: layer.bias[:, None]):
            across, down = (
                of(layer).unflatten(0, (-1, size)).mean(1)
                for layer, size in zip((self.across, self.down), self.patch, strict=True)
            )
            made.append((down[:, None] + across[None]).flatten(0, 1))  # (row * column, d or 1)
        directions, constants = made[0], made[1][:, 0]
        return directions.expand(patches.shape), constants.expand(patches.shape[:-1])


#: What a model answers with.
Clicks = PointerClicks | IndependentClicks


def make_head(config: ClickTransformerConfig) -> PointerHead | IndependentHead:
    """The head a config names."""
    return IndependentHead(config) if config.head == "independent" else PointerHead(config)
