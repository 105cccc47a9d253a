from __future__ import annotations

import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.training import precision
from bcprobe.training.precision import pick_precision, products_in

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
