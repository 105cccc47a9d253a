"""The fast map: exact for small changes, ordered as the exact map is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.interventions.attribution import agreement, attribute
from bcprobe.interventions.maps import Answers, MapCell, edit_of, patch, sites_of
from bcprobe.interventions.pairs import Pair
from bcprobe.interventions.patch import Add, Bench, Edit, Place
from bcprobe.model.transformer import ClickTransformer


def test_gradients_are_the_change_of_small_edits(model: ClickTransformer, dots: list[Pair]) -> None:
    site = "blocks.1.hook_resid_pre"
    bench = Bench(model, dots[0], [site])
    answers = Answers(bench)
    gradients = bench.gradients(1, answers.targets, answers.undo)
    step = torch.zeros(16)
    step[3] = 1e-2
    edits = [Edit(((Place(site, lag, (0, 2)), Add(step)),)) for lag in (0, 1)]
    moved = answers.read(bench.run(1, edits, answers.targets)[0])[..., 0]
    plain = answers.read(bench.plain(answers.targets))[1, :, 0]
    for lag in (0, 1):
        for later in range(lag, 3):
            wanted = float((gradients[later][site, lag][[0, 2]] @ step).sum())
            assert moved[lag, later] - plain[later] == pytest.approx(wanted, rel=0.1, abs=2e-6)


def test_the_fast_map_is_compared_with_the_exact_one(
    model: ClickTransformer, dots: list[Pair]
) -> None:
    names = {"components": ("resid", "z", "pattern"), "lags": (0,), "workers": 1}
    exact, fast = patch(model, dots, **names), attribute(model, dots, **names)
    assert fast.cells == exact.cells
    assert np.array_equal(np.isnan(exact.edited[..., 0]), np.isnan(fast.edited[..., 0]))
    found = agreement(exact, fast)
    assert [(one.start, one.later) for one in found] == [
        (start, later) for start in ("right", "wrong") for later in range(3)
    ]
    assert found[0].rank.estimate > 0.9
    same = agreement(exact, exact)
    assert all(one.rank.estimate == pytest.approx(1) for one in same)
    assert all(one.exact == one.fast for one in same)
    table = fast.table()
    assert set(table[table["component"] != "none"]["metric"]) == {"effect"}


def test_maps_of_other_cells_are_not_compared(model: ClickTransformer, dots: list[Pair]) -> None:
    names = {"components": ("resid",), "workers": 1}
    exact = patch(model, dots[:1], layers=(0,), **names)
    with pytest.raises(InputError, match="different pairs or cells"):
        agreement(exact, attribute(model, dots[:1], layers=(1,), **names))
    with pytest.raises(InputError, match="memory"):
        attribute(model, dots, components=("memory",))
    assert edit_of(MapCell("resid", 0, "all"), model.config, dots[0]).start == (0, 0)
    assert sites_of(model.config, [Edit(())]) == []
