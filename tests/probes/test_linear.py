from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import ask
from bcprobe.errors import InputError
from bcprobe.probes import linear
from bcprobe.probes.directions import fit_direction
from bcprobe.probes.linear import C, cross_predict, make_probe, score, score_question, split

NOISE, PLACED, MISTAKE = (f"blocks.{i}.hook_resid_post" for i in range(3))


def probe(activations: Activations, site: str, latent: str, negatives: str) -> float:
    question = ask(activations.labels, latent, negatives)
    return score_question(question, activations.at(site)).score.estimate


def test_a_planted_direction_is_found(planted: Activations) -> None:
    assert probe(planted, MISTAKE, "mistake", "matched") > 0.95
    assert probe(planted, MISTAKE, "mistake", "all") > 0.95
    x, y, _ = planted.arrays("mistake", MISTAKE, None)
    found = fit_direction("binary", x, y, "mistake")
    assert found.directions[0, 5] > 0.9
    assert np.linalg.norm(found.directions) == pytest.approx(1)
    assert found.separation[0] == pytest.approx(4, abs=0.6)


def test_something_was_just_placed_does_not_pass_for_a_mistake(planted: Activations) -> None:
    assert probe(planted, PLACED, "mistake", "all") > 0.7
    assert probe(planted, PLACED, "mistake", "matched") == pytest.approx(0.5, abs=0.15)


def test_noise_is_at_chance(planted: Activations) -> None:
    assert probe(planted, NOISE, "mistake", "all") == pytest.approx(0.5, abs=0.1)
    assert probe(planted, NOISE, "progress", "all") < 0.02


def test_no_episode_on_both_sides(planted: Activations) -> None:
    groups = planted.labels["episode"].to_numpy()
    tested = []
    for train, test in split(groups):
        assert not set(groups[train]) & set(groups[test])
        tested.append(test)
    assert sorted(np.concatenate(tested)) == list(range(len(groups)))


def test_the_scaler_sees_training_folds_only(planted: Activations) -> None:
    x, y, groups = planted.arrays("mistake", MISTAKE, None, negatives="all")
    outlier = x.copy()
    _, test = next(split(groups))
    outlier[test, 0] = 1e6
    plain, spoilt = (cross_predict("binary", features, y, groups) for features in (x, outlier))
    for fold in range(1, linear.FOLDS):
        rows = plain.folds == fold
        assert not np.allclose(plain.scores[rows], spoilt.scores[rows])
    moved = spoilt.scores[test] - plain.scores[test]
    assert np.ptp(moved / (1e6 - x[test, 0])) < 1e-6  # the same weight and scale for all


def reference(kind: str) -> Pipeline:
    """What scikit-learn is asked for: for two classes its usual solver, to the end."""
    if kind != "binary":
        return make_probe(kind)
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, tol=1e-8, max_iter=1000))


@pytest.mark.parametrize("latent", ["mistake", "phase", "progress"])
def test_readings_are_scikit_learns(planted: Activations, latent: str) -> None:
    x, y, groups = planted.arrays(latent, MISTAKE, None, negatives="all")
    kind = ask(planted.labels, latent, "all").latent.kind
    method = "decision_function" if kind == "binary" else "predict"
    expected = cross_val_predict(
        reference(kind), x, y, groups=groups, cv=GroupKFold(5), method=method
    )
    reading = cross_predict(kind, x, y, groups)
    if kind == "binary":
        assert np.allclose(reading.scores, expected, atol=1e-3)
    else:
        assert np.array_equal(reading.scores, expected)
    found = score(reading).score
    judge = {"phase": balanced_accuracy_score, "progress": r2_score}.get(latent)
    if judge is not None:
        assert found.estimate == pytest.approx(judge(y, expected))
    else:
        assert found.estimate == pytest.approx(roc_auc_score(y, expected), abs=0.01)
    assert found.lower < found.estimate < found.upper
    assert found.n == len(y)


def test_directions_of_classes_and_numbers(planted: Activations) -> None:
    x, y, _ = planted.arrays("phase", MISTAKE, None)
    phases = fit_direction("classes", x, y, "phase")
    assert phases.classes == ("annotate", "verify")
    assert phases.directions[1, 5] > 0.9 > -0.9 > phases.directions[0, 5]
    assert (phases.separation > 3).all()
    numbers = fit_direction("number", x, x[:, 2].astype(float), "progress")
    assert numbers.classes == ("progress",)
    assert numbers.directions[0, 2] > 0.99


@pytest.mark.parametrize(
    ("episodes", "latent", "message"),
    [
        (30, "mistke", "unknown latent 'mistke'; did you mean 'mistake'?"),
        (30, "mistake_kind", "latent 'mistake_kind' has one class only ('spatial')"),
        (1, "progress", "1 episode to probe; it needs 2 or more"),
        (0, "mistake", "latent 'mistake': no step to probe"),
    ],
)
def test_bad_questions_are_told_in_one_line(
    make_labels: Callable[..., pd.DataFrame], episodes: int, latent: str, message: str
) -> None:
    table = make_labels(episodes, np.random.default_rng(0)) if episodes else None
    table = make_labels(1, np.random.default_rng(0))[:0] if table is None else table
    with pytest.raises(InputError) as caught:
        score_question(ask(table, latent), np.ones((len(table), 2), dtype=np.float32))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_negatives_and_sites(planted: Activations) -> None:
    with pytest.raises(InputError, match="has no negatives 'matched'"):
        ask(planted.labels, "phase", "matched")
    with pytest.raises(InputError, match=r"did you mean 'blocks\.2\.hook_resid_post'"):
        planted.arrays("mistake", "blocks.2.resid_post", None)


def test_a_fold_of_one_class_is_told(make_labels: Callable[..., pd.DataFrame]) -> None:
    labels = make_labels(4, np.random.default_rng(0))
    labels["undo_next"] = (labels["episode"] == 2) & labels["undo_next"]
    labels.loc[labels["episode"] == 2, "undo_next"] |= labels["step"] == 1
    with pytest.raises(InputError, match="in too few worlds"):
        score_question(ask(labels, "undo_next"), np.ones((len(labels), 2), dtype=np.float32))
