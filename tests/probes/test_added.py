"""What a probe adds to the clicks so far and to the model's own answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations
from bcprobe.probes.added import baseline_rows, conditional, gain
from bcprobe.probes.history import (
    CLICKS,
    click_history,
    history_features,
    history_matched,
    own_answer,
)
from bcprobe.probes.linear import HeldOut, score
from bcprobe.probes.many_tasks import Schemes, TaskRows
from bcprobe.probes.protocol import probe
from tests.conftest import labels_of

RNG = np.random.default_rng(5)
ROWS, WORLDS = 1200, 30


def predictions(scores: np.ndarray, truth: np.ndarray) -> HeldOut:
    groups = np.arange(ROWS) % WORLDS
    return HeldOut("binary", truth, scores, groups, groups % 5)


@pytest.fixture(scope="module")
def parts() -> dict[str, HeldOut]:
    """A baseline, a probe that only repeats it, and one that knows something else."""
    cause, other = RNG.normal(size=(2, ROWS))
    truth = cause + other + 0.5 * RNG.normal(size=ROWS) > 1
    noise = 0.3 * RNG.normal(size=ROWS)
    return {
        "base": predictions(cause, truth),
        "same": predictions(cause + noise, truth),
        "other": predictions(other, truth),
    }


def test_a_probe_that_repeats_the_baseline_adds_nothing(parts: dict[str, HeldOut]) -> None:
    again, new = (conditional(parts[name], parts["base"]) for name in ("same", "other"))
    assert again is not None
    assert new is not None
    assert score(parts["same"]).score.estimate > 0.75
    assert again.score.estimate < 0.62
    assert new.score.estimate > 0.85
    assert abs(gain(parts["same"], [parts["base"]]).score.estimate) < 0.01
    more = gain(parts["other"], [parts["base"]]).score
    assert more.lower > 0.1


def test_rows_matched_in_the_history_hold_nothing_that_it_tells(
    parts: dict[str, HeldOut],
) -> None:
    rows = history_matched(parts["base"])
    truth = parts["base"].truth[rows]
    assert 0.3 < truth.mean() < 0.5
    assert abs(score(parts["base"].rows(rows)).score.estimate - 0.5) < 0.06
    assert score(parts["other"].rows(rows)).score.estimate > 0.85


def test_the_history_holds_past_clicks_only() -> None:
    labels = labels_of(3, np.random.default_rng(0))
    whole = history_features(labels)
    changed = labels.copy()
    last = labels["step"] >= 20
    changed.loc[last, ["click_x", "click_y"]] = 333
    changed.loc[labels["step"] > 20, "previous_action"] = "view"
    again = history_features(changed)
    before = (labels["step"] <= 20).to_numpy()
    np.testing.assert_array_equal(whole[before], again[before])
    assert not np.array_equal(whole, again, equal_nan=True)
    assert np.isnan(whole[0]).sum() > 3 * CLICKS


def test_trees_find_what_distances_tell() -> None:
    labels = labels_of(20, np.random.default_rng(1))
    jump = labels["step"].to_numpy() % 2 == 0
    labels.loc[jump, "click_x"] = labels.loc[jump, "click_x"] + 200
    truth = np.roll(jump, 1)
    found = click_history(history_features(labels), truth, labels["group"].to_numpy())
    assert score(found).score.estimate > 0.99


def test_baselines_stand_in_the_table_of_a_probe(planted: Activations) -> None:
    rng = np.random.default_rng(0)
    mistake = planted.labels["mistake"].to_numpy()
    chance = 0.1 + 0.2 * mistake + 0.6 * rng.random(len(mistake))
    answers = pd.DataFrame({"p_undo": chance})
    table = probe(replace(planted, predictions=answers)).table(negatives="errable")
    by_kind = table[table["site"] == ""].set_index("kind")["estimate"]
    assert 0.7 < by_kind["p_undo"] < 0.98
    assert 0.2 < by_kind["click_history"] < 0.8
    added = table[table["scheme"] == "added"].set_index("kind")
    assert added.loc["given_click_history", "estimate"] > 0.9
    assert added.loc["added_to_click_history", "lower"] > 0.1
    assert {"given_p_undo", "given_both", "added_to_both"} <= set(added.index)


def test_without_the_models_answer_the_history_stands_alone(planted: Activations) -> None:
    rows = [*baseline_rows(Schemes([TaskRows("t", planted.ask("mistake"), planted)]), [])]
    assert {row["kind"] for row in rows} == {"click_history"}
    log_odds = own_answer(np.array([0.0, 0.5, 1.0]), np.ones(3), np.arange(3), np.zeros(3, int))
    assert np.isfinite(log_odds.scores).all()
    assert log_odds.scores[1] == 0
