"""Tables for people: what fits stays in one line, what does not is cut where it reads best."""

from __future__ import annotations

import pytest

from bcprobe.cli.console import fitted, print_table

COLUMNS = ["task", "auc", "n"]
ROWS = [["cell_lineage_tracking", "0.953 [0.913, 0.974]", 1618]]


@pytest.mark.parametrize(
    ("width", "estimate"),
    [
        (49, "0.953 [0.913, 0.974]"),
        (48, "0.953\n[0.913, 0.974]"),
        (43, "0.953\n[0.913, 0.974]"),
    ],
)
def test_a_table_too_wide_takes_two_lines_a_row(width: int, estimate: str) -> None:
    assert fitted(COLUMNS, ROWS, width) == [["cell_lineage_tracking", estimate, "1618"]]


@pytest.mark.parametrize("width", [12, 20, 30, 42])
def test_in_a_narrow_terminal_rows_are_lists_and_names_stay_whole(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fitted(COLUMNS, ROWS, width) is None
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(COLUMNS, ROWS, "title")
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "title", "cell_lineage_tracking", "  auc: 0.953 [0.913, 0.974]", "  n: 1618",
    ]  # fmt: skip


def test_text_stands_to_the_left_and_numbers_to_the_right(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(["name", "kind", "n"], [["a", "long text", "7"], ["bb", "x", "1,234"]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines if line.startswith("bb")] == ["bb    x          1,234"]


def test_percentages_are_cut_before_their_interval() -> None:
    row = ["3-D", "98.7 97-100", "Okabe and Ito"]
    assert fitted(["task", "valid", "text"], [row], 21)[0][1:] == ["98.7\n97-100", "Okabe and Ito"]


@pytest.mark.parametrize("width", [43, 48, 55])
def test_no_line_is_wider_than_the_terminal_nor_loses_a_number(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(COLUMNS, ROWS)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert all(part in printed for part in ("0.953", "[0.913, 0.974]", "1618"))
