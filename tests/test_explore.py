"""Exploring an episode: a player where it may live, a picture where it may not."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bcprobe.activations.extract import collect
from bcprobe.activations.lens import look
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.player import coarse, packed
from bcprobe.episodes.record import generate
from bcprobe.errors import InputError
from bcprobe.explore import CELL, Explorer, explore
from bcprobe.gui.layouts import button_rect
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import ClickTransformer
from bcprobe.probes.cards import make_probe_card, write_probe_card
from bcprobe.probes.directions import Direction
from bcprobe.probes.read_out import read_out
from bcprobe.tasks import get_task

SITE = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def model() -> ClickTransformer:
    torch.manual_seed(3)
    config = ClickTransformerConfig(
        d_model=16, n_layers=2, n_heads=2, stem=((40, 30, 8), (2, 3, 16)), context=3
    )
    return ClickTransformer(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def episode() -> Episode:
    made = (generate("colored_dot_tracking", seed, difficulty="easy") for seed in range(50))
    return next(one for one in made if any(step.undo_next for step in one.steps))


@pytest.fixture(scope="module")
def explorer(episode: Episode, model: ClickTransformer) -> Explorer:
    return explore(episode, model)


def card(folder: Path, width: int) -> Path:
    """A direction along the first number, centred at 2, its sides 4 apart."""
    unit = np.eye(width)[:1]
    direction = Direction(unit, ("mistake",), np.array([4.0]), np.array([1.0]), np.array([2.0]))
    hashes = dict.fromkeys(("checkpoint_hash", "data_key", "episodes_hash"), "0" * 64)
    score = {"estimate": 0.9, "lower": 0.8, "upper": 1.0, "n": 10}
    known = {"latent": "mistake", "site": SITE, "layer": 2, "checkpoint": "small"}
    asked = {"task": "colored_dot_tracking", "episodes": 3, "negatives": "all", "metric": "auc"}
    made = make_probe_card(direction, **known, **asked, **hashes, score=score, controls={})
    write_probe_card(folder, made, unit)
    return folder


def test_it_begins_at_the_first_undo(explorer: Explorer, episode: Episode) -> None:
    assert episode.steps[explorer.first].undo_next
    assert not any(step.undo_next for step in episode.steps[: explorer.first])


def test_read_outs_are_projections_in_units_of_the_card(
    episode: Episode, model: ClickTransformer, tmp_path: Path
) -> None:
    found = read_out(episode, model, [card(tmp_path, 16)])
    wanted = (collect(model, [episode], [SITE]).at(SITE)[:, 0].astype(float) - 2) / 4
    np.testing.assert_allclose(found["mistake, layer 2"], wanted, atol=1e-3)
    figure = explore(episode, model, [tmp_path]).picture()
    line = figure.axes[-1].lines[0]
    np.testing.assert_allclose(line.get_ydata(), wanted, atol=1e-3)


def test_a_card_of_another_model_is_one_line(
    episode: Episode, model: ClickTransformer, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"has 8 numbers; .* of this model has 16"):
        read_out(episode, model, [card(tmp_path, 8)])


def test_a_picture_shows_the_moment_asked_for(explorer: Explorer, episode: Episode) -> None:
    figure = explorer.picture(step=4, layer=1, head=1, back=1)
    titles = [axis.get_title() for axis in figure.axes[:3]]
    assert titles[0].startswith("click 4: ")
    assert titles[1:] == ["lens after layer 1", "attention at 3: layer 1, head 2"]
    at = figure.axes[-1].lines[-1].get_xdata()
    assert at[0] == 4
    early = explorer.picture(step=0, back=2)
    assert early.axes[2].get_title().startswith("attention at 0")


def test_the_page_holds_every_moment(
    episode: Episode, model: ClickTransformer, tmp_path: Path
) -> None:
    explorer = explore(episode, model, [card(tmp_path, 16)])
    found = re.search(r'id="data">(.*?)</script>', explorer.page())
    assert found
    data = json.loads(found[1])
    assert [len(data["moments"]), len(data["steps"])] == [len(episode)] * 2
    assert [one["name"] for one in data["reads"]] == ["P(Undo)", "mistake, layer 2"]
    decision = look(episode, 7, model)
    moment = data["moments"][7]
    assert [one["data"] for one in moment["lens"]] == [
        packed(coarse(heat, CELL))["data"] for heat in decision.heat
    ]
    assert moment["attention"][1][0]["sum"] == pytest.approx(
        decision.attention[1, 0, -1].sum(), abs=1e-3
    )
    rect = button_rect(episode.layout, get_task(episode.task).buttons, "Undo")
    undo = decision.heat[-1][rect.y : rect.y + rect.height, rect.x : rect.x + rect.width].sum()
    own = [undo, explorer.readouts["mistake, layer 2"][7]]
    assert data["steps"][7]["reads"] == pytest.approx(own, abs=1e-3)


def test_where_pages_cannot_live_a_picture_stands(explorer: Explorer) -> None:
    shown = explorer._repr_html_()
    assert 'sandbox="allow-scripts"' in shown
    page = html.unescape(re.search(r'srcdoc="(.*?)"', shown, re.DOTALL)[1])
    assert page == explorer.page()
    image = re.search(r"data:image/png;base64,([^\"]+)", shown)
    assert Image.open(io.BytesIO(base64.b64decode(image[1]))).width > 800


def test_a_step_outside_is_one_line(episode: Episode, model: ClickTransformer) -> None:
    with pytest.raises(InputError, match="outside the episode's 0-"):
        explore(episode, model, step=len(episode))
