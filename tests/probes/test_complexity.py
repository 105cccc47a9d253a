"""What a probe learns by heart, what types alone tell, and what the labels cost to send."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import label_table
from bcprobe.episodes.record import frames, generate
from bcprobe.probes import complexity
from bcprobe.probes.complexity import (
    code_length,
    complexity_rows,
    control_scores,
    lookup,
    recurring_types,
)
from bcprobe.probes.convnet import SIDE, convnet, crops
from bcprobe.probes.linear import cross_predict, score
from bcprobe.rng import split_seed

SITE = "blocks.2.hook_resid_post"


@pytest.fixture
def table(planted: Activations, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setattr(complexity, "DRAWN", 4)
    monkeypatch.setattr(complexity, "PENALTIES", (0.01, 0.1))
    monkeypatch.setattr(complexity, "RANKS", (2,))
    question = planted.ask("mistake", negatives="matched")
    features = question.features(planted.values[SITE])
    noise = question.features(planted.untrained[0][SITE])
    rows = complexity_rows(question, features, {"untrained": noise}, SITE)
    return pd.DataFrame(rows).set_index("kind")


def test_a_planted_label_is_cheap_and_noise_is_not(table: pd.DataFrame) -> None:
    bits = table.loc[table["metric"] == "bits", "estimate"]
    assert bits["code_probe"] < 0.5 * bits["code_share"]
    assert bits["code_untrained"] > 0.9 * bits["code_share"]


def test_selectivity_stands_with_penalty_and_rank(table: pd.DataFrame) -> None:
    assert table.loc["probe", "estimate"] > 0.95
    assert table.loc["selectivity_rich", "lower"] > 0.2
    assert table.loc["control_rich", "estimate"] < table.loc["control_lookup", "estimate"] + 0.1
    assert {"probe_c0.01", "selectivity_rich_c0.01", "probe_rank2"} <= set(table.index)
    assert abs(table.loc["lookup", "estimate"] - 0.5) < 0.12


def test_a_lookup_knows_what_its_types_tell() -> None:
    rng = np.random.default_rng(0)
    types, groups = rng.integers(0, 30, 900), np.arange(900) % 30
    truth = types % 3 == 0
    assert score(lookup(truth, types, groups)).score.estimate == 1
    drawn = score(lookup(rng.random(900) < 0.3, types, groups)).score.estimate
    assert abs(drawn - 0.5) < 0.08


def test_types_recur_over_worlds(planted: Activations) -> None:
    types = recurring_types(planted.labels)
    worlds = pd.Series(planted.labels["episode"].to_numpy()).groupby(types).nunique()
    assert len(worlds) > 10
    assert (worlds > 5).mean() > 0.9


def test_labels_fitted_together_are_those_fitted_alone(planted: Activations) -> None:
    question = planted.ask("mistake")
    features = question.features(planted.values[SITE])
    both = control_scores(features, [question.truth, ~question.truth], question.groups)
    alone = score(cross_predict("binary", features, question.truth, question.groups))
    assert both[0].score.estimate == pytest.approx(alone.score.estimate, abs=1e-4)
    assert both[1].score.estimate == pytest.approx(both[0].score.estimate, abs=1e-3)


def test_the_code_of_constant_features_is_that_of_the_share() -> None:
    truth = np.arange(400) % 4 == 0
    bits, plain = code_length(np.zeros((400, 3), np.float32), truth, np.arange(400) // 10)
    assert bits == pytest.approx(plain, rel=0.05)
    assert plain == pytest.approx(0.811, abs=0.03)


def test_crops_show_the_mark_in_the_frame_after_and_before() -> None:
    made = [generate("colored_dot_tracking", split_seed("test", i)) for i in range(2)]
    labels = label_table(made)
    rows = labels["just_placed"].to_numpy(bool)
    seen = crops(labels, rows)
    assert seen.shape == (int(rows.sum()), SIDE, SIDE, 6)
    first = labels[rows].iloc[0]
    shown = list(frames(made[0]))
    x, y = int(first["placed_x"]) - SIDE // 2, int(first["placed_y"]) - SIDE // 2
    for part, step in enumerate((first["step"], first["step"] - 1)):
        own = shown[step][y : y + SIDE, x : x + SIDE]
        assert np.array_equal(seen[0, :, :, 3 * part : 3 * part + 3], own)
    assert not np.array_equal(seen[0, :, :, :3], seen[0, :, :, 3:])


def test_a_network_finds_what_the_crop_shows(planted: Activations) -> None:
    question = planted.ask("mistake")
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 60, (len(question.truth), SIDE, SIDE, 6), dtype=np.uint8)
    seen[question.truth.astype(bool), 20:28, 20:28] += 120
    found = convnet(question, seen)
    assert score(found).score.estimate > 0.95
    assert set(np.unique(found.folds)) == set(range(5))
