"""Mistakes against the data's, on counts that can be checked by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import pytest

from bcprobe.episodes.episode import Episode
from bcprobe.evaluation.metrics import score_table
from bcprobe.evaluation.mistakes import count_table, mistake_rows, verdicts
from bcprobe.types import ALL

Make = Callable[..., Episode]


def counts(
    policy: str, mistakes: Sequence[int], task: str = "dots", **names: float
) -> pd.DataFrame:
    worlds = len(mistakes)
    columns = {"world": range(worlds), "mistakes": mistakes, "clean_placements": [10] * worlds}
    rest = {"undos": mistakes, "placements_and_undos": [20] * worlds}
    return pd.DataFrame({**columns, **rest}).assign(task=task, policy=policy, **names)


def test_episodes_are_counted(scripted: Make) -> None:
    slip = scripted((0, 0, 0), "+z", (1, 20, 0), "Undo", (1, 0, 0), "Done")
    idle = scripted("+z", "Done")
    found = count_table([slip, idle], task="dots", policy="data")
    assert found["world"].tolist() == [0, 1]
    assert found["clean_placements"].tolist() == [3, 0]
    assert found["mistakes"].tolist() == [1, 0]
    assert found["placements_and_undos"].tolist() == [4, 0]
    assert found["undos"].tolist() == [1, 0]


def test_the_difference_is_paired_by_world() -> None:
    data = counts("data", [0, 2, 4, 6] * 10)
    model = counts("model", [1, 3, 5, 7] * 10, temperature=1.0)
    table = score_table(mistake_rows(pd.concat([data, model]))).set_index("metric")
    assert table.loc["mistake_rate", "estimate"].tolist() == pytest.approx([0.3, 0.4])
    difference = table.loc["mistake_rate_minus_data"]
    assert difference[["estimate", "lower", "upper"]].tolist() == pytest.approx([0.1, 0.1, 0.1])
    assert table.loc["mistake_rate", "upper"].iloc[0] > 0.35
    assert table.loc["error_undo_rate_minus_data", "estimate"] == pytest.approx(0.05)


def test_tasks_stand_alone_and_together() -> None:
    parts = [counts(p, m, t) for t in ("dots", "roads") for p, m in (("data", [1, 1]),)]
    parts += [counts("model", [2, 2], "dots", temperature=0.0)]
    parts += [counts("model", [4, 4], "roads", temperature=0.0)]
    table = score_table(mistake_rows(pd.concat(parts)))
    rates = table[(table["metric"] == "mistake_rate") & (table["policy"] == "model")]
    assert rates["task"].tolist() == ["dots", "roads", ALL]
    assert rates["estimate"].tolist() == pytest.approx([0.2, 0.4, 0.3])


@pytest.mark.parametrize(
    ("cold", "warm", "said"),
    [
        ([0, 0, 1, 0], [0, 1, 0, 0], "fewer"),
        ([0, 0, 1, 0], [3, 3, 3, 3], "denoising"),
        ([9, 9, 9, 9], [8, 8, 8, 8], "more"),
        ([2, 4, 2, 4], [4, 2, 2, 4], "unclear"),
    ],
)
def test_verdicts(cold: list[int], warm: list[int], said: str) -> None:
    parts = [counts("data", [3, 3, 3, 3])]
    parts += [counts("model", m, temperature=t) for m, t in ((cold, 0.0), (warm, 1.0))]
    assert verdicts(score_table(mistake_rows(pd.concat(parts)))) == {"dots": said}


def test_without_placements_there_is_no_rate() -> None:
    none = counts("data", [0, 0]).assign(clean_placements=0)
    model = counts("model", [1, 1], temperature=1.0)
    table = score_table(mistake_rows(pd.concat([none, model]))).set_index(["metric", "policy"])
    assert table.loc[("mistake_rate", "data"), "estimate"] != 0
    assert pd.isna(table.loc[("mistake_rate_minus_data", "model"), "estimate"])
