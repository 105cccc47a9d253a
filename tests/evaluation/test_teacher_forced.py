"""Predictors with known answers score what can be counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from bcprobe.episodes import sequences
from bcprobe.episodes.clickers import AnnotatorClicker
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import frames, generate
from bcprobe.episodes.sequences import Predictions
from bcprobe.evaluation.metrics import score_table
from bcprobe.evaluation.teacher_forced import (
    ModelPredictor,
    PackedScreens,
    RepeatPredictor,
    accuracy_rows,
    annotator_nll,
    predict,
)
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed
from bcprobe.types import Click

TASK = "colored_dot_tracking"
Make = Callable[..., Episode]


class PerfectPredictor:
    """Knows the answers; sure of them to ``nll`` nats."""

    def predict(self, sequence: PackedScreens) -> Predictions:
        return Predictions(sequence.clicks, np.full(len(sequence), 0.25))


class FixedPredictor:
    """Says the same pixel every time."""

    def __init__(self, x: int, y: int) -> None:
        self.click = (x, y)

    def predict(self, sequence: PackedScreens) -> Predictions:
        clicks = np.tile(np.array(self.click), (len(sequence), 1))
        return Predictions(clicks, np.zeros(len(clicks)))


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return [generate(TASK, split_seed("test", i), max_steps=30) for i in range(3)]


def scores(predictions: pd.DataFrame) -> pd.Series:
    table = score_table(accuracy_rows(predictions, task=TASK))
    return table.set_index(["metric", "kind"])["estimate"]


def test_perfect_predictor_scores_one_everywhere(episodes: list[Episode]) -> None:
    found = scores(predict(PerfectPredictor(), episodes))
    assert (found["accuracy"] == 1).all()
    assert (found["validity"] == 1).all()
    assert (found["false_alarm"] == 0).all()
    assert (found["nll"] == 0.25).all()
    gap = 0.25 - found["annotator_nll"]
    assert np.allclose(found["nll_gap"], gap)


def test_repeating_predictor_scores_what_can_be_counted(scripted: Make) -> None:
    episode = scripted("+z", "+z", "-z", (1, 0, 0), (1, 3, 0), (1, 20, 0), "Undo", "Undo", "Done")
    found = predict(RepeatPredictor(), [episode])
    assert found["hit"].tolist() == [False, True, False, False, True, False, False, True, False]
    counted = scores(found)
    assert counted["accuracy", "all"] == pytest.approx(3 / 9)
    assert counted["accuracy", "buttons"] == pytest.approx(2 / 6)
    assert counted["accuracy", "navigate"] == pytest.approx(1 / 3)
    assert counted["accuracy", "place_mistaken"] == 1
    assert counted["accuracy", "place_right"] == 0
    assert counted["accuracy", "undo"] == pytest.approx(1 / 2)
    assert counted["false_alarm", "undo"] == pytest.approx(1 / 7)
    assert "nll" not in counted.index.get_level_values("metric")


def test_five_pixels_are_near_and_six_are_not(scripted: Make) -> None:
    episode = scripted((0, 0, 0), (0, 3, 4), (0, 9, 4), "Done")
    assert predict(RepeatPredictor(), [episode])["hit"].tolist()[1:3] == [True, False]


def test_validity_asks_the_simulator(scripted: Make) -> None:
    episode = scripted("+z", "+z", "-z", "-z", "Done")
    back = episode.steps[2].click
    found = predict(FixedPredictor(*back), [episode])
    assert found["valid"].tolist() == [False, True, True, True, False]
    assert found["predicted"].tolist() == ["idle", "navigate", "navigate", "navigate", "idle"]
    assert predict(FixedPredictor(0, 0), [episode])["valid"].sum() == 0


def test_rows_name_episode_and_step(episodes: list[Episode]) -> None:
    found = predict(RepeatPredictor(), episodes)
    assert found.groupby("episode").size().to_dict() == {0: 30, 1: 30, 2: 30}
    assert found["step"].tolist() == [*range(30)] * 3


def test_model_predictions_do_not_depend_on_the_packing(
    tiny: ClickTransformer, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(ModelPredictor(tiny), episodes, annotator=False)
    monkeypatch.setattr(sequences, "FRAMES", 8)
    pieces = predict(ModelPredictor(tiny), episodes, annotator=False)
    assert np.allclose(whole["nll"], pieces["nll"], atol=1e-4)
    alone = predict(ModelPredictor(tiny), episodes[1:2], annotator=False)
    assert np.allclose(whole["nll"][30:60], alone["nll"], atol=1e-4)


def test_model_predictor_is_the_models_full_pass(
    tiny: ClickTransformer, episodes: list[Episode]
) -> None:
    seen = torch.from_numpy(np.stack(list(frames(episodes[0])))).permute(0, 3, 1, 2)[None]
    clicks = torch.tensor([step.click for step in episodes[0].steps])[None]
    previous = torch.cat([torch.full((1, 1, 2), -1), clicks[:, :-1]], dim=1)
    with torch.inference_mode():
        nll = -tiny(seen, previous).click_log_prob(clicks)[0]
    found = predict(ModelPredictor(tiny), episodes[:1], annotator=False)
    assert np.allclose(found["nll"], nll, atol=1e-4)


def test_one_frame_sees_nothing_before_it(tiny: ClickTransformer, episodes: list[Episode]) -> None:
    full = predict(ModelPredictor(tiny), episodes[:1], annotator=False)["nll"]
    alone = predict(ModelPredictor(tiny, "one"), episodes[:1], annotator=False)["nll"]
    assert alone[0] == pytest.approx(full[0], abs=1e-4)
    assert not np.allclose(alone[5:], full[5:], atol=1e-4)


def test_window_is_the_full_history_while_that_is_short(
    tiny: ClickTransformer, episodes: list[Episode]
) -> None:
    full = predict(ModelPredictor(tiny), episodes[:2], annotator=False)
    window = predict(ModelPredictor(tiny, "window"), episodes[:2], annotator=False)
    short = full["step"] < tiny.config.context
    assert np.allclose(window["nll"][short], full["nll"][short], atol=1e-4)
    assert not np.allclose(window["nll"], full["nll"], atol=1e-4)


def test_scrambling_changes_the_order_and_nothing_else(
    tiny: ClickTransformer, episodes: list[Episode]
) -> None:
    window = predict(ModelPredictor(tiny, "window"), episodes[:2], annotator=False)
    mixed = predict(ModelPredictor(tiny, "scrambled"), episodes[:2], annotator=False)
    same = np.isclose(mixed["nll"], window["nll"], atol=1e-4)
    assert same[window["step"] < 2].all()
    assert 0.3 < same.mean() < 0.8  # two frames before the present one: half keep their order


def test_unknown_history_is_refused(tiny: ClickTransformer) -> None:
    with pytest.raises(ValueError, match="history"):
        ModelPredictor(tiny, "none")


def test_annotator_nll_averages_to_its_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = [generate(TASK, seed) for seed in range(30)]
    nll = np.concatenate([annotator_nll(episode) for episode in worked])
    entropies: list[float] = []
    act = AnnotatorClicker.act

    def watched(self: AnnotatorClicker, live: list[int]) -> list[Click]:
        entropies.extend(
            self.annotators[i].distribution(self.simulators[i].state).entropy() for i in live
        )
        return act(self, live)

    monkeypatch.setattr(AnnotatorClicker, "act", watched)
    again = np.concatenate([annotator_nll(episode) for episode in worked])
    assert np.array_equal(nll, again)
    assert np.isfinite(nll).all()
    assert nll.mean() == pytest.approx(np.mean(entropies), abs=0.05)


def test_no_annotator_no_entropy(scripted: Make) -> None:
    assert np.isnan(annotator_nll(scripted("+z", "Done"))).all()
