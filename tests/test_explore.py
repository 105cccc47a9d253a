"""Exploring an episode: widgets where they live, a picture where they do not."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bcprobe.activations.extract import collect
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.errors import InputError
from bcprobe.explore import Explorer, explore
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import ClickTransformer
from bcprobe.probes.cards import make_card, write_card
from bcprobe.probes.directions import Direction
from bcprobe.probes.read_out import read_out

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
    made = make_card(direction, **known, **asked, **hashes, score=score, controls={})
    write_card(folder, made, unit)
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


def test_the_slider_draws_another_picture(explorer: Explorer, episode: Episode) -> None:
    step, image = explorer.widgets.children[0].children[0], explorer.widgets.children[-1]
    assert (step.min, step.max, step.value) == (0, len(episode) - 1, explorer.first)
    before = image.value
    step.value = 5
    assert image.value != before
    assert Image.open(io.BytesIO(image.value)).format == "PNG"
    step.value = explorer.first
    assert image.value == before


def test_where_widgets_cannot_live_a_picture_stands(explorer: Explorer) -> None:
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert picture.width > 800


def test_without_ipywidgets_it_says_what_to_install(
    episode: Episode, model: ClickTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(InputError, match=r"pip install 'bcprobe\[notebooks\]'"):
        explore(episode, model)


def test_a_step_outside_is_one_line(episode: Episode, model: ClickTransformer) -> None:
    with pytest.raises(InputError, match="outside the episode's 0-"):
        explore(episode, model, step=len(episode))
