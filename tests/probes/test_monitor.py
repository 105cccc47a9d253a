"""Alarms about the model's own mistakes, and mistakes foretold."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations
from bcprobe.probes.monitor import (
    alarm_scores,
    coming_mistakes,
    conformal_level,
    foretell_rows,
    monitor_rows,
)

SITE = "blocks.2.hook_resid_post"


def clicks(episodes: int, rng: np.random.Generator) -> pd.DataFrame:
    """Episodes of 12 clicks; every second places, a fifth of these by mistake, undone two later."""
    rows = []
    for episode in range(episodes):
        since = 0
        for step in range(12):
            since = since + 1 if since else 0
            placing = step % 2 == 0 and not since
            rows.append({
                "task": "t", "episode": episode, "group": episode, "step": step, "valid": True,
                "action": "undo" if since == 3 else "place" if placing else "view",
                "mistake": since > 0, "undo_next": since == 3,
            })  # fmt: skip
            if since == 3:
                since = 0
            elif step % 2 == 0 and not since and rng.random() < 0.2:
                since = 0.0001
    return pd.DataFrame(rows)


def worked(seed: int, *, foreseen: bool) -> Activations:
    """Activations whose first number shows a mistake that stands, the second one about to come."""
    rng = np.random.default_rng(seed)
    labels = clicks(40, rng)
    rows, coming = coming_mistakes(labels)
    values = rng.normal(size=(len(labels), 6))
    values[:, 0] += 8 * labels["mistake"]
    values[np.flatnonzero(rows), 1] += 5 * coming * foreseen
    answers = pd.DataFrame({"p_undo": rng.random(len(labels)), "entropy": rng.random(len(labels))})
    return Activations({SITE: values.astype(np.float32)}, labels, predictions=answers)


def test_coming_mistakes_are_those_of_the_click_about_to_be_made() -> None:
    labels = clicks(30, np.random.default_rng(0))
    rows, coming = coming_mistakes(labels)
    assert (labels.loc[rows, "action"] == "place").all()
    assert not labels.loc[rows, "mistake"].any()
    after = labels["mistake"].shift(-1)[rows]
    assert after.astype(bool).tolist() == coming.tolist()
    assert coming.any()


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_mistake_is_foretold_where_the_state_before_shows_it(foreseen: bool) -> None:
    table = pd.DataFrame(foretell_rows({"t": worked(3, foreseen=foreseen)}, SITE)).set_index("kind")
    assert 0.05 < table.loc["mistakes", "estimate"] < 0.4
    assert abs(table.loc["entropy", "estimate"] - 0.5) < 0.15
    added = table.loc["added_to_entropy"]
    assert (added["lower"] > 0.2) == foreseen
    assert (table.loc["probe", "estimate"] > 0.9) == foreseen


def test_false_alarms_keep_to_the_share_and_mistakes_are_noticed() -> None:
    data, own = worked(1, foreseen=False), worked(2, foreseen=False)
    for part in (data, own):
        part.labels[["previous_mistaken", "previous_right", "errable"]] = True
    table = pd.DataFrame(monitor_rows({"t": data}, {"t": own}, SITE))
    scores = table.set_index(["kind", "scheme"])["estimate"]
    assert scores["probe", "monitor_false_alarms"] <= 0.3
    assert scores["probe", "monitor_noticed"] > 0.9
    assert scores["probe", "monitor_delay"] < 0.3
    assert scores["probe", "monitor_lead"] > 1
    assert scores["p_undo", "monitor_noticed"] < 0.5


def test_the_level_is_that_of_split_conformal() -> None:
    labels = pd.DataFrame({"episode": np.arange(19), "mistake": False})
    assert conformal_level(labels, np.arange(19.0), 0.1) == 17
    assert conformal_level(labels[:5], np.arange(5.0), 0.1) == math.inf


def test_alarms_are_counted_by_episode_and_mistake() -> None:
    labels = pd.DataFrame({
        "episode": [0] * 6 + [1] * 3,
        "mistake": [False, True, True, True, False, False, False, True, True],
        "undo_next": [False, False, False, True, False, False, False, False, False],
        "alarm": [False, False, True, True, False, False, True, False, False],
    })  # fmt: skip
    found = {name: score.estimate for name, score in alarm_scores(labels).items()}
    assert found == {"false_alarms": 0.5, "noticed": 0.5, "delay": 1.0, "lead": 1.0}


def test_too_few_mistakes_are_counted_and_no_more() -> None:
    calm = worked(1, foreseen=False)
    calm.labels["mistake"] = False
    (row,) = foretell_rows({"t": calm}, SITE)
    assert (row["kind"], row["estimate"]) == ("mistakes", 0.0)
