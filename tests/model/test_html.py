"""What Jupyter shows of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcprobe.model import html as sheet
from bcprobe.model.checkpoint import load_checkpoint, save_checkpoint
from bcprobe.model.transformer import ClickTransformer


@pytest.fixture
def loaded(model: ClickTransformer, tmp_path: Path) -> ClickTransformer:
    experiment = {"name": "small", "data": {"tasks": ["colored_dot_tracking"]}}
    save_checkpoint(model, tmp_path / "mine", experiment=experiment, frames=4096)
    return load_checkpoint(tmp_path / "mine")


def test_the_facts_are_those_of_the_checkpoint(loaded: ClickTransformer) -> None:
    known = sheet.facts(loaded)
    assert sheet.name_of(loaded) == "mine"
    assert known["experiment"] == "small"
    assert known["tasks"] == "colored_dot_tracking"
    assert known["frames seen"] == "4,096"
    assert known["context"] == f"{loaded.config.context} frames"


def test_a_saved_step_is_named_by_its_frames(model: ClickTransformer, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "mine" / "steps" / "512", frames=512)
    assert sheet.name_of(load_checkpoint(f"{tmp_path / 'mine'}@512")) == "mine@512"


def test_every_parameter_is_counted_once(loaded: ClickTransformer) -> None:
    rows = sheet.shapes(loaded)
    assert sum(count for *_, count in rows) == sum(p.numel() for p in loaded.parameters())
    by_name = {name: (shape, count) for name, shape, count in rows}
    width, layers = loaded.config.d_model, loaded.config.n_layers
    name = f"blocks.0-{layers - 1}.attn.qkv.weight"
    assert by_name[name] == (f"{3 * width} x {width}", layers * 3 * width * width)


def test_jupyter_gets_a_page(loaded: ClickTransformer, model: ClickTransformer) -> None:
    page = loaded._repr_html_()
    assert page.startswith("<b>mine</b>")
    assert "head.query.weight" in page
    assert "not loaded from a checkpoint" in model._repr_html_()
