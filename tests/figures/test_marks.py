"""Marks: estimates, intervals and names lie where the table says; axes keep what they had."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bcprobe.figures import marks
from bcprobe.figures.marks import Look
from bcprobe.figures.style import new_figure
from tests.figures.drawn import curve, ranges
from tests.figures.drawn import marks as drawn_marks

LOOKS = {"a": Look("one", "blue"), "b": Look("two", "orange", "s", ":")}


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        {"x": x, "who": who, "estimate": base + x / 100, "task": task}
        for who, base in (("b", 0.2), ("a", 0.5), ("stranger", 0.9))
        for x, task in ((10, "two"), (1, "one"), (100, "three"))
    ]
    table = pd.DataFrame(rows)
    return table.assign(lower=table["estimate"] - 0.1, upper=table["estimate"] + 0.3)


def test_lines_go_through_the_estimates_in_the_order_of_x(table: pd.DataFrame) -> None:
    axis = new_figure(2.0).subplots()
    axis.set(xscale="log", xlabel="frames", ylabel="AUC")
    marks.lines(axis, table, "x", "who", LOOKS)
    assert len(axis.lines) == 2
    assert curve(axis, LOOKS["a"]) == pytest.approx(np.array([(1, 0.51), (10, 0.6), (100, 1.5)]))
    assert len(axis.patches) == 2
    ends = axis.patches[0].get_xy()[:, 1]
    assert (ends.min(), ends.max()) == pytest.approx((0.41, 1.8))
    assert (axis.get_xscale(), axis.get_xlabel(), axis.get_ylabel()) == ("log", "frames", "AUC")


def test_a_line_without_intervals_is_drawn(table: pd.DataFrame) -> None:
    axis = new_figure(2.0).subplots()
    marks.lines(axis, table.assign(lower=np.nan, upper=np.nan), "x", "who", LOOKS, band=False)
    assert len(curve(axis, LOOKS["b"])) == 3
    marks.lines(axis, table.iloc[:0], "x", "who", LOOKS)
    assert len(axis.lines) == 2


def test_rows_hold_series_side_by_side_each_with_its_interval(table: pd.DataFrame) -> None:
    axis = new_figure(2.0).subplots()
    names = {"one": "first", "two": "second"}
    marks.rows(axis, table, names, "who", LOOKS, factor=100)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["first", "second"]
    own, other = drawn_marks(axis, LOOKS["a"]), drawn_marks(axis, LOOKS["b"])
    assert own[:, 0] == pytest.approx([51, 60])
    assert own[:, 1] == pytest.approx([-0.2, 0.8])
    assert other[:, 1] == pytest.approx([0.2, 1.2])
    intervals = ranges(axis, LOOKS["a"])
    assert sorted(intervals[:, :, 0].ravel()) == pytest.approx([41, 50, 81, 90])
    assert set(intervals[:, :, 1].ravel().round(6)) == set(own[:, 1].round(6))
    assert axis.get_ylim() == (1.5, -0.5)


def test_names_of_shared_rows_stand_at_the_left_only(table: pd.DataFrame) -> None:
    left, right = new_figure(2.0).subplots(1, 2, sharey=True)
    for axis in (left, right):
        marks.rows(axis, table, {"one": "first", "two": "second"}, "who", LOOKS)
    assert left.get_yticklabels()[0].get_visible()
    assert not right.yaxis.get_major_ticks()[0].label1.get_visible()


def test_bars_are_as_high_as_the_estimates(table: pd.DataFrame) -> None:
    axis = new_figure(2.0).subplots()
    marks.bars(axis, table, "task", {"one": "first", "three": "third"}, "who", LOOKS)
    heights = sorted(patch.get_height() for patch in axis.patches)
    assert heights == pytest.approx([0.21, 0.51, 1.2, 1.5])


def test_a_matrix_writes_its_numbers_and_leaves_out_what_is_not_known() -> None:
    axis = new_figure(2.0).subplots()
    grid = pd.DataFrame([[0.5, np.nan], [-0.25, 1.0]], index=["x", "y"], columns=["u", "v"])
    marks.matrix(axis, grid, (-1, 1), "RdBu")
    assert [text.get_text() for text in axis.texts if text.get_text()] == [".50", "−.25", "1.00"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["x", "y"]
