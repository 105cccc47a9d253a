from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcprobe.gui.shapes import blend, mark_sprite, rounded_box, stroke_mask

LEVELS = np.arange(256)
offsets = st.integers(-90, 90)
widths = st.integers(1, 6)


@pytest.mark.parametrize("color", [0, 1, 2, 63, 127, 128, 200, 254, 255])
def test_blending_is_the_stated_whole_number_for_every_ground_and_opacity(color: int) -> None:
    under = np.repeat(LEVELS[None, :, None].astype(np.uint8), 256, axis=0)
    alpha = np.repeat(LEVELS[:, None].astype(np.uint8), 256, axis=1)
    ground, opacity = under.astype(int), alpha.astype(int)[..., None]
    blend(under, np.array([color], dtype=np.uint8), alpha)
    np.testing.assert_array_equal(under, (ground * (255 - opacity) + color * opacity + 127) // 255)


def test_blending_keeps_and_covers_exactly() -> None:
    under = np.repeat(LEVELS.astype(np.uint8)[None, :, None], 3, axis=2)
    before, color = under.copy(), np.array([3, 77, 250], dtype=np.uint8)
    blend(under, color, np.zeros((1, 256), dtype=np.uint8))
    np.testing.assert_array_equal(under, before)
    blend(under, color, np.full((1, 256), 255, dtype=np.uint8))
    assert (under == color).all()


@given(offsets, offsets, widths)
def test_a_stroke_is_the_same_from_either_end(dx: int, dy: int, width: int) -> None:
    left, top, mask = stroke_mask(dx, dy, width)
    back_left, back_top, back = stroke_mask(-dx, -dy, width)
    assert (left - dx, top - dy) == (back_left, back_top)
    np.testing.assert_array_equal(mask, back)


@given(offsets, offsets, widths)
def test_a_stroke_covers_both_ends(dx: int, dy: int, width: int) -> None:
    left, top, mask = stroke_mask(dx, dy, width)
    assert mask[-top, -left] == 255
    assert mask[dy - top, dx - left] == 255


@given(offsets, offsets, widths)
def test_a_stroke_has_no_gaps(dx: int, dy: int, width: int) -> None:
    """Every row, or every column, between the ends is painted, and next to its neighbour."""
    left, top, mask = stroke_mask(dx, dy, width)
    if abs(dy) > abs(dx):
        (dx, dy), (left, top), mask = (dy, dx), (top, left), mask.T
    low, high = min(0, dx) - left, max(0, dx) - left
    columns = [np.flatnonzero(mask[:, x]) for x in range(low, high + 1)]
    assert all(len(column) for column in columns)
    for here, there in itertools.pairwise(columns):
        assert here[0] <= there[-1] + 1
        assert there[0] <= here[-1] + 1


@given(offsets, offsets, widths)
def test_a_stroke_has_its_width(dx: int, dy: int, width: int) -> None:
    left, top, mask = stroke_mask(dx, dy, width)
    y, x = np.indices(mask.shape)
    x, y = x + left, y + top
    length2 = max(1, dx * dx + dy * dy)
    along = np.clip((x * dx + y * dy) / length2, 0, 1)
    distance = np.hypot(x - along * dx, y - along * dy)
    assert (mask[distance < width / 2 - 1e-6] == 255).all()
    assert (mask[distance > (width + 1) / 2 + 1e-6] == 0).all()


@pytest.mark.parametrize("kind", ["ring", "dot", "cross", "square"])
@pytest.mark.parametrize("size", [2, 5, 9])
def test_a_mark_is_centred_and_fits_its_sprite(kind: str, size: int) -> None:
    _, alpha = mark_sprite(kind, size, 2, (255, 255, 255))
    side = 2 * (size + 3) + 1
    assert alpha.shape == (side, side)
    for other in (alpha[::-1], alpha[:, ::-1], alpha.T):
        np.testing.assert_array_equal(alpha, other)
    assert alpha.any()
    assert not alpha[[0, -1]].any()
    assert not alpha[:, [0, -1]].any()


def test_an_unknown_mark_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown mark kind 'star'"):
        mark_sprite("star", 4, 2, (0, 0, 0))


@given(st.integers(4, 90), st.integers(4, 60), st.floats(0, 12))
def test_a_box_is_full_inside_and_symmetric(width: int, height: int, radius: float) -> None:
    radius = min(radius, width / 2, height / 2)
    box = rounded_box(width, height, radius)
    np.testing.assert_array_equal(box, box[::-1])
    np.testing.assert_array_equal(box, box[:, ::-1])
    assert box[height // 2, width // 2] == 255
    if radius == 0:
        assert (box == 255).all()
