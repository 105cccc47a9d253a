"""The whole experiment, from names to tables."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from bcprobe.errors import InputError
from bcprobe.interventions.maps import patch
from bcprobe.interventions.pairs import Pair
from bcprobe.interventions.steer import locate, steer
from bcprobe.model.transformer import ClickTransformer

TASKS = ("colored_dot_tracking", "neuron_tracking")


def test_sites_are_the_maps_last_strong_layers_the_strongest_first(
    model: ClickTransformer, dots: list[Pair]
) -> None:
    found = patch(model, dots, components=("resid",), tokens=("placed", "cls"), workers=1)
    sites = locate(found)
    assert {site.tokens for site in sites} == {"placed", "cls"}
    table = found.table()
    whole = table[(table["metric"] == "effect") & (table["later"] == 0)]
    shares = whole.groupby(["tokens", "layer"])["estimate"].sum()
    assert shares[sites[0].tokens].max() >= shares[sites[1].tokens].max()
    assert shares[sites[0].tokens, sites[0].layer] >= 0.8 * shares[sites[0].tokens].max()


def test_a_whole_experiment_from_names_to_tables(model: ClickTransformer) -> None:
    found = steer(
        model, TASKS, pairs=2, fitted=8, worlds=1, ranks=(1,), random=3, max_steps=4, workers=1
    )
    assert set(found.directions["task"]) == set(found.erasure["task"]) == set(TASKS)
    assert set(found.directions["source"]) == {"within", "pooled", "others", ""}
    assert (found.directions["layer"] == -1).any()
    assert set(found.loop["condition"]) == {
        "none", "less mistake", "more mistake", "random", "LEACE", "random erasure",
    }  # fmt: skip
    assert isinstance(found.plot(), Figure)
    assert set(found.as_dict()) == {"directions", "erasure", "loop"}


def test_numbers_out_of_range_are_refused(model: ClickTransformer) -> None:
    with pytest.raises(InputError, match="fitted 3"):
        steer(model, TASKS, fitted=3)
