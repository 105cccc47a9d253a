"""The dose response shows the site that moves most, with the unedited look at dose 0."""

from __future__ import annotations

import pandas as pd
import pytest

from bcprobe.figures import steering
from bcprobe.interventions.effects import COLUMNS
from tests.figures.drawn import curve, marks


def made(
    site: str, layer: int, gain: float, task: str = "colored_dot_tracking"
) -> list[dict[str, object]]:
    rows = []
    for start, base in (("right", 0.1), ("wrong", 0.6)):
        edits = [("none", "", 0.0), ("ablate", "probe", 0.0), ("swap", "probe", 0.0)]
        edits += [("swap", "all", 0.0)]
        edits += [("add", d, a) for d in ("probe", "random") for a in (-2.0, -1.0, 1.0, 2.0)]
        for operation, direction, alpha in edits:
            p = base + gain * alpha * (direction == "probe")
            where = {"task": task, "site": site, "layer": layer, "start": start, "n": 9}
            where["metric"] = "p_undo"
            edit = {"operation": operation, "direction": direction, "alpha": alpha}
            rows.append({**where, **edit, "estimate": p, "lower": p - 0.01, "upper": p + 0.01})
    return rows


def test_the_strongest_site_is_shown() -> None:
    table = pd.DataFrame(made("a", 1, 0.01) + made("b", 2, 0.04), columns=list(COLUMNS))
    figure = steering.plot(table)
    dose = curve(figure.axes[0], steering.DIRECTIONS["probe"])
    assert dose[:, 0].tolist() == [-2, -1, 0, 1, 2]
    assert dose[:, 1] == pytest.approx([0.02, 0.06, 0.1, 0.14, 0.18])
    assert curve(figure.axes[1], steering.EDITS["swap all"])[:, 0].tolist() == [1, 2]


def test_each_task_is_shown_beside_their_mean() -> None:
    tasks = ("colored_dot_tracking", "neuron_tracking", "all")
    rows = [row for task in tasks for row in made("a", 1, 0.04, task)]
    figure = steering.plot(pd.DataFrame(rows, columns=list(COLUMNS)))
    assert len(figure.axes) == 6
    labels = [label.get_text() for label in figure.axes[4].get_yticklabels()]
    assert labels == ["colored dots", "neuron"]
    unedited, moved = (marks(figure.axes[4], steering.DIRECTIONS[n]) for n in ("none", "probe"))
    assert unedited[:, 0] == pytest.approx([0.1, 0.1])
    assert moved[:, 0] == pytest.approx([0.18, 0.18])
