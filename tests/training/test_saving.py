from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bcprobe.errors import InputError
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.training.batch import Batch
from bcprobe.training.config import Experiment
from bcprobe.training.loop import train
from bcprobe.training.run import Run
from bcprobe.training.saving import STATE_FILE, SavedState, claim_folder, load_state, save_state
from bcprobe.training.stream import Position


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: to the writer, a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def state(value: float) -> SavedState:
    return SavedState({"model.w": torch.full((1000,), value)}, {"step": int(value)})


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    save_state(tmp_path, state(3))
    saved = load_state(tmp_path)
    assert saved is not None
    assert saved.values == {"step": 3}
    assert torch.equal(saved.part("model")["w"], torch.full((1000,), 3.0))


def test_a_full_disk_leaves_the_state_before(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    with files_at_most(1000), pytest.raises(InputError, match=r"cannot write .*state"):
        save_state(tmp_path, state(2))
    saved = load_state(tmp_path)
    assert saved is not None
    assert saved.values == {"step": 1}
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["state.safetensors"]


def test_a_disk_that_fills_while_training_leaves_a_run_to_go_on_with(
    tmp_path: Path, quick: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Run.learn

    def learning(self: Run, batch: Batch, after: Position, waited: float) -> None:
        learn(self, batch, after, waited)
        if self.step == 8:
            limited.enter_context(files_at_most(1000))

    options = {"threads": 1, "progress": False, "device": "cpu", "save_seconds": 0.0}
    monkeypatch.setattr(Run, "learn", learning)
    with ExitStack() as limited, pytest.raises(InputError, match="cannot write"):
        train(quick, tmp_path, **options)  # type: ignore[arg-type]
    assert load_checkpoint(f"{tmp_path}@0").metadata["frames"] == 0
    saved = load_state(tmp_path)
    assert saved is not None
    assert saved.values["step"] == 7
    monkeypatch.undo()
    train(quick, tmp_path, resume=True, **options)  # type: ignore[arg-type]
    assert load_checkpoint(tmp_path).metadata["frames"] == quick.frames


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    (tmp_path / STATE_FILE).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot resume from"):
        load_state(tmp_path)


def test_another_experiments_folder_is_refused_and_left_alone(
    tmp_path: Path, quick: Experiment
) -> None:
    claim_folder(tmp_path / "run", quick, resume=False)
    before = (tmp_path / "run" / "experiment.json").read_bytes()
    with pytest.raises(InputError, match=r"holds another run: lr is 0\.001 there, 0\.5 here"):
        claim_folder(tmp_path / "run", replace(quick, lr=0.5), resume=True)
    assert (tmp_path / "run" / "experiment.json").read_bytes() == before


def test_a_run_is_not_begun_again_over_itself(tmp_path: Path, quick: Experiment) -> None:
    claim_folder(tmp_path, quick, resume=False)
    claim_folder(tmp_path, quick, resume=False)
    save_state(tmp_path, state(1))
    with pytest.raises(InputError, match="resume it"):
        claim_folder(tmp_path, quick, resume=False)
    claim_folder(tmp_path, quick, resume=True)


def test_folders_that_cannot_be_had_are_refused(tmp_path: Path, quick: Experiment) -> None:
    with pytest.raises(InputError, match="nothing to resume"):
        claim_folder(tmp_path / "new", quick, resume=True)
    assert not (tmp_path / "new").exists()
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds no run"):
        claim_folder(tmp_path, quick, resume=False)
    with pytest.raises(InputError, match="cannot write"):
        claim_folder(tmp_path / "thesis.tex" / "run", quick, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_flipped_byte_in_the_state_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    content = bytearray((tmp_path / STATE_FILE).read_bytes())
    content[-100] ^= 1
    (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(InputError, match=r"cannot resume from .*: its hash is wrong"):
        load_state(tmp_path)


def test_every_flipped_bit_of_the_state_is_noticed(tmp_path: Path) -> None:
    values = {"step": 3, "frames": 48, "position": [1, 2], "seconds": 1.5, "threads": 1}
    tensors = {"model.w": torch.arange(4.0), "table.training": torch.ones(1, 2)}
    save_state(tmp_path, SavedState(tensors, values))
    content = (tmp_path / STATE_FILE).read_bytes()
    for place in range(8, len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 7
        (tmp_path / STATE_FILE).write_bytes(flipped)
        try:
            found = load_state(tmp_path)
        except InputError:
            continue
        assert found is not None  # white space between the parts of the header
        assert found.values == values
        assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)


def test_a_state_without_its_hash_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    content = (tmp_path / STATE_FILE).read_bytes()
    (tmp_path / STATE_FILE).write_bytes(content.replace(b'"hash"', b'"hasj"'))
    with pytest.raises(InputError, match=r"cannot resume from .*: it lacks 'hash'"):
        load_state(tmp_path)
