from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bcprobe.model.transformer import ClickTransformer

MakeModel = Callable[..., ClickTransformer]
#: Stems whose patches are 80 x 90 px; of the fine pointer, in 2 x 3 cells.
STEMS = {
    "pointer": ((40, 30, 16), (2, 3, 32)),
    "fine_pointer": ((8, 6, 4), (5, 5, 8), (2, 3, 32)),
    "independent": ((40, 30, 16), (2, 3, 32)),
}
each = pytest.mark.parametrize("head", list(STEMS))


def distribution(
    make_model: MakeModel, head: str, frames: int = 3, repeat: bool = False, scale: float = 2.0
) -> Any:
    """What a head answers to random tokens; with ``repeat``, the same in every frame."""
    model = make_model(head=head, stem=STEMS[head])
    config, rng = model.config, np.random.default_rng(2)
    of, inside = (2, 1 if repeat else frames), config.split[0] * config.split[1]
    shapes = (
        (config.n_patches + 1, config.d_model),
        (config.n_patches, inside, config.cell_channels),
    )
    tokens, cells = (
        torch.from_numpy(rng.normal(scale=scale, size=(*of, *shape))).float() for shape in shapes
    )
    tokens = tokens.expand(-1, frames, -1, -1)
    return model.head(tokens[:, :, :-1], tokens[:, :, -1], cells.expand(-1, frames, -1, -1, -1))


@each
def test_the_heat_map_is_a_distribution(make_model: MakeModel, head: str) -> None:
    heat = distribution(make_model, head).heat_map()
    assert heat.shape == (2, 3, 360, 480)
    assert (heat >= 0).all()
    torch.testing.assert_close(heat.sum((-1, -2)), torch.ones(2, 3), atol=1e-5, rtol=0)


@each
def test_log_probabilities_are_those_of_the_heat_map(make_model: MakeModel, head: str) -> None:
    clicks = distribution(make_model, head)
    heat, rng = clicks.heat_map(), np.random.default_rng(3)
    corners = [np.full((2, 3, 2), c) for c in ((0, 0), (479, 0), (0, 359), (479, 359))]
    for xy in [*corners, *(rng.integers(0, (480, 360), (2, 3, 2)) for _ in range(50))]:
        picked = heat[np.arange(2)[:, None], np.arange(3), xy[..., 1], xy[..., 0]]
        found = clicks.click_log_prob(torch.from_numpy(xy))
        torch.testing.assert_close(found, picked.log(), atol=1e-4, rtol=1e-5)


def brightest(heat: Tensor) -> Tensor:
    """Brightest pixel (x, y) of each map [batch, frame, height, width]."""
    best, width = heat.flatten(2).argmax(-1), heat.shape[-1]
    return torch.stack([best % width, best // width], dim=-1)


def test_argmax_of_independent_heads_is_the_brightest_pixel(make_model: MakeModel) -> None:
    clicks = distribution(make_model, "independent")
    assert torch.equal(clicks.argmax(), brightest(clicks.heat_map()))


def brightest_part(heat: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Corner (x, y) and map [height, width] of the brightest part of a map [rows, columns]."""
    parts = heat.unflatten(0, (-1, height)).unflatten(2, (-1, width))
    column, row = brightest(parts.sum((1, 3))[None, None])[0, 0].tolist()
    return torch.tensor([column * width, row * height]), parts[row, :, column]


@pytest.mark.parametrize("head", ["pointer", "fine_pointer"])
def test_argmax_of_the_pointer_is_the_brightest_pixel_of_the_brightest_cell_of_the_brightest_patch(
    make_model: MakeModel, head: str
) -> None:
    clicks = distribution(make_model, head)
    for found, heat in zip(
        clicks.argmax().view(-1, 2), clicks.heat_map().flatten(0, 1), strict=True
    ):
        patch, heat = brightest_part(heat, 80, 90)
        cell, heat = brightest_part(heat, *clicks.head.cell)
        assert torch.equal(found, patch + cell + brightest(heat[None, None])[0, 0])


@each
def test_the_cross_entropy_is_that_of_the_heat_map(make_model: MakeModel, head: str) -> None:
    clicks = distribution(make_model, head)
    wanted = torch.from_numpy(np.random.default_rng(4).dirichlet(np.ones(480 * 360), (2, 3)))
    wanted = wanted.float().view(2, 3, 360, 480)
    found = -(wanted * clicks.heat_map().log()).sum((-1, -2))
    width, height = clicks.head.cell if head != "independent" else (80, 90)
    across = wanted.unflatten(2, (-1, height)).sum(3)
    down = wanted.unflatten(3, (-1, width)).sum(4)
    torch.testing.assert_close(clicks.cross_entropy(across, down), found, atol=1e-3, rtol=1e-5)


@each
def test_the_coldest_samples_come_close_to_the_argmax(make_model: MakeModel, head: str) -> None:
    clicks = distribution(make_model, head)
    cold = clicks.sample(1e-4, torch.Generator().manual_seed(0))
    assert torch.equal(cold, clicks.argmax())


@each
def test_samples_come_as_often_as_the_heat_map_says(make_model: MakeModel, head: str) -> None:
    """Counts in blocks of 40 x 40 px, by Pearson's chi-squared."""
    count = 6000
    clicks = distribution(make_model, head, frames=count, repeat=True, scale=1.0)
    heat = distribution(make_model, head, frames=1, scale=1.0).heat_map()[0, 0].double()
    expected = count * heat.unflatten(0, (9, 40)).unflatten(2, (12, 40)).sum((1, 3)).flatten()
    xy = clicks.sample(1.0, torch.Generator().manual_seed(0))[0]
    blocks = xy[:, 1] // 40 * 12 + xy[:, 0] // 40
    found = torch.bincount(blocks, minlength=108).double()
    often = expected > 5
    chi2 = ((found - expected)[often] ** 2 / expected[often]).sum()
    freedom = int(often.sum()) - 1
    assert freedom > 10
    assert abs(float(chi2) - freedom) < 4 * (2 * freedom) ** 0.5


@each
def test_cold_samples_are_the_argmax(make_model: MakeModel, head: str) -> None:
    clicks = distribution(make_model, head)
    assert torch.equal(clicks.sample(0), clicks.argmax())


@each
def test_samples_follow_their_generator(make_model: MakeModel, head: str) -> None:
    clicks = distribution(make_model, head, frames=50)
    first, again, other = (
        clicks.sample(1.0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first.shape == (2, 50, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first >= 0).all()
    assert (first < torch.tensor([480, 360])).all()


@each
def test_cooler_samples_are_more_probable(make_model: MakeModel, head: str) -> None:
    clicks = distribution(make_model, head, frames=400)
    generator = torch.Generator().manual_seed(0)
    hot, mild, cool = (
        clicks.click_log_prob(clicks.sample(t, generator)).mean() for t in (2.0, 1.0, 0.5)
    )
    assert hot < mild < cool


@each
@pytest.mark.parametrize("click", [(-1, -1), (-1, 5), (5, -1), (480, 0), (0, 360), (1000, 1000)])
def test_clicks_off_the_screen_are_refused(
    make_model: MakeModel, head: str, click: tuple[int, int]
) -> None:
    clicks = distribution(make_model, head)
    xy = torch.tensor([10, 10]).repeat(2, 3, 1)
    xy[1, 2] = torch.tensor(click)
    with pytest.raises(ValueError, match="click off the 480 x 360 screen"):
        clicks.click_log_prob(xy)


@each
def test_the_chance_of_a_box_is_its_part_of_the_heat_map(make_model: MakeModel, head: str) -> None:
    clicks = distribution(make_model, head)
    heat, rng = clicks.heat_map(), np.random.default_rng(4)
    boxes = [(0, 0, 480, 360), (79, 89, 2, 2), (5, 5, 3, 4), (470, 350, 10, 10)]
    for _ in range(20):
        left, top = rng.integers(0, (470, 350)).tolist()
        boxes.append((left, top, int(rng.integers(1, 481 - left)), int(rng.integers(1, 361 - top))))
    for left, top, width, height in boxes:
        expected = heat[..., top : top + height, left : left + width].sum((-1, -2))
        found = clicks.box_prob((left, top, width, height))
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@each
def test_the_entropy_is_that_of_the_heat_map(make_model: MakeModel, head: str) -> None:
    clicks = distribution(make_model, head)
    heat = clicks.heat_map().double()
    expected = -(heat * heat.clamp_min(1e-300).log()).sum((-1, -2))
    torch.testing.assert_close(clicks.entropy().double(), expected, atol=1e-3, rtol=1e-4)
