"""Figures: the geometry drawn from a table, and that drawing writes both files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcprobe.episodes.record import generate
from bcprobe.errors import InputError
from bcprobe.evaluation.behaviour import behaviour_table
from bcprobe.evaluation.emergence import emergence_rows
from bcprobe.figures import FIGURES, learning, redraw, style
from bcprobe.figures import behaviour as figures_of_behaviour
from bcprobe.figures.learning import SKILLS
from bcprobe.results import write_table
from bcprobe.tables import TABLES
from bcprobe.tasks import TASKS
from tests.figures.drawn import curve, marks


@pytest.fixture(scope="module")
def behaviour() -> pd.DataFrame:
    return behaviour_table([generate("colored_dot_tracking", seed) for seed in range(20)])


def scores(checkpoint: str, frames: int, value: float) -> pd.DataFrame:
    kinds = [("validity", "all"), ("accuracy", "buttons"), ("accuracy", "place_right")]
    kinds += [("accuracy", "undo"), ("accuracy", "done")]
    rows = [
        {"metric": m, "kind": k, "estimate": value, "lower": value - 0.1, "upper": value + 0.1}
        for m, k in kinds
    ]
    return pd.DataFrame(rows).assign(checkpoint=checkpoint, frames=frames, n=10)


@pytest.fixture
def compared() -> pd.DataFrame:
    names = ("dots-nano", "dots-nano-independent")
    return pd.concat([scores(name, 1024, 0.5) for name in names])


@pytest.fixture
def series() -> pd.DataFrame:
    """Skills that rise in a straight line, each a step of frames later than the one before."""
    counts = {}
    for frames in (0, 512, 1024, 2048):
        rows = [
            {"skill": skill, "task": "dots", "episode": e, "hits": min(2048, frames), "n": 2048}
            for skill in SKILLS
            for e in range(4)
        ]
        counts[frames] = pd.DataFrame(rows)
        late = counts[frames]["skill"] == "undo"
        counts[frames].loc[late, "hits"] = 2048 * (frames == 2048)
    rows = pd.DataFrame(list(emergence_rows(counts)))
    names = {"dots-nano": 1, "dots-nano-independent": 1, "nine-nano": 9}
    return pd.concat([rows.assign(checkpoint=name, tasks=n) for name, n in names.items()])


def test_annotator_marks_lie_where_the_table_says(behaviour: pd.DataFrame) -> None:
    figure = figures_of_behaviour.plot_annotator(behaviour)
    steps = behaviour.set_index("quantity").loc["steps"]
    axis = figure.axes[-1]
    assert axis.lines[-1].get_xdata()[0] == pytest.approx(steps["estimate"])
    bar = axis.patches[0]
    assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx((71, 111))


def test_emergence_has_a_curve_per_skill_and_the_order_below(series: pd.DataFrame) -> None:
    figure = learning.plot_emergence(series)
    assert len(figure.axes) == 2 * 3
    for curves, order in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        assert len(curves.lines) == len(SKILLS)
        assert np.array_equal(curve(curves, SKILLS["done"])[:, 0], [512, 1024, 2048])
        assert curves.get_xscale() == order.get_xscale() == "log"
        halves = {name: marks(order, look) for name, look in SKILLS.items()}
        assert halves["undo"] == pytest.approx(np.array([(1536, 4)]))
        assert halves["done"][0, 0] == pytest.approx(1024)
    assert figure.axes[4].get_title() == "nine-nano: 9 tasks"


def test_heads_are_bars_of_the_accuracies(compared: pd.DataFrame) -> None:
    figure = figures_of_behaviour.plot_heads(compared)
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == pytest.approx([0.5] * 8)


def test_redraw_writes_the_same_bytes_twice(behaviour: pd.DataFrame, tmp_path: Path) -> None:
    write_table(behaviour, tmp_path / "annotator.parquet")
    first = {path: path.read_bytes() for path in redraw("annotator", tmp_path)}
    assert {path.suffix for path in first} == {".pdf", ".png"}
    assert all(path.read_bytes() == content for path, content in first.items())
    assert {path: path.read_bytes() for path in redraw("annotator", tmp_path)} == first
    elsewhere = redraw("annotator", tmp_path, tmp_path / "drawn")
    assert [path.parent.name for path in elsewhere] == ["drawn", "drawn"]
    assert [path.read_bytes() for path in elsewhere] == list(first.values())


def test_a_figure_without_its_table_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read table"):
        redraw("emergence", tmp_path)


def test_figures_fit_a_column_and_colours_are_distinct(series: pd.DataFrame) -> None:
    assert learning.plot_emergence(series).get_figwidth() == style.COLUMN
    assert len(set(style.CYCLE)) == len(style.CYCLE)
    assert list(style.TASKS) == list(TASKS)


def test_every_figure_is_also_a_table() -> None:
    folder = Path(__file__).parents[2] / "figures"
    assert set(TABLES) == set(FIGURES)
    kept = {path.stem for path in folder.glob("*.parquet")}
    assert kept <= set(FIGURES)
    assert {path.stem for path in folder.glob("*.png")} == kept
    assert {path.stem for path in folder.glob("*.pdf")} == kept
