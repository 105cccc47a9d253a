from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bcprobe.errors import InputError
from bcprobe.experiments import get_experiment
from bcprobe.model.checkpoint import load_checkpoint, save_checkpoint
from bcprobe.model.registry import (
    checkpoint_hash,
    find_checkpoint,
    list_checkpoints,
    list_steps,
    read_card,
    total_frames,
    trained_tasks,
)
from bcprobe.model.transformer import ClickTransformer

MakeModel = Callable[..., ClickTransformer]


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of named checkpoints."""
    monkeypatch.setenv("BCPROBE_CHECKPOINTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def saved(model: ClickTransformer, shelf: Path) -> Path:
    return save_checkpoint(model, shelf / "dots", frames=512)


def state(model: ClickTransformer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def weights_of(folder: Path) -> Path:
    return next(iter(folder.glob("model-*.safetensors")))


def edit_card(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    card = read_card(folder)
    change(card)
    (folder / "config.json").write_text(json.dumps(card))


def replace_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Change the tensors and sign the file anew, so that only its content is wrong."""
    path = weights_of(folder)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    sign(folder, path)


def sign(folder: Path, path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_card(folder, lambda card: card["weights"].update({path.name: digest}))


def refusal(name: Path | str) -> str:
    """The one line in which loading fails."""
    with pytest.raises(InputError) as caught:
        load_checkpoint(name)
    line = str(caught.value)
    assert line
    assert "\n" not in line
    return line


# There and back


@pytest.mark.parametrize("head", ["pointer", "independent"])
def test_float32_comes_back_bit_by_bit(make_model: MakeModel, shelf: Path, head: str) -> None:
    model = make_model(head=head, n_registers=2)
    save_checkpoint(model, shelf / "dots", dtype=torch.float32, seed=3, note=["a", None])
    again = load_checkpoint("dots")
    assert again.config == model.config
    assert same(state(again), state(model))
    assert again.metadata == {"seed": 3, "note": ["a", None]}
    assert again.folder == shelf / "dots"
    assert not again.training


def test_bfloat16_comes_back_as_the_rounded_values(model: ClickTransformer, saved: Path) -> None:
    rounded = {name: tensor.bfloat16().float() for name, tensor in state(model).items()}
    assert same(state(load_checkpoint(saved)), rounded)


def test_shards_stay_under_16_mb(make_model: MakeModel, shelf: Path) -> None:
    model = make_model(d_model=512, n_layers=4, n_heads=4, stem=((40, 30, 16), (2, 3, 512)))
    folder = save_checkpoint(model, shelf / "wide")
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    assert len(sizes) > 1
    assert max(sizes) < 16_000_000
    assert same(state(load_checkpoint("wide")), state(load_checkpoint(folder)))


def test_saving_again_leaves_no_old_files(
    make_model: MakeModel, model: ClickTransformer, shelf: Path
) -> None:
    save_checkpoint(make_model(head="independent"), shelf / "dots")
    save_checkpoint(model, shelf / "dots", dtype=torch.float32)
    assert len(list((shelf / "dots").iterdir())) == 2
    assert same(state(load_checkpoint("dots")), state(model))


def test_the_hash_names_shape_and_weights(model: ClickTransformer, shelf: Path) -> None:
    first = checkpoint_hash(save_checkpoint(model, shelf / "one", frames=1))
    assert checkpoint_hash(save_checkpoint(model, shelf / "two", frames=2)) == first
    model.ln_final.b[0] += 1
    assert checkpoint_hash(save_checkpoint(model, shelf / "one", frames=1)) != first


# Damage


def test_a_flipped_byte_is_noticed(saved: Path) -> None:
    path = weights_of(saved)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "is damaged: its hash is not the one in config.json" in refusal(saved)


def test_a_truncated_file_is_noticed(saved: Path) -> None:
    path = weights_of(saved)
    path.write_bytes(path.read_bytes()[:-100])
    assert "is damaged" in refusal(saved)
    sign(saved, path)
    assert "cannot read weights" in refusal(saved)


def test_a_missing_file_is_noticed(saved: Path) -> None:
    weights_of(saved).unlink()
    assert "cannot read weights" in refusal(saved)


def test_a_foreign_file_is_noticed(saved: Path) -> None:
    path = weights_of(saved)
    save_file({"lm_head.weight": torch.zeros(3)}, path)
    sign(saved, path)
    assert "lacks the tensor 'encoder.extra'" in refusal(saved)


def test_a_missing_tensor_is_noticed(saved: Path) -> None:
    replace_weights(saved, lambda tensors: tensors.pop("ln_final.w"))
    assert "lacks the tensor 'ln_final.w'" in refusal(saved)


def test_a_tensor_too_many_is_noticed(saved: Path) -> None:
    replace_weights(saved, lambda tensors: tensors.update(extra=torch.zeros(1)))
    assert "has a tensor too many: 'extra'" in refusal(saved)


def test_a_wrong_shape_is_noticed(saved: Path) -> None:
    replace_weights(saved, lambda tensors: tensors.update({"ln_final.w": torch.ones(31)}))
    assert "'ln_final.w' has shape [31], the config asks for [32]" in refusal(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(schema_version=9), "schema 9, newer than 1; update bcprobe"),
        (lambda card: card["model"].update(schema_version=9), "schema 9, newer than 1"),
        (lambda card: card["model"].update(depth=9), "unknown field 'depth'"),
        (lambda card: card["model"].update(head="point"), "did you mean 'pointer'"),
        (lambda card: card["model"].update(n_layers="two"), "model config"),
        (lambda card: card.pop("weights"), "is no checkpoint config"),
        (lambda card: card.update(weights=[1]), "is no checkpoint config"),
        (lambda card: card.update(model=[1]), "is no checkpoint config"),
    ],
)
def test_a_wrong_card_is_noticed(
    saved: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    edit_card(saved, change)
    assert message in refusal(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"dots"', "\xff"])
def test_a_card_that_is_none_is_noticed(saved: Path, text: str) -> None:
    (saved / "config.json").write_bytes(text.encode("latin-1"))
    assert "is no checkpoint config" in refusal(saved)


# A disk that fills up


@pytest.mark.parametrize("method", ["write_bytes", "write_text"])
def test_a_full_disk_leaves_the_old_checkpoint(
    make_model: MakeModel, saved: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    before = state(load_checkpoint(saved))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, method, full)
    with pytest.raises(InputError, match=r"cannot write '.*': No space left on device"):
        save_checkpoint(make_model(n_layers=1), saved)
    monkeypatch.undo()
    assert same(state(load_checkpoint(saved)), before)
    assert not list(saved.glob(".*"))


# Names


def test_an_unknown_name_is_told_with_the_nearest(saved: Path) -> None:
    line = refusal("dot")
    assert line.startswith("unknown checkpoint 'dot'; did you mean 'dots'? (searched: ")
    assert f"'{saved.parent}'" in line


def test_a_folder_without_a_checkpoint_is_told(shelf: Path) -> None:
    (shelf / "empty").mkdir()
    assert "holds no checkpoint: it has no config.json" in refusal(shelf / "empty")


def test_saved_steps_are_found_and_listed(
    model: ClickTransformer, make_model: MakeModel, saved: Path
) -> None:
    for frames, step in ((1024, make_model(n_layers=1)), (64, model)):
        save_checkpoint(step, saved / "steps" / str(frames), frames=frames)
    assert list_steps(saved) == [64, 512, 1024]
    assert load_checkpoint("dots@1024").config.n_layers == 1
    assert load_checkpoint(f"{saved}@64").metadata == {"frames": 64}
    line = refusal("dots@65")
    assert "checkpoint 'dots' has no saved step '65'" in line
    assert line.endswith(": 64, 512, 1024")


def test_a_checkpoint_without_steps_is_its_own_only_step(saved: Path) -> None:
    assert refusal("dots@65").endswith(": 512")


def test_listing_needs_no_torch(saved: Path, shelf: Path) -> None:
    (shelf / "notes").mkdir()
    code = (
        "import sys; from bcprobe.model.registry import list_checkpoints\n"
        "print('dots' in list_checkpoints(), 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True False"
    assert "notes" not in list_checkpoints()


def test_shipped_checkpoints_are_found_from_any_folder(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shelf / "checkpoints").mkdir()
    monkeypatch.chdir(shelf)
    assert (find_checkpoint("nine-nano-longer") / "config.json").is_file()
    assert "nine-nano-longer" in list_checkpoints()


def test_an_existing_folder_wins_over_a_name_a_step_and_the_hub(
    model: ClickTransformer, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shelf)
    for name in ("nine-nano-longer", "mine@64", "owner/name"):
        folder = save_checkpoint(model, Path("here") / name)
        monkeypatch.chdir(shelf / "here")
        assert find_checkpoint(name).resolve() == (shelf / folder).resolve()
        monkeypatch.chdir(shelf)


def test_every_saved_step_of_the_shipped_series_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BCPROBE_CHECKPOINTS")
    steps = list_steps(find_checkpoint("nine-small"))
    assert steps == [131072, 262144, 524288, 1048576, 2097152, 5143552]
    assert load_checkpoint("nine-small@131072").metadata["frames"] == 131072
    experiment = get_experiment("nine-small")
    known = read_card(find_checkpoint("nine-small"))["metadata"]["experiment"]
    now = json.loads(json.dumps(asdict(experiment)))
    now = {name: now[name] for name in known}
    now["data"] = {name: now["data"][name] for name in known["data"]}  # settings came after it
    assert now == known


def test_a_loaded_model_is_frozen_until_asked(saved: Path) -> None:
    model = load_checkpoint(saved)
    assert not any(weight.requires_grad for weight in model.parameters())
    assert all(weight.requires_grad for weight in model.requires_grad_().parameters())


def test_the_last_step_of_a_series_is_the_checkpoint_itself(
    model: ClickTransformer, tmp_path: Path
) -> None:
    save_checkpoint(model, tmp_path / "series" / "steps" / "64", frames=64)
    save_checkpoint(model, tmp_path / "series", frames=128)
    assert list_steps(tmp_path / "series") == [64, 128]
    assert find_checkpoint(f"{tmp_path / 'series'}@128") == tmp_path / "series"
    assert find_checkpoint(f"{tmp_path / 'series'}@64").name == "64"
    with pytest.raises(InputError, match="no saved step '32'; saved steps: 64, 128"):
        find_checkpoint(f"{tmp_path / 'series'}@32")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../x.safetensors", "..\\x.safetensors", "a/b.safetensors", "", "x"]
)
def test_no_name_leads_out_of_a_checkpoints_folder(saved: Path, name: str) -> None:
    edit_card(saved, lambda card: card.update(weights={name: "0" * 64}))
    with pytest.raises(InputError, match="no name of a weights file") as error:
        load_checkpoint(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(saved: Path, value: float) -> None:
    model = load_checkpoint(saved)
    model.blocks[0].ln1.w[3] = value
    folder = save_checkpoint(model, saved.parent / "bad")
    with pytest.raises(InputError, match=r"'blocks\.0\.ln1\.w' holds nan or infinite"):
        load_checkpoint(folder)


def test_a_model_that_does_not_fit_is_told_before_it_is_made(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bcprobe.model.checkpoint.free_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"needs .* GB and there are 0\.0 GB free"):
        load_checkpoint(saved)


@pytest.mark.parametrize("metadata", [None, [], "text", {"experiment": None}, {"frames": "many"}])
def test_metadata_that_says_nothing_is_no_hindrance(saved: Path, metadata: object) -> None:
    edit_card(saved, lambda card: card.update(metadata=metadata))
    assert load_checkpoint(saved)._repr_html_()
    assert trained_tasks(saved) == ()
    assert total_frames(saved) is None


def test_a_hash_of_a_checkpoint_is_that_of_its_files(saved: Path) -> None:
    before = checkpoint_hash(saved)
    weights = next(saved.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(InputError, match="is damaged"):
        checkpoint_hash(saved)
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert checkpoint_hash(saved) == before


def test_a_folder_that_is_not_there_is_told_before_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def silent(name: str, **options: object) -> str:
        raise OSError(f"nobody answers for {name}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", silent)
    with pytest.raises(InputError, match=r"no folder 'runs/mine', and the hub .*: nobody answers"):
        load_checkpoint("runs/mine")
    for name in ("./runs/mine", "runs/a/mine", str(tmp_path / "mine")):
        with pytest.raises(InputError, match=f"^no checkpoint: there is no folder '{name}'$"):
            load_checkpoint(name)
