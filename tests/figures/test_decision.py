"""The figure of one decision: the table holds what is drawn, the tint lies where weights do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.lens import Attribution, Decision
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.figures import decision as figures
from bcprobe.rng import split_seed
from bcprobe.tables import lens
from bcprobe.tables.lens import corrections, decision_table

TASK = "colored_dot_tracking"
LAYERS, HEADS, AGO, ROWS, COLUMNS = 2, 3, 2, 4, 6


@pytest.fixture(scope="module")
def episode() -> Episode:
    made = (generate(TASK, split_seed("test", number)) for number in range(99))
    return next(episode for episode in made if corrections(episode))


@pytest.fixture(scope="module")
def decision(episode: Episode) -> Decision:
    rng = np.random.default_rng(0)
    step = corrections(episode)[0]
    grid = (ROWS, COLUMNS)
    heat = rng.random((LAYERS + 1, 360, 480)).astype(np.float32)
    attention = rng.random((LAYERS, HEADS, AGO, *grid)).astype(np.float32)
    heads = rng.normal(size=(LAYERS, HEADS, *grid)).astype(np.float32)
    mlps = rng.normal(size=(LAYERS, *grid)).astype(np.float32)
    start, biases, logits = rng.normal(size=(3, *grid)).astype(np.float32)
    return Decision(
        step=step,
        click=episode.steps[step].click,
        choice=episode.steps[step].click,
        steps=(step - 1, step),
        screens=np.zeros((AGO, 360, 480, 3), np.uint8),
        sites=("a", "b", "c"),
        heat=heat / heat.sum((1, 2), keepdims=True),
        attention=attention,
        elsewhere=attention.sum((-1, -2)),
        attribution=Attribution(start, heads, mlps, biases, logits),
    )


@pytest.fixture(scope="module")
def table(decision: Decision, episode: Episode) -> pd.DataFrame:
    return decision_table(decision, episode, "small")


def test_an_undo_that_answers_a_placement_is_found(episode: Episode) -> None:
    for step in corrections(episode):
        assert episode.steps[step].undo_next
        assert not episode.steps[step - 1].latents.mistake
        assert episode.steps[step].latents.mistake


def test_the_table_holds_every_value_under_its_name(
    table: pd.DataFrame, decision: Decision
) -> None:
    assert tuple(table.columns) == lens.COLUMNS
    squares = table[table["kind"] == "lens"]
    assert squares.groupby("layer")["value"].sum().to_numpy() == pytest.approx(1, abs=1e-4)
    one = squares[(squares["layer"] == 1) & (squares["row"] == 2) & (squares["column"] == 5)]
    assert one["value"].item() == pytest.approx(decision.heat[1, 20:30, 50:60].sum(), rel=1e-5)
    weights = table[table["kind"] == "attention"].set_index(
        ["layer", "head", "ago", "row", "column"]
    )
    assert weights.loc[(2, 1, 0, 3, 4), "value"] == decision.attention[1, 1, -1, 3, 4]
    heads = table[table["kind"] == "head"].set_index(["layer", "head"])
    assert heads.loc[(1, 2), "value"] == decision.attribution.at(decision.click).heads[0, 2]
    undo = table[table["kind"] == "p_undo"].set_index("layer")["value"]
    x, y = decision.click
    assert (undo > decision.heat[:, y, x]).all()


def test_a_panel_per_layer_and_two_per_head(table: pd.DataFrame, decision: Decision) -> None:
    figure = figures.plot(table)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:3] == ["before layer 1", "after layer 1", "after layer 2"]
    cross = figure.axes[0].lines[0]
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == decision.click
    matrix = next(axis for axis in figure.axes if axis.get_xlabel() == "head")
    shown = [float(text.get_text().replace("−", "-")) for text in matrix.texts]
    parts = decision.attribution.at(decision.click)
    values = np.column_stack([parts.heads, parts.mlps])[::-1]
    np.testing.assert_allclose(np.reshape(shown, values.shape), values, atol=0.051)
    strongest = np.unravel_index(parts.heads.argmax(), parts.heads.shape)
    assert f"layer {strongest[0] + 1}, head {strongest[1] + 1}" in titles


def test_the_tint_lies_where_the_weight_is() -> None:
    screen = np.full((360, 480, 3), 100, dtype=np.uint8)
    weights = np.zeros((ROWS, COLUMNS))
    weights[1, 2], weights[3, 5] = 1.0, 0.25
    picture = figures.overlay(screen, weights).astype(int)
    colour = np.ptp(picture, axis=-1)  # grey has none
    assert colour[90:180, 160:240].min() > colour[270:, 400:].min() > 0
    tinted = colour > 0
    assert tinted.sum() == 2 * 90 * 80
    half = figures.overlay(screen, weights, most=4.0).astype(int)
    assert np.ptp(half[100, 200]) < np.ptp(picture[100, 200])
