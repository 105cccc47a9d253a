"""Figures of causes: the map, the route and the directions show what their tables hold."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from bcprobe.figures import causes
from bcprobe.figures.style import TASKS as TASK_NAMES
from tests.figures.drawn import marks

TASKS = ("neuron_tracking", "colored_dot_tracking")


def patching_rows(tasks: tuple[str, ...], lags: int) -> pd.DataFrame:
    rows = [
        {"task": task, "start": start, "component": "resid", "layer": layer, "tokens": tokens,
         "lag": lag, "later": later, "metric": "effect",
         "estimate": 0.1 * layer + 0.5 * (tokens == "cls") - 0.3 * (start == "right")}
        for task, start, layer, tokens, lag, later in product(
            tasks, ("right", "wrong"), range(3), ("placed", "cls"), range(lags), range(lags))
        if later >= lag
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_map_has_a_panel_a_task_with_the_edits_of_the_wrong_side() -> None:
    figure = causes.plot_patching(patching_rows(TASKS, 2))
    dots, neuron, bar = figure.axes
    assert [axis.get_title(loc="left") for axis in (dots, neuron)] == ["colored dots", "neuron"]
    assert [label.get_text() for label in dots.get_yticklabels()] == ["[cls]", "placed patch"]
    written = [text.get_text() for text in dots.texts]
    assert written == [".50", ".60", ".70", ".00", ".10", ".20"]
    assert bar.get_xlabel().startswith("0: nothing changes")


def test_the_map_of_one_task_has_a_panel_for_each_pair_of_frames() -> None:
    figure = causes.plot_patching(patching_rows(TASKS[:1], 2))
    titles = [axis.get_title(loc="left") for axis in figure.axes[:3]]
    assert titles == [f"frame {a} edited, answer at {b}" for a, b in ((0, 0), (0, 1), (1, 1))]


def test_directions_stand_beside_the_random_ones() -> None:
    names = {"start": "wrong", "metric": "effect", "layer": 2, "tokens": "placed"}
    rows = [
        {**names, "task": task, "operation": operation, "coefficient": coefficient, "kind": kind,
         "source": "" if kind.startswith("random") else source, "estimate": value,
         "lower": value - 0.1, "upper": value + 0.1}
        for task in TASKS
        for (operation, source, coefficient) in causes.EDITS
        for kind, value in (("logistic", 0.4), ("lda", 0.2), ("random_norm", 0.0))
    ]  # fmt: skip
    axes = causes.plot_directions(pd.DataFrame(rows)).axes
    assert len(axes) == len(causes.EDITS)
    for axis in axes:
        assert marks(axis, causes.KINDS["logistic"])[:, 0] == pytest.approx([0.4, 0.4])
        ends = {x for one in axis.collections for x in _verticals(one)}
        assert ends == {-0.1, 0.1}
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert names == ["colored dots", "neuron"]


def _verticals(collection: object) -> list[float]:
    if type(collection).__name__ != "LineCollection":
        return []
    ends = [np.asarray(segment) for segment in collection.get_segments()]
    return [round(float(a[0, 0]), 6) for a in ends if a[0, 0] == a[-1, 0]]


def test_of_many_tasks_the_strongest_routes_are_drawn() -> None:
    tasks = list(TASK_NAMES)[:5]
    rows = [
        {"task": task, "start": "wrong", "later": 0, "sender": "placed patch", "receiver": "query",
         "estimate": 0.1 + 0.1 * number, "lower": 0.0, "upper": 1.0}
        for number, task in enumerate(tasks)
    ]  # fmt: skip
    axes = causes.plot_circuit(pd.DataFrame(rows)).axes
    assert [axis.get_title(loc="left") for axis in axes] == [TASK_NAMES[t] for t in tasks[2:]]


def test_the_circuit_numbers_strong_edges_and_leaves_out_idle_heads() -> None:
    edges = [
        ("mark's patch", "placed patch", 0.9), ("placed patch", "head 2.0", 0.4),
        ("placed patch", "head 2.1", 0.01), ("head 2.0", "query", -0.2), ("query", "answer", 0.8),
        ("head 2.1", "query", 0.02), ("placed patch", "query", 0.03),
    ]  # fmt: skip
    rows = [
        {"task": TASKS[0], "start": "wrong", "later": 0, "sender": a, "receiver": b,
         "estimate": value, "lower": value - 0.1, "upper": value + 0.1}
        for a, b, value in edges
    ]  # fmt: skip
    (axis,) = causes.plot_circuit(pd.DataFrame(rows)).axes
    texts = {text.get_text() for text in axis.texts}
    assert {"mark's patch", "placed patch", "head 2.0", "query", "answer"} <= texts
    assert "head 2.1" not in texts
    assert {text for text in texts if "[" in text} == {
        "0.90 [0.80, 1.00]", "0.40 [0.30, 0.50]", "−0.20 [−0.30, −0.10]", "0.80 [0.70, 0.90]",
    }  # fmt: skip
    assert len(axis.lines) == len(edges) - 2
