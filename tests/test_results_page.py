"""Numbers on the results page are those of the committed tables.

A number stands in bold before a comment ``<!-- TABLE | column=value, ... -->``, which names one row
of ``figures/TABLE.parquet``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
NUMBER = re.compile(r"\*\*([^*]+)\*\*<!-- (\w+) \| (.*?) -->")
FOUND = NUMBER.findall(PAGE.read_text(encoding="utf-8"))


@cache
def table(name: str) -> pd.DataFrame:
    return pd.read_parquet(ROOT / "figures" / f"{name}.parquet")


def row(name: str, query: str) -> pd.Series:
    """The one row that a query names; an empty value stands for a missing one."""
    rows = table(name)
    for part in query.split(", "):
        column, _, value = part.partition("=")
        values = rows[column]
        if not value:
            rows = rows[values.isna()]
        elif pd.api.types.is_numeric_dtype(values):
            rows = rows[values == float(value)]
        else:
            rows = rows[values.astype(str) == value]
    assert len(rows) == 1, f"{name}: {query} names {len(rows)} rows"
    return rows.iloc[0]


def written(found: pd.Series, like: str) -> str:
    """Estimate and interval as `like` writes them: its decimals, its per cent sign."""
    first = re.match(r"-?[\d,]+(?:\.(\d+))?", like)
    assert first is not None, like
    digits, scale = len(first[1] or ""), 100 if like.endswith("%") else 1
    numbers = (found["estimate"], found["lower"], found["upper"])
    shown = [f"{number * scale:,.{digits}f}" for number in numbers]
    text = f"{shown[0]} [{shown[1]}, {shown[2]}]"
    return f"{text} %" if scale == 100 else text


@pytest.mark.parametrize(("number", "name", "query"), FOUND)
def test_a_number_is_that_of_its_table(number: str, name: str, query: str) -> None:
    assert number == written(row(name, query), number)


def test_every_bold_number_names_its_row_and_every_picture_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(FOUND) > 50
    assert len(re.findall(r"\*\*-?[\d.,]+ \[", text)) == len(FOUND)
    pictures = re.findall(r"\(\.\./figures/(\w+)\.png\)", text)
    assert pictures
    assert all((ROOT / "figures" / f"{name}.png").is_file() for name in pictures)
