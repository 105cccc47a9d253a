"""Directions: what each kind finds, in equal doses, against random ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.interventions.directions import (
    COEFFICIENTS,
    Material,
    Site,
    align,
    compare,
    fit,
    gather,
    random_directions,
)
from bcprobe.interventions.maps import EVERY_LAYER
from bcprobe.interventions.pairs import Pair, twins
from bcprobe.model.transformer import ClickTransformer

SITE = Site("placed", 2)


@pytest.fixture(scope="module")
def train(model: ClickTransformer, dots: list[Pair]) -> dict[str, Material]:
    tasks = {"colored_dot_tracking": dots, "neuron_tracking": twins("neuron_tracking", 2)}
    return {task: gather(model, pairs, workers=1) for task, pairs in tasks.items()}


def planted(
    scale: float = 4.0, rows: int = 400
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features with a mean difference along one axis, and noise that hides it along another."""
    rng = np.random.default_rng(0)
    truth = np.arange(rows) % 2 == 1
    signal, nuisance = np.eye(6)[0], (np.eye(6)[0] + np.eye(6)[1]) / np.sqrt(2)
    x = rng.normal(size=(rows, 6)) + scale * rng.normal(size=(rows, 1)) * nuisance
    return x + truth[:, None] * signal, truth, signal, nuisance


def test_each_kind_finds_its_own_direction() -> None:
    x, truth, signal, nuisance = planted()
    found = {kind: fit(x, truth, kind) for kind in ("logistic", "mean_difference", "lda")}
    for unit in found.values():
        assert np.linalg.norm(unit) == pytest.approx(1)
        assert unit @ signal > 0.5
    assert abs(found["lda"] @ nuisance) < 0.25  # whitened: it does not read the noise
    exact = x[truth].mean(0) - x[~truth].mean(0)
    assert found["mean_difference"] @ exact == pytest.approx(np.linalg.norm(exact))
    with pytest.raises(InputError, match="mean_difference"):
        fit(x, truth, "mean")
    with pytest.raises(InputError, match="do not differ"):
        fit(np.zeros((4, 2)), np.array([True, False, True, False]), "lda")


def test_random_directions_are_units_even_or_of_the_features_covariance() -> None:
    x, _, _, nuisance = planted(scale=8.0)
    even, shaped = random_directions(x, 300)
    assert np.allclose(np.linalg.norm(even, axis=1), 1)
    assert np.allclose(np.linalg.norm(shaped, axis=1), 1)
    assert np.abs(even.mean(0)).max() < 0.1
    assert ((shaped @ nuisance) ** 2).mean() > 3 * ((even @ nuisance) ** 2).mean()


def test_kinds_and_sources_are_compared_in_equal_doses(
    model: ClickTransformer, dots: list[Pair], train: dict[str, Material]
) -> None:
    learned = {"das 2/within": np.linalg.qr(np.random.default_rng(0).normal(size=(16, 2)))[0]}
    table = compare(model, dots[0].task, SITE, train, dots, learned=learned, random=20, workers=1)
    effects = table[table["metric"] == "effect"]
    added = effects[effects["operation"] == "add"]
    assert set(added["source"]) == {"within", "pooled", "others", ""}
    assert set(added["coefficient"]) == set(COEFFICIENTS)
    assert set(effects[effects["operation"] == "swap"]["kind"]) >= {"das 2", "das 2 placebo", "lda"}
    known = added[~added["kind"].str.startswith("random")]
    assert known["percentile_norm"].between(0, 100).all()
    assert known["percentile_covariance"].between(0, 100).all()
    assert (effects[effects["kind"] == "random_norm"]["n"] == 20).all()


def test_every_layer_at_once_has_a_direction_for_each(
    model: ClickTransformer, dots: list[Pair], train: dict[str, Material]
) -> None:
    site = Site("cls", EVERY_LAYER)
    table = compare(model, dots[0].task, site, train, dots[:1], random=5, workers=1)
    assert set(table["operation"]) == {"add"}
    with pytest.raises(InputError, match="one layer"):
        align(model, site, dots, 1)


def test_alignment_of_full_rank_is_a_swap_and_training_helps(
    model: ClickTransformer, dots: list[Pair], train: dict[str, Material]
) -> None:
    whole = align(model, SITE, dots, 16, epochs=0)
    assert np.allclose(whole @ whole.T, np.eye(16), atol=1e-5)
    before = align(model, SITE, dots, 1, epochs=0)
    after = align(model, SITE, dots, 1, epochs=15)
    assert np.linalg.norm(after) == pytest.approx(1, abs=1e-5)
    learned = {"whole/": whole, "before/": before, "after/": after}
    table = compare(model, dots[0].task, SITE, train, dots, learned=learned, random=2, workers=1)
    chosen = table[(table["metric"] == "effect") & (table["start"] == "right")]
    effect = chosen.set_index("kind")["estimate"]
    assert abs(effect["after"] - 1) < abs(effect["before"] - 1)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()
