"""The whole evaluation runs, names what it measured, and refuses bad input."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bcprobe.errors import InputError
from bcprobe.evaluation.metrics import COLUMNS
from bcprobe.evaluation.suite import SECTIONS, Evaluation, evaluate
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
