"""Figures of the studies: what is drawn is what their tables say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from bcprobe.figures import behaviour, learning
from bcprobe.studies import scaling as scaling_study
from tests.figures.drawn import curve, marks
from tests.studies.test_summaries import FRAMES, SIZES, scaling_rows

SITES = [f"blocks.{layer}.hook_resid_post" for layer in range(3)]


def with_interval(rows: list[dict[str, object]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    return table.assign(lower=table["estimate"] - 0.05, upper=table["estimate"] + 0.05, n=10)


def test_scaling_has_a_line_a_size_and_the_frames_each_takes() -> None:
    table = scaling_study.summarise(scaling_rows())
    frames, flops, needed, decided = learning.plot_scaling(table).axes
    for axis, most in ((frames, FRAMES[-1]), (flops, SIZES[-1] * FRAMES[-1])):
        curves = [line for line in axis.lines if len(line.get_xdata()) == len(FRAMES)]
        assert len(curves) == len(SIZES)
        assert max(curves[-1].get_xdata()) == most
    values = table[table["metric"] == "frames_to_loss"].sort_values("parameters")["estimate"]
    assert np.allclose(needed.lines[0].get_ydata(), values)
    assert len(decided.lines) == len(learning.DECISIONS)


def transfer_rows() -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for start, counts in {
        "fine_tuned": (50, 500), "scratch": (50, 500, 8000), "zero_shot": (0,), "in_context": (0,),
    }.items():  # fmt: skip
        for metric, episodes in product(("success", "score"), counts):
            estimate = episodes / 10_000
            rows.append(
                {"metric": metric, "start": start, "episodes": episodes, "estimate": estimate}
            )
    for when, site in product(learning.WHEN, SITES):
        inside = {"when": when, "site": site}
        rows.append({"metric": "auc", "estimate": 0.6, **inside})
        for direction, side in product(("mistake", "random"), ("right", "wrong")):
            change = 0.6 if direction == "mistake" else 0.0
            named = {"direction": direction, "side": side}
            rows.append({"metric": "p_undo_change", "estimate": change, **named, **inside})
    return with_interval(rows)


def test_transfer_draws_what_was_learned_and_what_steering_changes() -> None:
    success, score, reading, steering = learning.plot_transfer(transfer_rows()).axes
    for axis in (success, score):
        assert curve(axis, learning.STARTS["scratch"])[:, 0].tolist() == [50, 500, 8000]
        fine_tuned = curve(axis, learning.STARTS["fine_tuned"])[:, 1]
        assert fine_tuned == pytest.approx([0.005, 0.05])
    assert len(reading.lines) == len(learning.WHEN) + 1
    changes = [line.get_ydata()[0] for line in steering.lines]
    assert changes == pytest.approx([0.6, 0.0] * len(learning.WHEN) + [0.0])


def test_layouts_have_a_panel_a_kind_and_the_probe_below() -> None:
    value = {"first": 0.9, "trained": 0.5, "held_out": 0.3}
    rows: list[dict[str, object]] = [
        {"metric": "accuracy", "training": t, "group": g, "kind": k, "estimate": value[g]}
        for t, g, k in product(learning.TRAINING, value, learning.KINDS)
    ]
    rows += [
        {"metric": "auc", "training": t, "group": g, "site": s, "estimate": value[g]}
        for t, g, s in product(("none", "eight"), value, SITES)
    ]
    figure = learning.plot_layouts(with_interval(rows).assign(layout=None))
    *panels, probe = [axis for half in figure.subfigs for axis in half.axes]
    assert len(panels) == len(learning.KINDS)
    for axis in panels:
        assert all(line.get_ydata().tolist() == [0.9, 0.5, 0.3] for line in axis.lines)
    assert len(probe.lines) == 2 * len(value) + 1


def test_dagger_draws_the_tasks_it_worked_on() -> None:
    rows: list[dict[str, object]] = []
    for number, method in enumerate(behaviour.METHODS):
        tasks = ("road_network_construction", "animal_limb_tracking")
        for task in tasks if method == "none" else tasks[:1]:
            named = {"task": task, "method": method, "estimate": 0.1 * number}
            rows += [
                {"metric": metric, "kind": kind, **named} for metric, kind, _ in behaviour.MEASURES
            ]
    axes = behaviour.plot_dagger(with_interval(rows)).axes
    assert len(axes) == len(behaviour.MEASURES)
    for axis in axes:
        grey, blue = (marks(axis, behaviour.METHOD_LOOKS[name]) for name in ("none", "beta-0"))
        assert grey == pytest.approx(np.array([(0, 0)]))
        assert blue == pytest.approx(np.array([(0.1, 1), (0.2, 2), (0.3, 3)]))


def test_recoveries_compare_the_methods_in_work_and_in_the_probe() -> None:
    rows: list[dict[str, object]] = []
    for number, method in enumerate((*learning.METHODS, "recoveries_minus_plain")):
        value = 0.1 * (1 + number)
        for metric, temperature in product(learning.WORK, learning.TEMPERATURES):
            named = {"metric": metric, "temperature": temperature}
            rows.append({**named, "task": "all", "method": method, "estimate": value})
            rows.append({**named, "task": "neuron_tracking", "method": method, "estimate": 0.9})
        for kind, (depth, site) in product(learning.TESTED, enumerate(SITES)):
            named = {"metric": "auc", "kind": kind, "site": site, "task": "all"}
            rows.append({**named, "method": method, "estimate": value + 0.2 * depth})
    *work, probe = learning.plot_recoveries(with_interval(rows)).axes
    assert len(work) == len(learning.WORK)
    for axis in work:
        assert marks(axis, learning.TEMPERATURES[0.5])[:, 0] == pytest.approx([0.1, 0.2, 0.3])
    assert marks(probe, learning.TESTED["own"])[:, 0] == pytest.approx([0.5, 0.6, 0.7])
    names = [label.get_text() for label in work[0].get_yticklabels()]
    assert names == list(learning.METHODS.values())
