from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bcprobe.experiments import tiny
from bcprobe.model.config import ClickTransformerConfig, get_preset
from bcprobe.model.transformer import ClickTransformer
from bcprobe.training.flops import frame_flops, peak_flops, step_flops


@pytest.mark.parametrize("config", [tiny().model, get_preset("nano")], ids=["tiny", "nano"])
def test_the_count_is_that_of_the_products_carried_out(config: ClickTransformerConfig) -> None:
    """Window of one frame: nothing is computed and masked away."""
    config = replace(config, context=1)
    model = ClickTransformer(config)
    frames = torch.zeros(1, 2, 3, 360, 480, dtype=torch.uint8)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(frames, torch.zeros(1, 2, 2, dtype=torch.int64))
    assert counter.get_total_flops() / 2 == pytest.approx(frame_flops(config), rel=0.1)


def test_learning_takes_three_times_the_forward_pass() -> None:
    base = get_preset("base")
    assert step_flops(base, 10) == 30 * frame_flops(base)
    assert frame_flops(get_preset("nano")) < 1e9 < frame_flops(base)


def test_peaks_are_known_by_name_or_nan() -> None:
    assert peak_flops("NVIDIA H200") == peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert math.isnan(peak_flops("some processor"))
