"""From the final [cls] to a distribution over the screen's 172,800 pixels."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcprobe.model.config import ClickTransformerConfig
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH


class ClickDistribution(Protocol):
    """Where the next click lands, for every frame of a batch."""

    def click_log_prob(self, xy: Tensor) -> Tensor:
        """Log-probability [batch, frame] of clicks int64 [batch, frame, 2] in px.

        Raises ``ValueError`` for clicks off the screen.
        """
        ...

    def cross_entropy(self, heat: Tensor) -> Tensor:
        """Mean of the negative log-probability over distributions of clicks: [batch, frame] nats.

        ``heat`` [batch, frame, 360, 480] sums to 1.
        """
        ...

    def argmax(self) -> Tensor:
        """The click (x, y) of a model that always takes the likeliest: int64 [batch, frame, 2].

        Each factor's mode in turn, the limit of `sample` as the temperature falls to 0. For
        the pointer that is the likeliest cell, then the likeliest offset in it. The single
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
    """A cell of the patch grid, then the offset inside it, x and y apart.

    ``cells`` [batch, frame, cell] are log-probabilities; ``hidden`` [batch, frame, cell,
    d_model] is what the head reads each cell's offsets from.
    """

    def __init__(self, head: PointerHead, cells: Tensor, hidden: Tensor) -> None:
        self.head, self.cells, self.hidden = head, cells, hidden

    def click_log_prob(self, xy: Tensor) -> Tensor:
        """See `ClickDistribution`."""
        check_clicks(xy)
        (width, height), columns = self.head.patch, self.head.columns
        cell = (xy[..., 1] // height) * columns + xy[..., 0] // width  # (batch, frame)
        dx, dy = self._offsets_of(cell)
        inside = torch.stack([xy[..., 0] % width, xy[..., 1] % height], dim=-1)
        return (
            self.cells.gather(-1, cell[..., None]).squeeze(-1)
            + dx.gather(-1, inside[..., :1]).squeeze(-1)
            + dy.gather(-1, inside[..., 1:]).squeeze(-1)
        )

    def cross_entropy(self, heat: Tensor) -> Tensor:
        """See `ClickDistribution`."""
        width, height = self.head.patch
        blocks = heat.unflatten(-1, (-1, width)).unflatten(-3, (-1, height))
        across = blocks.sum(3).flatten(2, 3)  # (b, t, cell, width)
        down = blocks.sum(5).transpose(3, 4).flatten(2, 3)  # (b, t, cell, height)
        dx, dy = self.head.offsets(self.hidden)
        inside = (across * dx).sum((-1, -2)) + (down * dy).sum((-1, -2))
        return -(across.sum(-1) * self.cells).sum(-1) - inside

    def argmax(self) -> Tensor:
        """See `ClickDistribution`."""
        cell = self.cells.argmax(-1)  # (batch, frame)
        dx, dy = self._offsets_of(cell)
        return self._pixels(cell, dx.argmax(-1), dy.argmax(-1))

    def sample(self, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """See `ClickDistribution`."""
        if temperature == 0:
            return self.argmax()
        cell = _pick(self.cells, temperature, generator)  # (batch, frame)
        dx, dy = self._offsets_of(cell)
        x, y = (_pick(part, temperature, generator) for part in (dx, dy))
        return self._pixels(cell, x, y)

    def heat_map(self) -> Tensor:
        """See `ClickDistribution`."""
        dx, dy = self.head.offsets(self.hidden)
        inside = dy.exp()[..., :, None] * dx.exp()[..., None, :]  # (.., cell, height, width)
        heat = self.cells.exp()[..., None, None] * inside
        heat = heat.unflatten(2, (-1, self.head.columns))  # (b, t, rows, columns, height, width)
        return heat.transpose(3, 4).flatten(4, 5).flatten(2, 3)  # (b, t, 360, 480)

    def _offsets_of(self, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the offsets in one cell a frame, ``cell`` int64 [batch, frame]."""
        wide = cell[..., None, None].expand(*cell.shape, 1, self.hidden.shape[-1])
        return self.head.offsets(self.hidden.gather(2, wide).squeeze(2))

    def _pixels(self, cell: Tensor, x: Tensor, y: Tensor) -> Tensor:
        width, height = self.head.patch
        row, column = cell // self.head.columns, cell % self.head.columns
        return torch.stack([column * width + x, row * height + y], dim=-1)


class PointerHead(nn.Module):
    """Points from [cls] at a patch token, then places the click inside that patch."""

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.patch, self.columns = config.patch, config.grid[0]
        self.query = nn.Linear(config.d_model, config.d_model)
        self.key = nn.Linear(config.d_model, config.d_model, bias=False)
        self.from_patch = nn.Linear(config.d_model, config.d_model)
        self.from_cls = nn.Linear(config.d_model, config.d_model, bias=False)
        self.across = nn.Linear(config.d_model, self.patch[0])
        self.down = nn.Linear(config.d_model, self.patch[1])

    def forward(self, patches: Tensor, cls: Tensor) -> PointerClicks:
        """Distribution from final patch tokens [b, t, patch, d] and final [cls] [b, t, d]."""
        query = self.query(cls) / math.sqrt(cls.shape[-1])
        cells = torch.einsum("btpd,btd->btp", self.key(patches), query).log_softmax(-1)
        hidden = self.from_patch(patches) + self.from_cls(cls)[:, :, None]
        return PointerClicks(self, cells, hidden)

    def offsets(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the offsets: [..., patch width] and [..., patch height] px."""
        hidden = F.gelu(hidden)
        return self.across(hidden).log_softmax(-1), self.down(hidden).log_softmax(-1)


class IndependentClicks:
    """Column and row of the click, each with its own softmax, as in the paper.

    ``x`` [batch, frame, 480] and ``y`` [batch, frame, 360] are log-probabilities.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def click_log_prob(self, xy: Tensor) -> Tensor:
        """See `ClickDistribution`."""
        check_clicks(xy)
        return (self.x.gather(-1, xy[..., :1]) + self.y.gather(-1, xy[..., 1:])).squeeze(-1)

    def cross_entropy(self, heat: Tensor) -> Tensor:
        """See `ClickDistribution`."""
        return -(heat.sum(2) * self.x).sum(-1) - (heat.sum(3) * self.y).sum(-1)

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


class IndependentHead(nn.Module):
    """The paper's head: x-bins and y-bins from [cls], predicted apart."""

    def __init__(self, config: ClickTransformerConfig) -> None:
        super().__init__()
        self.across = nn.Linear(config.d_model, SCREEN_WIDTH)
        self.down = nn.Linear(config.d_model, SCREEN_HEIGHT)

    def forward(self, patches: Tensor, cls: Tensor) -> IndependentClicks:
        """Distribution from final [cls] [b, t, d]; the patch tokens are not read."""
        return IndependentClicks(self.across(cls).log_softmax(-1), self.down(cls).log_softmax(-1))


def make_head(config: ClickTransformerConfig) -> PointerHead | IndependentHead:
    """The head a config names."""
    return PointerHead(config) if config.head == "pointer" else IndependentHead(config)
