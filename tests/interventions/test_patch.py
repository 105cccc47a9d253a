"""Swaps between pairs: the guards of every other number, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.gui.layouts import Rect
from bcprobe.interventions.maps import (
    EVERY_LAYER,
    Answers,
    MapCell,
    cells,
    edit_of,
    patch,
    ratios,
    reaches,
    sites_of,
    token_groups,
)
from bcprobe.interventions.pairs import Pair, twins
from bcprobe.interventions.patch import SWAP, Add, Bench, Edit, Erase, Place, SwapAlong
from bcprobe.interventions.targets import ClickTargets
from bcprobe.model.transformer import ClickTransformer
from bcprobe.tasks import TRAINING_TASKS
from bcprobe.tasks.counterfactual import movable

CLOSE = {"atol": 2e-5, "rtol": 0}


def joined(edits: list[Edit]) -> Edit:
    return Edit(tuple(part for edit in edits for part in edit.parts))


@pytest.mark.parametrize("task", TRAINING_TASKS)
def test_swapping_all_that_differs_gives_the_twins_answer(
    model: ClickTransformer, task: str
) -> None:
    (pair,) = twins(task, 1, lags=2)
    config = model.config
    whole = [
        joined([edit_of(MapCell("resid", layer, "all", lag), config, pair) for lag in (0, 1)])
        for layer in range(config.n_layers)
    ]
    final = edit_of(MapCell("resid", config.n_layers, "all", 0), config, pair)
    bench = Bench(model, pair, sites_of(config, [*whole, final]))
    answers = Answers(bench)
    plain = bench.plain(answers.targets)
    assert (plain[0] - plain[1]).abs().max() > 1e-3
    for side in (0, 1):
        swapped, _ = bench.run(side, whole, answers.targets)
        assert torch.allclose(swapped[0], plain[1 - side], **CLOSE)
        for found in swapped:  # from a later layer on, a frame's earlier keys stay its own
            assert torch.allclose(found[0], plain[1 - side, 0], **CLOSE)
        last, _ = bench.run(side, [final], answers.targets)
        assert torch.allclose(last[0, 0], plain[1 - side, 0], **CLOSE)
        nothing, _ = bench.run(side, [Edit(()), *_idle(config, pair)], answers.targets)
        assert torch.allclose(nothing, plain[side].expand_as(nothing), **CLOSE)


def _idle(config: object, pair: Pair) -> list[Edit]:
    """Edits of nothing: no token, a vector of zeros, own values."""
    site = "blocks.1.hook_resid_pre"
    return [
        Edit(((Place(site, 0, ()), SWAP),)),
        Edit(((Place(site, 0, (0, 1)), Add(torch.zeros(16))),)),
        Edit(((Place(site, 1, (0, 1)), Erase(torch.zeros(16, 16), torch.ones(16))),)),
    ]


def test_an_unedited_bench_is_the_model_over_the_whole_episode(
    model: ClickTransformer, dots: list[Pair]
) -> None:
    pair = dots[0]
    bench = Bench(model, pair)
    r = pair.button("Undo")
    for side in (0, 1):
        shown = [*pair.history(side, 10_000), *pair.after(side)]
        pixels = torch.from_numpy(np.stack([screen for screen, _ in shown])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            clicks = model(pixels[None], torch.tensor([[tuple(click) for _, click in shown]]))
        heat = clicks.heat_map()[0, -pair.lags :]
        wanted = heat[:, r.y : r.y + r.height, r.x : r.x + r.width].sum((1, 2)).log()
        found = bench.plain(ClickTargets(model, [r]))[side, :, 0]
        assert torch.allclose(found, wanted, **CLOSE)
        assert torch.allclose(bench.heat_map(side, 2), heat[2], atol=1e-7)


@pytest.mark.parametrize("head", ["fine_pointer", "pointer", "independent"])
def test_targets_are_sums_over_the_click_map(
    head: str, dots: list[Pair], make_model: Callable[..., ClickTransformer]
) -> None:
    bench = Bench(make_model(head=head), dots[0])
    rects = [Rect(300, 40, 150, 36), Rect(0, 0, 480, 360), Rect(79, 89, 2, 2), Rect(5, 7, 1, 1)]
    found = bench.plain(ClickTargets(bench.model, rects)).exp()
    for side in (0, 1):
        heat = bench.heat_map(side, 1)
        sums = [heat[r.y : r.y + r.height, r.x : r.x + r.width].sum() for r in rects]
        assert torch.allclose(found[side, 1], torch.stack(sums), atol=1e-6)


def test_what_a_frame_hands_on_is_its_keys_and_values(
    model: ClickTransformer, dots: list[Pair]
) -> None:
    """All memory of lag 0 and all of frame 1 swapped: frame 1 answers as the twin's does."""
    pair, config = dots[0], model.config
    edits = [
        joined(
            [
                edit_of(MapCell("memory", EVERY_LAYER, "all", 0), config, pair),
                edit_of(MapCell("resid", 0, "all", 1), config, pair),
            ]
        )
    ]
    bench = Bench(model, pair, sites_of(config, edits))
    targets = Answers(bench).targets
    plain = bench.plain(targets)
    found, _ = bench.run(1, edits, targets)
    assert torch.allclose(found[0, 1], plain[0, 1], **CLOSE)
    assert (found[0, 0] - plain[0, 0]).abs().max() > 1e-3


def test_a_cell_said_to_reach_nothing_changes_nothing_and_others_do(
    model: ClickTransformer, dots: list[Pair]
) -> None:
    config, pair = model.config, dots[0]
    names = ("resid", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern", "memory")
    known = cells(config, 2, components=names)
    known += [MapCell("resid", 3, group, 0) for group in ("previous", "registers")]
    known += [MapCell("mlp_out", 2, "previous", 1), MapCell("resid", 3, "all", 0)]
    edits = [edit_of(cell, config, pair) for cell in known]
    bench = Bench(model, pair, sites_of(config, edits))
    targets = Answers(bench).targets
    plain = bench.plain(targets)[1]
    found, _ = bench.run(1, edits, targets)
    for cell, answers in zip(known, found, strict=True):
        for later in range(2):
            moved = float((answers[later] - plain[later]).abs().max())
            if not reaches(config, cell, later) and cell.component != "memory":
                assert moved < 1e-5, (cell, later)
            elif cell.tokens == "all" and cell.head is None and cell.component == "resid":
                assert moved > 1e-4, (cell, later)


def test_heads_together_are_the_whole(model: ClickTransformer, dots: list[Pair]) -> None:
    config, pair = model.config, dots[0]
    for name in ("z", "pattern", "k"):
        each = [edit_of(MapCell(name, 1, "patches", 0, head), config, pair) for head in (0, 1)]
        whole = edit_of(MapCell(name, 1, "patches", 0), config, pair)
        edits = [joined(each), whole, each[0]]
        bench = Bench(model, pair, sites_of(config, edits))
        found, _ = bench.run(0, edits, Answers(bench).targets)
        assert torch.allclose(found[0], found[1], atol=1e-6)
        assert not torch.allclose(found[0], found[2], atol=1e-6)


def test_a_swap_along_a_whole_basis_is_a_swap(model: ClickTransformer, dots: list[Pair]) -> None:
    place = Place("blocks.1.hook_resid_pre", 0, tuple(range(16)))
    basis = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))[0]
    bench = Bench(model, dots[0], [place.site])
    edits = [
        Edit(((place, change),)) for change in (SWAP, SwapAlong(basis), SwapAlong(basis[:, :3]))
    ]
    found, _ = bench.run(1, edits, Answers(bench).targets)
    assert torch.allclose(found[0], found[1], **CLOSE)
    assert not torch.allclose(found[0], found[2], atol=1e-4)


@pytest.mark.parametrize("task", movable())
def test_swapping_all_that_differs_between_worlds_gives_the_others_answer(
    model: ClickTransformer, task: str
) -> None:
    """The truth is another: the frames before differ too, and are swapped as well."""
    (apart,) = twins(task, 1, shift=40)
    edit = edit_of(MapCell("resid", 0, "all", 0), model.config, apart)
    bench = Bench(model, apart, sites_of(model.config, [edit]))
    targets = Answers(bench).targets
    plain = bench.plain(targets)
    assert (plain[0] - plain[1]).abs().max() > 1e-4
    for side in (0, 1):
        found, _ = bench.run(side, [Edit(edit.parts, history=True), edit], targets)
        assert torch.allclose(found[0], plain[1 - side], **CLOSE)
        nothing, _ = bench.run(side, [Edit(())], targets)
        assert torch.allclose(nothing[0], plain[side], **CLOSE)


def test_a_map_between_worlds_has_a_row_for_each_cell(model: ClickTransformer) -> None:
    pairs = twins("colored_dot_tracking", 2, shift=40)
    found = patch(model, pairs, components=("resid",), layers=(0,), workers=1)
    assert set(found.table()["tokens"]) >= {"cls", "placed"}
    assert np.isfinite(found.edited).all()


def test_a_map_is_0_to_1_with_intervals(model: ClickTransformer, dots: list[Pair]) -> None:
    found = patch(model, dots, components=("resid",), layers=(0, 3), lags=(0,), workers=1)
    table = found.table()
    whole = table[(table["tokens"] == "all") & (table["metric"] == "effect")]
    assert np.allclose(whole[whole["later"] == 0]["estimate"], 1, atol=1e-3)
    assert (table["lower"] <= table["estimate"] + 1e-9).all()
    assert (table["estimate"] <= table["upper"] + 1e-9).all()
    undo = table[(table["metric"] == "p_undo") & (table["later"] == 0)]
    plain = undo[undo["component"] == "none"].set_index("start")["estimate"]
    swapped = undo[(undo["tokens"] == "all") & (undo["layer"] == 0)].set_index("start")["estimate"]
    assert swapped["wrong"] == pytest.approx(plain["right"], abs=1e-6)
    assert set(table["lag"]) == {0}


def test_bad_input_is_refused_in_one_line(
    model: ClickTransformer, dots: list[Pair], make_model: Callable[..., ClickTransformer]
) -> None:
    config = make_model().config
    with pytest.raises(InputError, match=r"the model has no registers; its token groups: cls"):
        cells(config, tokens=("registers",))
    with pytest.raises(InputError, match="placed"):
        cells(config, tokens=("place",))
    with pytest.raises(InputError, match="resid"):
        cells(config, components=("residd",))
    with pytest.raises(InputError, match="no layer 9"):
        cells(config, layers=(9,))
    with pytest.raises(InputError, match="no lag 1"):
        cells(config, lags=1, at=(1,))
    with pytest.raises(InputError, match="no answer can be reached"):
        cells(config, tokens=("previous",), layers=(3,), components=("resid",))
    with pytest.raises(InputError, match="one at a time"):
        patch(model, [*dots, *twins("neuron_tracking", 1)])
    with pytest.raises(InputError, match="no pair to patch"):
        patch(model, [])
    assert "registers" in token_groups(model.config, dots[0])


def test_a_share_of_no_difference_is_not_told() -> None:
    draws = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
    above = np.array([[1.0, 1.0], [1.0, 1.0]])
    below = np.array([[2.0, 2.0], [2.0, -2.0]])
    found = ratios(above, below, draws)
    assert found[0].tolist() == [0.5, 0.5, 0.5]
    assert np.isnan(found[1]).all()
