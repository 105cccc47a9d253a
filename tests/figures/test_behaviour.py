"""Success in closed loop and mistakes: a row a task, ours and the paper's apart."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from bcprobe.evaluation.closed_loop import CLOSED_LOOP, closed_loop_references
from bcprobe.evaluation.metrics import row, score_table
from bcprobe.figures import behaviour
from bcprobe.figures.behaviour import CLICKERS, PAPER
from bcprobe.figures.style import COLUMN
from bcprobe.results import Score
from bcprobe.tasks import TRAINING_TASKS
from tests.figures.drawn import marks

NINE = list(TRAINING_TASKS)


def scores(tasks: list[str], section: str, metrics: list[str], base: float) -> list[dict[str, Any]]:
    """The annotator's (or the data's) score is 1, the model's ``base`` and 0.1 more a step of T."""
    rows = []
    for task in tasks:
        for metric in metrics:
            names = {"task": task, "section": section, "metric": metric}
            other = "data" if section == "mistakes" else "annotator"
            rows.append(row(Score(1.0, 0.9, 1.0, 9), policy=other, **names))
            for step, temperature in enumerate((0.0, 0.5, 1.0)):
                value = base + 0.1 * step
                score = Score(value, value - 0.05, value + 0.05, 9)
                rows.append(row(score, policy="model", temperature=temperature, **names))
    return rows


@pytest.mark.parametrize("tasks", [NINE, NINE[:1]])
def test_closed_loop_keeps_the_papers_rows_in_a_panel_of_their_own(tasks: list[str]) -> None:
    own = score_table(scores(tasks, "closed_loop", ["success"], 0.2))
    theirs = closed_loop_references().assign(section="paper", metric="success")
    table = pd.concat([own, theirs[theirs["task"].isin(tasks)]], ignore_index=True)
    figure = behaviour.plot_closed_loop(table)
    left, right = figure.axes
    assert figure.get_figwidth() == COLUMN
    assert left.get_yticklabels()[0].get_text() == "colored dots"
    assert marks(left, CLICKERS["model 0.5"])[:, 0] == pytest.approx([30] * len(tasks))
    assert marks(left, CLICKERS["annotator"])[:, 0] == pytest.approx([100] * len(tasks))
    assert len(marks(left, PAPER["Gemini 3 Flash"])) == 0
    gemini = [100 * CLOSED_LOOP["Gemini 3 Flash"][task] for task in tasks]
    assert marks(right, PAPER["Gemini 3 Flash"])[:, 0] == pytest.approx(gemini)


@pytest.mark.parametrize("tasks", [[*NINE, "all"], NINE[:1]])
def test_mistakes_have_a_row_a_task_and_all_together_last(tasks: list[str]) -> None:
    rows = scores(tasks, "mistakes", ["mistake_rate", "error_undo_rate"], 0.1)
    rows += scores(tasks, "forced_mistakes", ["undo_next", "undo_next_if_right"], 0.6)
    figure = behaviour.plot_mistakes(score_table(rows))
    rate, _, forced = figure.axes
    assert len(rate.get_yticklabels()) == len(tasks)
    last = rate.get_yticklabels()[-1].get_text()
    assert last == ("all tasks" if len(tasks) > 1 else "colored dots")
    assert marks(rate, CLICKERS["model 1.0"])[:, 0] == pytest.approx([30] * len(tasks))
    assert marks(forced, CLICKERS["model 0.0"])[:, 0] == pytest.approx([60] * len(tasks))


def test_every_reference_names_its_source() -> None:
    table = closed_loop_references()
    assert set(table["task"]) == set(NINE)
    assert table["source"].str.contains("arXiv 2606.07568").all()
    assert table["estimate"].between(0, 1).all()
