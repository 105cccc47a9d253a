"""Path patching: whole paths give the twin's answer, blocked ones nothing."""

from __future__ import annotations

import pytest

from bcprobe.errors import InputError
from bcprobe.interventions.maps import MapCell, patch
from bcprobe.interventions.pairs import Pair
from bcprobe.interventions.paths import Edge, route, trace
from bcprobe.model.transformer import ClickTransformer


def test_paths_through_everything_are_the_whole_difference(
    model: ClickTransformer, dots: list[Pair]
) -> None:
    first, last = MapCell("resid", 1, "all"), MapCell("resid", 3, "all")
    placed, cls = MapCell("resid", 1, "placed"), MapCell("resid", 3, "cls")
    edges = [
        Edge("all", "read", first, last),
        Edge("all", "read", first, last, direct=True),
        Edge("placed", "query", placed, cls),
        Edge("placed", "query", placed, cls, direct=True),
    ]
    table = trace(model, dots, edges, workers=1)
    assert set(table["later"]) == {0}
    for start in ("right", "wrong"):
        own = table[table["start"] == start].set_index(["sender", "direct"])["estimate"]
        assert abs(own["placed", True]) < 1e-4  # the residual stream alone joins no two tokens
        assert abs(own["placed", False]) > 1e-3
        assert own["all", False] != pytest.approx(own["all", True], abs=1e-3)


def test_the_edge_from_all_tokens_is_a_swap_without_the_cells(
    make_model: object, dots: list[Pair]
) -> None:
    model = make_model(head="pointer")  # type: ignore[operator]  # reads no cells
    edges = [Edge("all", "read", MapCell("resid", 0, "all"), MapCell("resid", 3, "all"))]
    table = trace(model, dots, edges, workers=1)
    assert table["estimate"].to_numpy() == pytest.approx(1, abs=1e-3)


def test_a_route_runs_by_way_of_the_block_that_the_map_names(
    model: ClickTransformer, dots: list[Pair]
) -> None:
    found = patch(model, dots, components=("resid",), tokens=("placed",), workers=1)
    mover = found.layer_of("placed")
    assert 0 <= mover <= model.config.n_layers
    table = trace(model, dots[:1], route(model.config, mover), workers=1)
    assert {"query", "Undo's key", "keys", "placed patch", "answer"} <= set(table["receiver"])
    with pytest.raises(InputError, match="patch it first"):
        patch(model, dots, components=("resid",), tokens=("cls",), workers=1).layer_of("placed")


def test_a_receiver_before_its_sender_is_refused(model: ClickTransformer, dots: list[Pair]) -> None:
    late, early = MapCell("resid", 3, "cls"), MapCell("resid", 1, "cls")
    with pytest.raises(InputError, match="comes before"):
        trace(model, dots, [Edge("late", "early", late, early)])
    with pytest.raises(InputError, match="no path"):
        trace(model, dots, [Edge("a", "b", early, MapCell("memory", 1, "cls"))])
    with pytest.raises(InputError, match="no pair"):
        trace(model, [], [])
