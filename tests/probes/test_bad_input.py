"""Rows that say little give one line or a wide interval: never a traceback, never nan."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations, combine
from bcprobe.errors import InputError
from bcprobe.probes.protocol import probe
from bcprobe.probes.result import COLUMNS, SCALE, score_row, table_of
from bcprobe.results import Score
from tests.conftest import labels_of

SITES = ("blocks.0.hook_resid_post", "blocks.1.hook_resid_post")
TASKS = ("colored_dot_tracking", "neuron_tracking", "cell_lineage_tracking")


def planted(
    seed: int = 0, worlds: int = 12, mistaken: tuple[int, ...] | None = None
) -> Activations:
    """Activations in which the mistake stands out; with ``mistaken`` it stands in these worlds."""
    rng = np.random.default_rng(seed)
    labels = labels_of(worlds, rng).assign(task=TASKS[seed], origin="annotator")
    labels["action"] = np.where(labels["undo_next"], "undo", "navigate")
    labels["valid"] = True
    if mistaken is not None:
        clean = ~labels["group"].isin(mistaken)
        labels.loc[clean, ["mistake", "previous_mistaken", "undo_next"]] = False
        labels.loc[clean, "previous_right"] = labels.loc[clean, "just_placed"]
    values = {site: rng.normal(size=(len(labels), 6)).astype(np.float32) for site in SITES}
    values[SITES[1]][:, 2] += 3 * labels["mistake"].to_numpy()
    chances = pd.DataFrame({"p_undo": rng.random(len(labels)), "entropy": rng.random(len(labels))})
    pixels = rng.normal(size=(len(labels), 3)).astype(np.float32)
    untrained = ({site: rng.normal(size=(len(labels), 6)) for site in SITES},)
    return Activations(values, labels, untrained, pixels, predictions=chances)


def several(**options: object) -> Activations:
    """Three tasks, of which the first has the options."""
    made = [planted(number, **(options if number == 0 else {})) for number in range(3)]
    return combine(dict(zip(TASKS, made, strict=True)))


@pytest.mark.parametrize("worlds", [(), (3,)])
def test_too_few_mistakes_are_told_with_what_is_missing(worlds: tuple[int, ...]) -> None:
    told = r"one class only" if not worlds else r"'True' stands in 1 of 12 worlds"
    with pytest.raises(InputError, match=told) as caught:
        probe(planted(mistaken=worlds))
    assert "\n" not in str(caught.value)
    found = probe(several(mistaken=worlds))
    assert list(found.skipped) == [TASKS[0]]
    assert np.isfinite(found.table()[["estimate", "lower", "upper"]].to_numpy(float)).all()
    with pytest.raises(InputError, match=rf"1 of 2 tasks.*{TASKS[0]}: .*{told}"):
        probe(combine({TASKS[0]: planted(mistaken=worlds), TASKS[1]: planted(1)}))


@pytest.mark.parametrize("mistaken", [(1, 5, 9), (0, 3, 4, 11)])
def test_mistakes_in_few_worlds_give_wide_intervals(mistaken: tuple[int, ...]) -> None:
    table = probe(planted(mistaken=mistaken)).table()
    assert np.isfinite(table[["estimate", "lower", "upper"]].to_numpy(float)).all()
    own = table[(table["kind"] == "probe") & (table["site"] == SITES[1])].iloc[0]
    assert own["upper"] - own["lower"] > 0.2
    together = probe(several(mistaken=mistaken))
    json.dumps(together.as_dict(), allow_nan=False)
    assert np.isfinite(together.table()[["estimate", "lower", "upper"]].to_numpy(float)).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["values", "pixels", "untrained", "predictions"])
def test_numbers_that_are_not_finite_are_told(where: str, wrong: float) -> None:
    made = planted()
    if where == "predictions":
        made.predictions.loc[7, "p_undo"] = wrong
    else:
        arrays = {
            "values": made.values[SITES[1]],
            "pixels": made.pixels,
            "untrained": made.untrained[0][SITES[0]],
        }
        arrays[where][7, 1] = wrong
    with pytest.raises(InputError, match=r"not finite in 1 of \d+ steps"):
        probe(made)


def test_activations_that_never_change_read_nothing() -> None:
    made = planted()
    flat = {site: np.ones_like(values) for site, values in made.values.items()}
    table = probe(replace(made, values=flat)).table(kind="probe", negatives="errable")
    assert table["estimate"].tolist() == pytest.approx([0.5] * len(SITES))


def test_a_table_holds_the_scale_where_no_resample_has_a_bound() -> None:
    names = dict.fromkeys(COLUMNS[:1], "within") | {
        "negatives": "errable", "site": "", "train_task": "a", "test_task": "a",
    }  # fmt: skip
    nan = float("nan")
    rows = [
        score_row(Score(0.7, nan, nan, 9), metric="auc", chance=0.5, **names),
        score_row(Score(0.1, nan, nan, 9), metric="auc", chance=0.0, **names),
        score_row(Score(4.0, nan, nan, 2), metric="clicks", chance=0.0, **names),
        score_row(Score(nan, nan, nan, 0), metric="auc", chance=0.5, **names),
    ]
    table = table_of(rows, {})
    assert table[["lower", "upper"]].to_numpy().tolist() == [[0, 1], [-1, 1], [4, 4]]
    assert table["interval"].tolist() == [SCALE, SCALE, "none"]
