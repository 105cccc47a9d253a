"""Tables of swaps and directions: few rows, their meaning, and the conclusion as the last line."""

from __future__ import annotations

import json
import sys

import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations
from bcprobe.cli.__main__ import main
from bcprobe.cli.report import (
    print_patching,
    print_probe,
    print_steering,
    strongest_cell,
    strongest_direction,
)
from bcprobe.interventions import directions, maps
from bcprobe.probes.protocol import probe


def cell(tokens: str, layer: int, estimate: float, **others: object) -> dict[str, object]:
    usual = {"task": "dots", "start": "wrong", "component": "resid", "head": float("nan")}
    known = {"lag": 0, "later": 0, "metric": "effect", "lower": estimate - 0.1}
    number = {"estimate": estimate, "upper": estimate + 0.1, "n": 24}
    return {**usual, "layer": layer, "tokens": tokens, **known, **number, **others}


def table_of(*cells: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(cells, columns=list(maps.COLUMNS))


CELLS = table_of(
    cell("all", 0, 1.0), cell("placed", 0, 0.9), cell("placed", 1, 0.2), cell("cls", 1, 0.3),
    cell("cls", 1, 0.95, start="right"), cell("cls", 1, 0.97, component="mlp_out"),
    cell("cls", 1, 0.5, metric="p_undo"),
)  # fmt: skip


@pytest.mark.parametrize("width", [30, 80, 100, 140])
def test_a_map_is_one_short_table_of_the_wrong_side(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_patching(CELLS, "dots", details=False)
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "dots: resid, wrong side edited"
    assert all(number in shown for number in ("1.00", "0.90", "0.20", "0.30"))
    assert "0.95" not in shown
    assert "mlp_out" not in shown
    print_patching(CELLS, "dots", details=True)
    details = capsys.readouterr().out
    assert "mlp_out, wrong side edited" in details
    assert "right side edited" in details
    assert "[0.800," in details


def test_the_conclusion_names_the_strongest_small_group_with_its_interval() -> None:
    said = "resid at placed, layer 0, wrong side edited: effect 0.900 [0.800, 1.000], 24 pairs"
    assert strongest_cell(CELLS).endswith(said)
    nan = float("nan")
    alone = table_of(cell("cls", -1, 0.5, lower=nan, upper=nan, n=1, component="memory"))
    assert "all layers" in strongest_cell(alone)
    assert strongest_cell(alone).endswith("(no interval: a single pair), 1 pair")
    assert "do not differ" in strongest_cell(CELLS[:0])


def test_a_probe_prints_its_layers_and_baselines_and_all_rows_when_asked(
    planted: Activations, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    found = probe(planted, "mistake")
    print_probe(found, "planted", 8, details=False)
    few = capsys.readouterr().out.splitlines()
    firsts = [line.split()[0] for line in few[3:]]
    assert firsts.count("probe") == 3
    assert {"untrained", "pixels", "click_history", "selectivity", "layer:"} <= set(firsts)
    assert len(few) < 20
    print_probe(found, "planted", 8, details=True)
    every = capsys.readouterr().out.splitlines()
    assert len([line for line in every if line.startswith("probe ")]) > 3
    assert "control_task" in "".join(every)


def test_directions_end_with_the_strongest_that_is_no_control(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {
        "task": "dots", "tokens": "placed", "layer": 2, "operation": "add", "source": "within",
        "coefficient": 1.0, "metric": "effect", "lower": 0.1, "upper": 0.99, "n": 4,
        "percentile_norm": 97.0, "percentile_covariance": 80.0,
    }  # fmt: skip
    rows = [
        {**usual, "kind": kind, "start": start, "estimate": estimate}
        for kind, start, estimate in (
            ("logistic", "wrong", 0.2), ("lda", "wrong", 0.4), ("lda", "right", 0.7),
            ("random_norm", "wrong", 0.8), ("das 1 arbitrary", "wrong", 0.9),
        )
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(directions.COLUMNS))
    line = strongest_direction(table)
    assert "add lda within at placed, layer 2, dots: effect 0.400 [0.100, 0.990]" in line
    assert "percentile 97 of random directions" in line
    print_steering(table, "nano", details=False)
    few = capsys.readouterr().out
    assert "0.400" in few
    assert "0.700" not in few
    assert "random_norm" not in few
    monkeypatch.setenv("COLUMNS", "67")
    print_steering(pd.concat([table, table.assign(task="mice")]), "nano", details=False)
    shown = capsys.readouterr().out
    assert shown.count("add lda") == 2
    assert "direction" in shown
    assert "\u2026" not in shown
    assert "logistic" not in shown
    print_steering(table, "nano", details=True)
    assert "0.700" in capsys.readouterr().out


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    monkeypatch.setattr(sys, "argv", ["bcprobe", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    return capsys.readouterr().out


def test_patching_between_worlds_from_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("patch", "--checkpoint", "dots-nano", "--pairs", 2, "--shift", 40, "--layer", 0)
    only = (*asked, "--component", "resid", "--tokens", "placed")
    shown = run(capsys, monkeypatch, *only).splitlines()
    assert "2 pairs, truth moved 40 px: resid, wrong side edited" in shown[0]
    assert shown[-1].startswith("strongest of the small groups: resid at placed, layer 0")
    scores = json.loads(run(capsys, monkeypatch, *only, "--json"))["scores"]
    assert {row["tokens"] for row in scores if row["metric"] == "effect"} == {"placed"}
