from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.model.config import PRESETS, ClickTransformerConfig, config_from_dict, get_preset
from bcprobe.model.transformer import ClickTransformer

#: Parameters of each preset, millions.
SIZES = {"nano": 1.2, "small": 6, "base": 27, "large": 95, "huge": 320}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_size_they_say(name: str) -> None:
    with torch.device("meta"):
        model = ClickTransformer(PRESETS[name])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == pytest.approx(1e6 * SIZES[name], rel=0.15)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_tile_the_screen(name: str) -> None:
    config = PRESETS[name]
    assert config.grid == ((6, 4) if name == "nano" else (12, 9))
    assert config.tokens_per_frame == (26 if name == "nano" else 128)
    assert config.cls_index == config.tokens_per_frame - 1


@pytest.mark.parametrize("name", PRESETS)
def test_a_config_comes_back_from_its_plain_form(name: str) -> None:
    assert config_from_dict(PRESETS[name].as_dict()) == PRESETS[name]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"head": "pointr"}, "unknown head 'pointr'; did you mean 'pointer'"),
    ({"encoder": "patches"}, "unknown encoder 'patches'; did you mean 'patch'"),
    ({"schema_version": 99}, "schema 99, newer than 1; update bcprobe"),
    ({"n_layers": 0}, "n_layers is 0; it must be 1 to 256"),
    ({"n_layers": 10**9}, "n_layers is 1000000000; it must be 1 to 256"),
    ({"d_model": 10**9}, "d_model is 1000000000"),
    ({"n_heads": -4}, "n_heads is -4"),
    ({"mlp_ratio": 10**6}, "mlp_ratio is 1000000"),
    ({"context": 2.5}, "context is 2.5, no whole number"),
    ({"n_registers": "3"}, "n_registers is '3', no whole number"),
    ({"stem": ((8, 6, 10**9), (5, 5, 64), (2, 3, 128))}, "stem is 1000000000"),
    ({"d_model": 100, "n_heads": 3}, "d_model 100 is no even multiple of 3 heads"),
    ({"stem": ((7, 7, 64), (2, 2, 128))}, "do not tile the screen"),
    ({"stem": ((8, 6, 32), (10, 15, 64))}, "the stem must end in 128 channels"),
    ({"stem": ((80, 90, 128),)}, "the stem needs two stages or more"),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_shapes_that_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(ClickTransformerConfig(), **fields)
    with pytest.raises(InputError, match=message):
        config_from_dict({**ClickTransformerConfig().as_dict(), **fields})


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(InputError, match="unknown field 'd_modl'"):
        config_from_dict({"d_modl": 128})


@pytest.mark.parametrize(
    "values", [{"stem": 3}, {"stem": []}, {"stem": [[8]]}, {"d_model": "wide"}]
)
def test_fields_of_the_wrong_kind_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="model config"):
        config_from_dict(values)


def test_an_unknown_preset_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown preset 'smal'; did you mean 'small'"):
        get_preset("smal")
