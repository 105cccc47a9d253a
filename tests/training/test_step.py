from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bcprobe.errors import InputError
from bcprobe.experiments import tiny
from bcprobe.model import precision
from bcprobe.model.precision import pick_precision, products_in
from bcprobe.model.transformer import ClickTransformer
from bcprobe.training.step import ClickLoss


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    yield
    torch._dynamo.reset()


def inputs() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 4, 360, 480, 3), generator=generator, dtype=torch.uint8)
    clicks = torch.randint(0, 360, (2, 4, 2), generator=generator)
    segments = torch.tensor([[0, 0, 1, 1], [2, 2, 2, 2]])
    return frames.permute(0, 1, 4, 2, 3), clicks, segments, clicks.flip(1)


FINE = {"head": "fine_pointer", "stem": ((8, 6, 4), (5, 5, 8), (2, 3, 32))}


def loss(**changes: Any) -> ClickLoss:
    torch.manual_seed(0)
    return ClickLoss(ClickTransformer(replace(tiny().model, n_layers=1, **changes)))


def sums() -> tuple[Tensor, Tensor]:
    """What to learn instead of clicks, summed over the fine pointer's cells."""
    heat = torch.rand(2, 4, 360, 480, generator=torch.Generator().manual_seed(1))
    heat = heat / heat.sum((-1, -2), keepdim=True)
    return heat.unflatten(2, (-1, 30)).sum(3), heat.unflatten(3, (-1, 40)).sum(4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("changes", "more"), [({}, ()), (FINE, ()), (FINE, sums())])
def test_the_step_compiles_into_one_graph_that_learns_the_same(
    changes: dict[str, Any], more: tuple[Tensor, ...]
) -> None:
    module = loss(**changes)
    results = []
    for run in (module, torch.compile(module, backend="aot_eager", fullgraph=True)):
        module.zero_grad()
        nll = run(*inputs(), *more)
        nll.sum().backward()
        results.append([nll.detach(), *(p.grad.clone() for p in module.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_a_hook_set_after_compiling_is_seen_when_run_eagerly() -> None:
    module = loss()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    with torch.no_grad():
        before = compiled(*inputs())
        assert not module.model.hooked
        module.model.add_hook("hook_embed", lambda value, hook: value * 0)
        assert module.model.hooked
        with torch.compiler.set_stance("force_eager"):
            assert not torch.equal(compiled(*inputs()), before)


def test_in_bfloat16_the_loss_is_nearly_the_same() -> None:
    module = loss()
    with torch.no_grad():
        exact = module(*inputs())
        with torch.autocast("cpu", torch.bfloat16):
            rough = module(*inputs())
    torch.testing.assert_close(rough.float(), exact, atol=0.3, rtol=0)


CPU = torch.device("cpu")


@pytest.mark.parametrize(("native", "wanted"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, wanted: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "cpu_multiplies_bf16", lambda: native)
    assert pick_precision("auto", CPU) == wanted
    assert pick_precision("bf16", CPU) == torch.bfloat16
    assert pick_precision("fp32", CPU) == torch.float32
    assert pick_precision("auto", torch.device("cuda")) == torch.bfloat16


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(InputError, match=r"bf61.*bf16"):
        pick_precision("bf61", CPU)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_products_run_in_their_type(dtype: torch.dtype) -> None:
    x = torch.ones(2, 2)
    with products_in(dtype, CPU):
        assert (x @ x).dtype == dtype
