"""A mistake and an Undo told apart: each probe is scored where the other label says nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations
from bcprobe.probes.crossed import crossed_rows, undo_comes

SITE = "blocks.0.hook_resid_post"


def crossed_labels(worlds: int, rng: np.random.Generator, *, usual: bool) -> pd.DataFrame:
    """Marks, each followed by a look and, for some, an Undo; usual: after mistakes only."""
    rows = []
    for world in range(worlds):
        for step in range(60):
            if step % 3 == 0:
                mistake = bool(rng.random() < 0.3)
                undone = mistake if usual else bool(rng.random() < (0.6 if mistake else 0.2))
            action = ("view", "undo" if undone else "navigate", "place")[step % 3]
            rows.append(
                {
                    "task": "colored_dot_tracking",
                    "episode": world,
                    "group": world,
                    "action": action,
                    "mistake": mistake and step % 3 < 2,
                    "undone": undone,
                    "previous_action": "place" if step % 3 == 0 else "view",
                    "previous_mistaken": mistake and step % 3 == 0,
                    "previous_right": not mistake and step % 3 == 0,
                    "errable": step % 3 == 0,
                    "click_x": 10 * (step % 7),
                    "click_y": 10,
                }
            )
    return pd.DataFrame(rows)


def activations(*, usual: bool = False) -> Activations:
    """A site that holds the mistake and the coming Undo along one direction each."""
    rng = np.random.default_rng(0)
    labels = crossed_labels(30, rng, usual=usual)
    noise = rng.normal(size=(len(labels), 8)).astype(np.float32)
    noise[:, 2] += 4 * labels["mistake"].to_numpy()
    chance = pd.DataFrame({"p_undo": np.where(labels["undone"], 0.8, 0.2)})
    return Activations({SITE: noise}, labels, predictions=chance)


def test_undo_comes_until_something_else_is_put_down() -> None:
    actions = ["place", "view", "undo", "place", "navigate", "place", "undo", "done"]
    labels = pd.DataFrame({"episode": [0] * 6 + [1] * 2, "action": actions})
    assert undo_comes(labels).tolist() == [False, True, True, *[False] * 3, True, False]


def test_a_site_that_holds_only_the_mistake_reads_no_undo_beside_it() -> None:
    rows = pd.DataFrame(crossed_rows({"dots": activations()}, [SITE]))
    table = rows[rows["scheme"] == "crossed"].set_index(["kind", "negatives"])
    for question in ("mistake where Undo comes", "mistake where none comes"):
        assert table.loc[("probe", question), "lower"] > 0.9
        assert table.loc[("p_undo", question), "estimate"] == pytest.approx(0.5)
    for question in ("Undo where a mistake stands", "Undo where none stands"):
        probe = table.loc[("probe", question)]
        assert probe["lower"] < 0.5 < probe["upper"]
        assert table.loc[("p_undo", question), "estimate"] == 1.0
    assert set(table["interval"]) <= {"refit", "exact", "worlds"}
    assert rows[["estimate", "lower", "upper"]].notna().all(axis=None)


def test_usual_annotators_give_nothing_to_cross() -> None:
    assert not list(crossed_rows({"dots": activations(usual=True)}, [SITE]))
