from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bcprobe.errors import InputError
from bcprobe.probes.cards import (
    CARD,
    README,
    TENSOR,
    ProbeCard,
    make_probe_card,
    read_probe_card,
    write_probe_card,
)
from bcprobe.probes.directions import Direction

SCORE = {"estimate": 0.9, "lower": 0.8, "upper": None, "n": 3}


def card_of(direction: Direction) -> ProbeCard:
    return make_probe_card(
        direction,
        latent="mistake",
        site="blocks.1.hook_resid_post",
        layer=2,
        checkpoint="small",
        checkpoint_hash="c" * 64,
        data_key="d" * 64,
        episodes_hash="e" * 64,
        task="colored_dot_tracking",
        episodes=3,
        negatives="matched",
        metric="auc",
        score=SCORE,
        controls={"shuffled": SCORE},
    )


def direction_of(*classes: str) -> Direction:
    rows = np.random.default_rng(0).normal(size=(len(classes), 4)).astype(np.float32)
    scale = np.arange(1.0, len(classes) + 1)
    return Direction(rows.astype(float), classes, scale, 2 * scale, 3 * scale)


@pytest.mark.parametrize("classes", [("mistake",), ("annotate", "verify")])
def test_a_card_read_back_is_the_card_written(tmp_path: Path, classes: tuple[str, ...]) -> None:
    direction = direction_of(*classes)
    card = card_of(direction)
    write_probe_card(tmp_path, card, direction.directions)
    again, directions = read_probe_card(tmp_path)
    assert again == card
    assert np.array_equal(directions, direction.directions)
    text = (tmp_path / README).read_text()
    assert "0.900 [0.800, -]" in text
    assert "residual +=" in text


def test_damaged_and_newer_cards_are_told(tmp_path: Path) -> None:
    direction = direction_of("mistake")
    with pytest.raises(InputError, match="no direction card"):
        read_probe_card(tmp_path)
    write_probe_card(tmp_path, card_of(direction), direction.directions)
    (tmp_path / TENSOR).write_bytes(b"damaged")
    with pytest.raises(InputError, match="no direction card"):
        read_probe_card(tmp_path)
    write_probe_card(tmp_path, card_of(direction), direction.directions)
    plain = json.loads((tmp_path / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps({**plain, "schema_version": 99}))
    with pytest.raises(InputError, match="schema 99"):
        read_probe_card(tmp_path)
