"""The whole evaluation runs, names what it measured, and refuses bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bcprobe.errors import InputError
from bcprobe.evaluation.metrics import COLUMNS
from bcprobe.evaluation.model_card import write_model_card
from bcprobe.evaluation.suite import SECTIONS, Evaluation, evaluate
from bcprobe.experiments import get_experiment
from bcprobe.model.checkpoint import save_checkpoint
from bcprobe.model.transformer import ClickTransformer

TASK = "colored_dot_tracking"
FEW: dict[str, Any] = {"episodes": 2, "temperatures": (0.0, 1.0), "max_steps": 12}


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def result(tiny: ClickTransformer, lines: list[str]) -> Evaluation:
    return evaluate(tiny, [TASK], **FEW, say=lines.append)


def test_every_part_is_there(result: Evaluation) -> None:
    table = result.table()
    assert tuple(table.columns) == COLUMNS
    assert set(table["section"]) == set(SECTIONS)
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


def test_progress_is_told(result: Evaluation, lines: list[str]) -> None:
    assert len(lines) >= 8
    assert all(line.startswith(TASK) for line in lines)


def test_the_same_seed_gives_the_same_scores(tiny: ClickTransformer) -> None:
    options: dict[str, Any] = {**FEW, "sections": ["closed_loop"], "say": lambda _: None}
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
    known = {"experiment": get_experiment("tiny").as_dict(), "commit": "abc", "step": 4}
    save_checkpoint(tiny, tmp_path / "small", frames=512, seconds=7200.0, **known)
    found = evaluate(
        "small", [TASK], **FEW, sections=["teacher_forced", "closed_loop"], say=lambda _: None
    )
    text = write_model_card(found).read_text()
    assert "frames learned from: 512 in 4 steps" in text
    assert "time: 2.00 h; code at commit `abc`" in text
    table = found.table()
    chosen = (table["metric"] == "validity") & (table["kind"] == "all")
    score = next(table[chosen & (table["policy"] == "model")].itertuples())
    assert f"| {TASK} | {score.estimate:.3f} [{score.lower:.3f}, {score.upper:.3f}] |" in text
    assert f"- {TASK}: alone it succeeds in 0% of the worlds" in text
