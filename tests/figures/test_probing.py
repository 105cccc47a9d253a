"""Figures of probes over several tasks show every task's numbers where they belong."""

from __future__ import annotations

import pandas as pd
import pytest

from bcprobe.figures import probing
from bcprobe.figures.learning import LABELS, SKILLS, plot_probe_emergence
from bcprobe.figures.probing import SCHEMES
from bcprobe.probes.result import COLUMNS
from tests.figures.drawn import curve, marks

TASKS = ("colored_dot_tracking", "neuron_tracking", "road_network_construction")
SITES = ("blocks.0.hook_resid_post", "blocks.1.hook_resid_post")


def row(scheme: str, site: str, train: str, test: str, estimate: float, **more: object) -> dict:
    where = {"scheme": scheme, "site": site, "train_task": train, "test_task": test}
    number = {"estimate": estimate, "lower": estimate - 0.05, "upper": estimate + 0.05, "n": 9}
    layer = {"": None}.get(site, int(site[7]) + 1 if site else None)
    usual = {
        "kind": "probe",
        "token": "cls" if site else "",
        "negatives": "errable",
        "metric": "auc",
        "chance": 0.5,
    }
    return {**where, **number, "layer": layer, **usual, **more}


@pytest.fixture
def table() -> pd.DataFrame:
    rows = []
    for layer, site in enumerate(SITES):
        for scheme, base in (("within", 0.9), ("pooled", 0.8), ("left_out", 0.7)):
            rows.append(row(scheme, site, "x", "mean", base - 0.1 * layer))
            rows += [row(scheme, site, t, t, base - 0.02 * i) for i, t in enumerate(TASKS)]
    rows += [row("matrix", SITES[0], a, b, 0.6) for a in TASKS for b in TASKS if a != b]
    rows += [row("cosine", SITES[0], TASKS[i], TASKS[j], 0.3) for i, j in ((1, 0), (2, 0), (2, 1))]
    rows += [
        row("roc", SITES[0], s, "mean", x, kind=s, chance=x)
        for s in ("within", "pooled", "left_out") for x in (0.0, 0.5, 1.0)
    ]  # fmt: skip
    rows += [row("pooled", SITES[0], "all", "all", 0.4, kind="selectivity", chance=0.0)]
    rows += [row("pooled", "", "all", "all", 0.55, kind="pixels")]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"layer": "Int64"})


def test_layers_tasks_and_matrix_hold_the_numbers(table: pd.DataFrame) -> None:
    layers, roc, tasks, matrix = probing.plot_many_tasks(table).axes
    assert curve(layers, SCHEMES["within"])[:, 1] == pytest.approx([0.9, 0.8])
    levels = [line.get_ydata()[0] for line in layers.lines if list(line.get_xdata()) == [0, 1]]
    assert levels == pytest.approx([0.55, 0.5])
    assert roc.lines[0].get_ydata() == pytest.approx([0.0, 0.5, 1.0])
    names = [label.get_text() for label in tasks.get_yticklabels()]
    assert names == ["colored dots", "neuron", "roads"]
    assert marks(tasks, SCHEMES["within"])[:, 0] == pytest.approx([0.9, 0.88, 0.86])
    written = [text.get_text() for text in matrix.texts]
    assert written == [".90", ".60", ".60", ".60", ".88", ".60", ".60", ".60", ".86"]


def test_cosines_are_shown_both_ways(table: pd.DataFrame) -> None:
    (axis,) = probing.plot_cosines(table).axes
    assert [text.get_text() for text in axis.texts] == [".30"] * 6


def test_each_latent_has_a_row(table: pd.DataFrame) -> None:
    both = pd.concat([table.assign(latent=name) for name in ("phase", "position")])
    axes = probing.plot_labels(both).axes
    assert [axis.get_title(loc="left") for axis in axes] == ["phase", "", "position", ""]


def test_probes_stand_above_skills_over_training() -> None:
    rows = [
        {"what": what, "name": name, "frames": frames, "estimate": value, "lower": 0, "upper": 1}
        for what, name in (("probe", "mistake"), ("skill", "undo"))
        for frames, value in ((1024, 0.1), (2048, 0.6))
    ]
    table = pd.concat([pd.DataFrame(rows).assign(checkpoint=name) for name in ("dots", "nine")])
    axes = plot_probe_emergence(table).axes
    assert [axis.get_title() for axis in axes] == ["dots", "", "nine", ""]
    for axis, look in zip(axes, [LABELS["mistake"], SKILLS["undo"]] * 2, strict=True):
        assert curve(axis, look).tolist() == [[1024, 0.1], [2048, 0.6]]


def test_baselines_stand_beside_the_probe_and_what_it_adds() -> None:
    rows = []
    for task in (*TASKS, "mean"):
        for negatives, base in (("errable", 0.9), ("history_matched", 0.7)):
            for kind, less in (("probe", 0.0), ("click_history", 0.1), ("p_undo", 0.05)):
                site = SITES[1] if kind == "probe" else ""
                names = {"kind": kind, "negatives": negatives, "token": "cls" if site else ""}
                rows.append(row("within", site, task, task, base - less, **names))
        for number, kind in enumerate(probing.ADDED):
            gain = row("added", SITES[1], task, task, 0.03 * number, kind=kind, token="cls")
            rows.append({**gain, "chance": 0.0})
    rows.append(row("pooled", SITES[1], "all", "all", 0.4, kind="selectivity", token="cls"))
    left, alike, added = probing.plot_baselines(pd.DataFrame(rows)).axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["colored dots", "neuron", "roads", "mean over tasks"]
    probe, history = (probing.BESIDE[name] for name in ("probe", "click_history"))
    assert marks(left, probe)[:, 0] == pytest.approx([0.9] * 4)
    assert marks(alike, history)[:, 0] == pytest.approx([0.6] * 4)
    assert marks(added, probing.ADDED["added_to_both"])[:, 0] == pytest.approx([0.06] * 4)


def test_models_that_learned_otherwise_have_a_panel_each() -> None:
    rows = [
        {"task": TASKS[0], "detector": detector, "what": "rate", "shift": shift,
         "training": training, "manner": manner, "estimate": 0.1 * k, "lower": 0, "upper": 1}
        for k, (training, manner) in enumerate(probing.LEARNED)
        for detector in ("probe", "p_undo")
        for shift in (0.0, 6.0)
    ]  # fmt: skip
    axes = probing.plot_graded(pd.DataFrame(rows)).axes
    assert [axis.get_title(loc="left") for axis in axes] == list(probing.LEARNED.values())
    heights = [axis.lines[0].get_ydata()[0] for axis in axes]
    assert heights == pytest.approx([0, 0.1, 0.2, 0.3])


def test_mistakes_and_undos_stand_apart_by_what_reads_them() -> None:
    questions = ("mistake where Undo comes", "Undo where a mistake stands")
    rows = [
        {"training": "dots", "scheme": scheme, "kind": kind, "token": token,
         "negatives": question, "estimate": value, "lower": value - 0.1, "upper": value + 0.1}
        for scheme in probing.CROSSED_STEPS
        for question, value in zip(questions, (0.9, 0.5), strict=True)
        for kind, token in (("probe", "cls"), ("probe", "placed"), ("p_undo", ""))
    ]  # fmt: skip
    left, right = probing.plot_two_by_two(pd.DataFrame(rows)).axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(questions)
    for axis in (left, right):
        for name in ("probe cls", "probe placed", "p_undo"):
            assert marks(axis, probing.CROSSED[name])[:, 0] == pytest.approx([0.9, 0.5])


def test_psychometric_curves_have_their_thresholds_on_the_axis() -> None:
    rows = [
        {"task": task, "detector": detector, "what": "mistake" if detector == "mistake" else "rate",
         "shift": shift, "estimate": shift / 30, "lower": shift / 40, "upper": shift / 20}
        for task in TASKS[:2]
        for detector in probing.DETECTORS
        for shift in (0.0, 6.0, 12.0)
    ]  # fmt: skip
    ends = {"what": "threshold", "estimate": 7.0, "lower": 5.0, "upper": 9.0, "shift": None}
    rows.append({"task": TASKS[0], "detector": "probe", **ends})
    dots, neuron = probing.plot_psychometric(pd.DataFrame(rows)).axes
    assert [axis.get_title(loc="left") for axis in (dots, neuron)] == ["colored dots", "neuron"]
    curves = [line for line in dots.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in curves] == [[0, 6, 12]] * 3
    ticks = [list(line.get_xdata()) for line in dots.lines if len(line.get_xdata()) < 3]
    assert ticks == [[5, 9], [7]]
    assert len(neuron.lines) == 3
