from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bcprobe.errors import InputError
from bcprobe.experiments import get_experiment
from bcprobe.training.logs import Follower, NoLog, check_log, open_log
from bcprobe.training.loop import train
from bcprobe.training.run import Table


class Heard(NoLog):
    """Remembers what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, float], int]] = []

    def write(self, values: dict[str, float], frames: int) -> None:
        self.sent.append((values, frames))


def test_every_row_is_sent_once_and_nan_never() -> None:
    table, heard = Table(("frames", "loss", "nll_undo")), Heard()
    table.append({"frames": 8, "loss": 9.0})
    follower = Follower(heard, {"train": table})
    for frames in (16, 32):
        table.append({"frames": frames, "loss": 1.0})
        follower.look()
        follower.look()
    assert heard.sent == [
        ({"train/frames": 16.0, "train/loss": 1.0}, 16),
        ({"train/frames": 32.0, "train/loss": 1.0}, 32),
    ]


def test_an_unknown_log_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown log 'wand'; did you mean 'wandb'"):
        check_log("wand")


@pytest.mark.parametrize(
    ("kind", "module"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")]
)
def test_a_missing_package_is_one_line(
    kind: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f"log '{kind}' needs the package {kind}"):
        check_log(kind)


def test_numbers_reach_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    board = SimpleNamespace(
        add_scalar=lambda *args: calls.append(args), close=lambda: calls.append("closed")
    )
    run = SimpleNamespace(log=calls.append, finish=lambda: calls.append("finished"))
    fakes = {
        "torch.utils.tensorboard": SimpleNamespace(SummaryWriter=lambda folder: board),
        "wandb": SimpleNamespace(Error=OSError, login=lambda: True, init=lambda **options: run),
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    for kind in ("tensorboard", "wandb"):
        log = open_log(kind, tmp_path, "dots")
        log.write({"train/loss": 2.0}, 64)
        log.close()
    assert calls == [
        ("train/loss", 2.0, 64), "closed", {"train/loss": 2.0, "frames": 64}, "finished",
    ]  # fmt: skip


@pytest.mark.parametrize("refused", ["login", "init"])
def test_a_tracker_that_lets_nobody_in_is_one_line_and_leaves_nothing(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RefusedError(Exception):
        pass

    def refuse(**options: Any) -> None:
        raise RefusedError("No API key.\nA second line.")

    fake = SimpleNamespace(Error=RefusedError, login=lambda: True, init=lambda **options: None)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr(fake, refused, refuse)
    run = tmp_path / "run"
    with pytest.raises(InputError, match=r"^log 'wandb': No API key; without an account: [^\n]*$"):
        train(get_experiment("dots-nano"), run, log="wandb", progress=False)
    assert not run.exists()
