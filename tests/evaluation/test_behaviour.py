"""The behaviour table, by hand and beside the people of the paper."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.evaluation.behaviour import HUMANS, behaviour_dict, behaviour_table

TASK = "colored_dot_tracking"


def test_shares_by_hand(scripted: Callable[..., Episode]) -> None:
    episode = scripted("+z", "MIP", "MIP", (1, 20, 0), "Undo", (1, 0, 0), "+z", "Done")
    table = behaviour_table([episode]).set_index("quantity")
    expected = {
        "steps": 8,
        "navigate": 2 / 8,
        "view": 2 / 8,
        "place": 2 / 8,
        "undo": 1 / 8,
        "done": 1 / 8,
        "error_undo_rate": 1 / 3,
        "error_undo_pair_share": 1 / 2,
        "undo_delay": 0,
        "delayed_undo_share": 0,
        "phase_correct": 1 / 8,
        "success": 0,
    }
    for quantity, value in expected.items():
        assert table.loc[quantity, "estimate"] == pytest.approx(value), quantity
    assert "classify" not in table.index


def test_shares_of_actions_and_of_phases_sum_to_one() -> None:
    table = behaviour_table([generate(TASK, seed) for seed in range(10)])
    actions = table["quantity"].isin(["navigate", "view", "place", "undo", "done", "idle"])
    phases = table["quantity"].str.startswith("phase_")
    assert table.loc[actions, "estimate"].sum() == pytest.approx(1)
    assert table.loc[phases, "estimate"].sum() == pytest.approx(1)


def test_annotator_of_dots_behaves_like_the_people_of_the_paper() -> None:
    table = behaviour_table([generate(TASK, seed) for seed in range(150)]).set_index("quantity")
    known = table.loc[list(HUMANS[TASK])]
    assert (known["human_lower"] <= known["estimate"]).all()
    assert known["human_like"].all()
    assert table.loc["done", "human_like"] is None


def test_json_form() -> None:
    tree = behaviour_dict(behaviour_table([generate(TASK, 0)]))
    json.dumps(tree, allow_nan=False)
    assert tree[TASK]["steps"]["human_range"] == [71.0, 111.0]
    assert tree[TASK]["done"]["human_range"] is None
