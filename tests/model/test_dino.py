from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.experiments import tiny
from bcprobe.model.checkpoint import load_checkpoint, save_checkpoint
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import ClickTransformer

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ClickTransformerConfig:
    """A tiny model over a small random DINOv2 in a local folder."""
    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    shape = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(shape).save_pretrained(folder)
    return replace(tiny().model, encoder="dinov2", encoder_weights=str(folder))


def test_it_gives_the_grids_tokens_and_its_backbone_stays_frozen(
    config: ClickTransformerConfig,
) -> None:
    model = ClickTransformer(config).train()
    patches = model.encoder.patches
    before = {name: t.clone() for name, t in patches.backbone.state_dict().items()}
    frames = torch.randint(0, 256, (1, 2, 3, 360, 480), dtype=torch.uint8)
    clicks = torch.full((1, 2, 2), 100)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with torch.enable_grad():
        assert patches(frames[0])[0].shape == (2, config.n_patches, config.d_model)
        (-model(frames, clicks).click_log_prob(clicks).mean()).backward()
    optimizer.step()
    assert patches.project.weight.grad.abs().sum() > 0
    assert not patches.backbone.training
    after = patches.backbone.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_patch_is_seen_where_it_stands(config: ClickTransformerConfig) -> None:
    patches = ClickTransformer(config).encoder.patches
    frames = torch.zeros(1, 3, 360, 480, dtype=torch.uint8)
    before = patches(frames)[0]
    frames[:, :, 100:170, 330:390] = 255  # inside row 1, column 4 of 4 x 6
    moved = (patches(frames)[0] - before).norm(dim=-1)[0]
    assert int(moved.argmax()) == 1 * 6 + 4


def test_a_checkpoint_names_the_frozen_weights_and_lacks_them(
    config: ClickTransformerConfig, tmp_path: Path
) -> None:
    model = ClickTransformer(config).eval()
    assert not any("backbone" in name for name in model.state_dict())
    again = load_checkpoint(save_checkpoint(model, tmp_path / "dino", dtype=torch.float32))
    frames = torch.randint(0, 256, (1, 3, 360, 480), dtype=torch.uint8)
    assert torch.equal(model.encoder.see(frames), again.encoder.see(frames))


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    bad = replace(tiny().model, encoder="dinov2", encoder_weights=str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"no DINOv2 weights at '.*nothing'") as caught:
        ClickTransformer(bad)
    assert "\n" not in str(caught.value)
