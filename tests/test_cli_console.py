"""Tables for people: what fits stays in one line, what does not is cut where it reads best."""

from __future__ import annotations

import pytest

from bcprobe.cli.console import fitted, in_two_lines, print_table

COLUMNS = ["task", "auc", "n"]
ROWS = [["cell_lineage_tracking", "0.953 [0.913, 0.974]", 1618]]


def test_names_are_cut_where_both_lines_are_short() -> None:
    assert in_two_lines("multichannel_image_alignment") == "multichannel_\nimage_alignment"
    assert in_two_lines("all") == "all"


@pytest.mark.parametrize(
    ("width", "name", "estimate"),
    [
        (55, "cell_lineage_tracking", "0.953 [0.913, 0.974]"),
        (54, "cell_lineage_tracking", "0.953\n[0.913, 0.974]"),
        (49, "cell_lineage_tracking", "0.953\n[0.913, 0.974]"),
        (48, "cell_lineage_\ntracking", "0.953\n[0.913, 0.974]"),
        (20, "cell_lineage_tracking", "0.953\n[0.913, 0.974]"),
    ],
)
def test_a_table_too_wide_takes_two_lines_a_row(width: int, name: str, estimate: str) -> None:
    assert fitted(COLUMNS, ROWS, width) == [[name, estimate, "1618"]]


def test_percentages_are_cut_before_their_interval() -> None:
    row = ["3-D", "98.7 97-100", "Okabe and Ito"]
    assert fitted(["task", "valid", "text"], [row], 20)[0][1:] == ["98.7\n97-100", "Okabe and Ito"]


@pytest.mark.parametrize("width", [44, 48, 55])
def test_no_line_is_wider_than_the_terminal_nor_loses_a_number(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(COLUMNS, ROWS)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert all(part in printed for part in ("0.953", "[0.913, 0.974]", "1618"))
