"""Verbs about many runs and their figures: what they list and draw, what an old name answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bcprobe import cli
from bcprobe.cli.study import duration
from bcprobe.experiments import EXPERIMENTS


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str):
    monkeypatch.setattr(sys, "argv", ["bcprobe", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0), *capsys.readouterr()


def test_experiments_are_listed_with_sizes_and_times(capsys, monkeypatch) -> None:
    code, out, _ = run(capsys, monkeypatch, "experiments", "--json")
    listed = {one["name"]: one for one in json.loads(out)["experiments"]}
    assert code == 0
    assert list(listed) == list(EXPERIMENTS)
    assert 1.0e6 < listed["dots-nano"]["parameters"] < 1.4e6
    assert listed["nine-small"]["seconds"]["gpu"] < listed["nine-small"]["seconds"]["cpu"] / 10
    assert listed["dots-nano-independent"]["about"].startswith("dots-nano with the paper's head")


def test_a_plan_lists_runs_and_what_is_left(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    _, out, _ = run(capsys, monkeypatch, "study", "scaling", "--size", "tiny", "--plan", "--json")
    plan = json.loads(out)
    assert len(plan["runs"]) == 8
    assert not any(one["done"] for one in plan["runs"])
    assert plan["seconds_left"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_old_verb_says_the_new_one(capsys, monkeypatch) -> None:
    code, out, err = run(capsys, monkeypatch, "experiment", "layouts", "--plan")
    assert (code, out) == (2, "")
    assert err == "bcprobe: 'experiment' has another name now: bcprobe study layouts --plan\n"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(5, "< 1 min"), (61, "1 min"), (5400, "1.5 h"), (86400 * 3, "3.0 days")],
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_figures_are_drawn_from_a_folder_into_another(capsys, monkeypatch, tmp_path) -> None:
    tables = Path(__file__).parents[1] / "figures"
    (tmp_path / "heads.parquet").write_bytes((tables / "heads.parquet").read_bytes())
    into = ("--from", str(tmp_path), "--out", str(tmp_path / "drawn"))
    code, out, _ = run(capsys, monkeypatch, "figure", "all", *into)
    assert code == 0
    assert out.split() == [str(tmp_path / "drawn" / f"heads.{kind}") for kind in ("pdf", "png")]
    code, _, err = run(capsys, monkeypatch, "figure", "emergence", *into)
    assert code == 2
    assert err == (
        f"bcprobe: no table '{tmp_path / 'emergence.parquet'}'; say where it is with --from\n"
    )
