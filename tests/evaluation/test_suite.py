"""The whole evaluation runs, names what it measured, and refuses bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bcprobe.errors import InputError
from bcprobe.evaluation.metrics import COLUMNS
from bcprobe.evaluation.model_card import write_model_card
from bcprobe.evaluation.suite import SECTIONS, Evaluation, evaluate
from bcprobe.evaluation.summary import percent, tables
from bcprobe.experiments import get_experiment
from bcprobe.model import precision
from bcprobe.model.checkpoint import save_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.results import Score

TASK = "colored_dot_tracking"
FEW: dict[str, Any] = {
    "episodes": 2,
    "temperatures": (0.0, 1.0),
    "max_steps": 12,
    "progress": False,
}


@pytest.fixture(scope="module")
def result(tiny: ClickTransformer) -> Evaluation:
    return evaluate(tiny, TASK, **FEW)


def test_every_part_is_there(result: Evaluation) -> None:
    table = result.table()
    assert tuple(table.columns) == COLUMNS
    assert set(table["section"]) == {*SECTIONS, "mistakes"}
    closed = table[table["section"] == "closed_loop"]
    assert set(closed["policy"]) == {"model", "annotator", "random", "repeat"}
    assert set(closed[closed["policy"] == "model"]["temperature"]) == {0.0, 1.0}
    copycat = table[table["section"] == "copycat"]
    assert {"repeat", "one frame", "scrambled history", "same window in order"} <= set(
        copycat["policy"]
    )
    assert not table.duplicated(subset=list(COLUMNS[:6])).any()


def test_json_form(result: Evaluation) -> None:
    document = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    found = document["results"][TASK]
    assert set(found["closed_loop"]["model T=1"]["success"]) == {"estimate", "lower", "upper", "n"}
    assert found["forced_mistakes"]["annotator"]["undone"]["estimate"] == 1
    assert document["settings"]["episodes"] == 2
    assert set(found["mistakes"]["model T=1"]) == {
        "mistake_rate", "mistake_rate_minus_data", "error_undo_rate", "error_undo_rate_minus_data",
    }  # fmt: skip
    assert document["mistakes_than_data"][TASK] in ("fewer", "denoising", "more", "unclear")


def test_progress_is_reported_by_task(
    tiny: ClickTransformer, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {**FEW, "sections": ["closed_loop"]}
    evaluate(tiny, [TASK, "shape_matching"], **options | {"progress": True})
    assert capsys.readouterr().err.split("\n") == [
        f"evaluated {TASK}",
        "evaluated shape_matching",
        "",
    ]
    evaluate(tiny, TASK, **options)
    assert capsys.readouterr().err == ""


def test_workers_side_by_side_find_the_same(tiny: ClickTransformer, tmp_path: Path) -> None:
    folder = save_checkpoint(tiny, tmp_path / "small")
    tasks = [TASK, "shape_matching"]
    options: dict[str, Any] = {**FEW, "sections": ["closed_loop"]}
    alone = evaluate(folder, tasks, workers=1, **options).table()
    apart = evaluate(folder, tasks, workers=2, **options).table()
    assert alone.equals(apart)
    assert list(dict.fromkeys(alone["task"])) == [*tasks, "all"]


def test_a_damaged_checkpoint_is_one_line(tiny: ClickTransformer, tmp_path: Path) -> None:
    folder = save_checkpoint(tiny, tmp_path / "small")
    next(folder.glob("*.safetensors")).write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        evaluate(folder, [TASK, "shape_matching"], workers=2, **FEW)


def test_the_summary_shows_the_scores_in_percent(result: Evaluation) -> None:
    forced, alone, wrong = tables(result.table())
    assert [rows[0][0] for _, _, rows in (forced, alone, wrong)] == [TASK] * 3
    assert alone[1] == ["task", "T=0", "T=1", "annotator", "random", "repeat"]
    scores = result.table()
    chosen = (scores["metric"] == "validity") & (scores["kind"] == "all")
    assert forced[2][0][1] == percent(scores[chosen & (scores["policy"] == "model")].iloc[0])
    assert wrong[2][0][-2] == result.as_dict()["mistakes_than_data"][TASK]


def test_percent_rounds_intervals_outwards() -> None:
    assert percent(Score(0.5, 0.25, 0.75, 9)) == "50 25-75"
    assert percent(Score(0.012, 0.001, 0.996, 9)) == "1.2 0-100"
    assert percent(Score(0.996, 0.9549, 0.998, 9)) == "99.6 95-100"
    assert percent(Score(1.0, math.nan, math.nan, 1)) == "100"


def test_the_same_seed_gives_the_same_scores(tiny: ClickTransformer) -> None:
    options: dict[str, Any] = {**FEW, "sections": ["closed_loop"]}
    first, second, other = (
        evaluate(tiny, [TASK], seed=seed, **options).table() for seed in (0, 0, 7)
    )
    assert first.equals(second)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["colored_dots"]}, "colored_dot_tracking"),
        ({"layout": "orignal"}, "original"),
        ({"difficulty": "harder"}, "hard"),
        ({"episodes": 0}, "episodes is 0"),
        ({"temperatures": ()}, "no temperatures"),
        ({"temperatures": (-1.0,)}, "temperature -1"),
        ({"sections": ["closed"]}, "closed_loop"),
    ],
)
def test_bad_input_is_one_line(
    tiny: ClickTransformer, changes: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {"tasks": [TASK], **FEW, **changes}
    with pytest.raises(InputError, match=message) as error:
        evaluate(tiny, **arguments)
    assert "\n" not in str(error.value)


def test_unknown_checkpoint_is_one_line() -> None:
    with pytest.raises(InputError):
        evaluate("no-such-checkpoint", [TASK], **FEW)


def test_a_card_tells_origin_scores_and_failures(
    tiny: ClickTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCPROBE_CHECKPOINTS", str(tmp_path))
    plan = get_experiment("tiny").as_dict() | {"start_from": "older"}
    known = {"experiment": plan, "commit": "abc", "step": 4}
    save_checkpoint(tiny, tmp_path / "small", frames=512, seconds=7200.0, **known)
    found = evaluate("small", [TASK], **FEW, sections=["teacher_forced", "closed_loop"])
    assert "TRAINING.md" not in write_model_card(found).read_text()
    (tmp_path / "small" / "TRAINING.md").write_text("How it went.")
    text = write_model_card(found).read_text()
    assert "how it was run: `TRAINING.md`" in text
    assert "frames learned from: 512 in 4 steps, after those of `older`" in text
    assert "taught the annotators' clicks" in text
    assert "time: 2.00 h; code at commit `abc`" in text
    table = found.table()
    chosen = (table["metric"] == "validity") & (table["kind"] == "all")
    score = next(table[chosen & (table["policy"] == "model")].itertuples())
    assert f"| {TASK} | {percent(score)} |" in text
    parameters = sum(weights.numel() for weights in tiny.parameters())
    assert f"{parameters / 1e6:.2f} M parameters" in text
    failures = text.partition("## Known failures")[2]
    assert failures.count(f"- {TASK}: ") == 1
    assert "in closed loop at T = 0 it succeeds in 0% of the worlds" in failures
    assert "classify" not in text


def test_a_checkpoint_that_asks_for_bfloat16_gets_it_where_the_processor_has_it(
    tiny: ClickTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {**FEW, "sections": ["teacher_forced"]}
    folder = save_checkpoint(tiny, tmp_path / "asks", products="bf16")

    def nll(native: bool, **more: Any) -> float:
        monkeypatch.setattr(precision, "cpu_multiplies_bf16", lambda: native)
        table = evaluate(folder, TASK, **options, **more).table()
        chosen = (table["metric"] == "nll") & (table["kind"] == "all")
        return float(table.loc[chosen, "estimate"].iloc[0])

    exact = nll(False)
    assert nll(True) == nll(True, precision="bf16") != exact
    assert nll(True) == pytest.approx(exact, abs=0.05)
    assert nll(True, precision="fp32") == exact
