"""When half of a skill is there: by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from bcprobe.evaluation.emergence import emergence_rows, half_time, skill_counts

FRAMES = np.array([0, 1000, 2000, 4000])


@pytest.mark.parametrize(
    ("accuracy", "half"),
    [
        ([0.0, 0.0, 0.8, 0.8], 1500),
        ([0.0, 0.2, 0.4, 0.8], 2000),
        ([0.9, 0.9, 0.9, 0.9], 0),
        ([0.0, 0.6, 0.2, 1.0], 2750),
        ([0.0, 0.6, math.nan, 1.0], 4000),
        ([0.0, 0.0, 0.0, 0.0], math.nan),
        ([0.0, 0.0, 0.0, math.nan], math.nan),
    ],
)
def test_half_time(accuracy: list[float], half: float) -> None:
    assert half_time(FRAMES, np.array(accuracy)) == pytest.approx(half, nan_ok=True)


def test_counts_follow_kinds_and_buttons() -> None:
    rows = [("place_right", False, True, True), ("undo", True, False, True)]
    rows += [("navigate", True, True, False), ("place_mistaken", False, False, False)]
    table = pd.DataFrame(rows, columns=["kind", "button", "hit", "valid"])
    found = skill_counts(table.assign(task="dots", episode=0)).set_index("skill")
    assert found["n"].to_dict() == {"valid": 4, "buttons": 2, "place": 1, "undo": 1}
    assert found["hits"].to_dict() == {"valid": 2, "buttons": 1, "place": 1, "undo": 0}


def test_skills_that_come_later_have_later_intervals() -> None:
    def counts(frames: int) -> pd.DataFrame:
        rows = []
        for episode in range(20):
            early = min(10, frames // 100 + episode % 3) if frames else 0
            late = 10 if frames == 4000 else 0
            skills = (("buttons", early), ("undo", late))
            for skill, hits in skills[: 1 + (episode < 15)]:  # a few undo nothing
                names = {"skill": skill, "task": "dots", "episode": episode}
                rows.append({**names, "hits": hits, "n": 10})
        return pd.DataFrame(rows)

    table = pd.DataFrame(list(emergence_rows({int(f): counts(f) for f in FRAMES})))
    half = table[table["metric"] == "half"].set_index("skill")
    assert half.loc["buttons", "upper"] < half.loc["undo", "lower"]
    assert half.loc["undo", "estimate"] == pytest.approx(3000)
    last = table[(table["metric"] == "accuracy") & (table["frames"] == 4000)]
    assert last["estimate"].tolist() == pytest.approx([1.0, 1.0])
