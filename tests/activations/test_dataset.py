from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bcprobe.activations import extract as gathering
from bcprobe.activations.cache import MANIFEST, PIXELS, entry_folder, load_or_make
from bcprobe.activations.dataset import Activations, Source, collect, make_source
from bcprobe.activations.extract import patches
from bcprobe.activations.sites import residual_sites, site_names
from bcprobe.activations.workers import gather_sources
from bcprobe.episodes.record import generate
from bcprobe.episodes.tensors import as_tensors
from bcprobe.errors import InputError
from bcprobe.gui.layouts import TRAINING_LAYOUTS
from bcprobe.model.checkpoint import load_checkpoint, save_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed
from bcprobe.types import Episode

TASK = "colored_dot_tracking"


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return [generate(TASK, split_seed("test", i), max_steps=9 + i) for i in range(3)]


def test_every_site_is_a_hook_of_one_vector_per_token(small_model: ClickTransformer) -> None:
    names = site_names(small_model.config)
    assert set(names) <= set(small_model.hook_dict)
    assert set(residual_sites(small_model.config)) <= set(names)


def test_activations_are_those_of_run_with_cache(
    small_model: ClickTransformer, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "TAPE", 20)  # two episodes on the first tape, one after
    sites = [*residual_sites(small_model.config), "blocks.1.attn.hook_z"]
    found = collect(small_model, episodes, sites)
    start = 0
    for episode in episodes:
        with torch.inference_mode():
            _, cache = small_model.run_with_cache(*as_tensors(episode), names_filter=sites)
        rows = slice(start, start + len(episode))
        for site in sites:
            expected = cache[site][0, small_model.cls_positions(len(episode))].flatten(1)
            assert np.allclose(found.at(site)[rows], expected, atol=2e-3)
        start += len(episode)
    assert len(found) == start == len(found.labels)


def test_gathering_leaves_the_model_as_it_was(
    small_model: ClickTransformer, episodes: list[Episode]
) -> None:
    collect(small_model, episodes[:1])
    assert not any(hook.has_hooks() for hook in small_model.hook_dict.values())


def test_patches_are_mean_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 360, 480, 3), dtype=np.uint8)
    expected = pixels.reshape(2, 9, 40, 12, 40, 3).mean((2, 4)).reshape(2, -1) / 255
    assert np.allclose(patches(pixels), expected, atol=1e-3)


def test_unknown_sites_and_no_episodes_are_told(
    small_model: ClickTransformer, episodes: list[Episode]
) -> None:
    with pytest.raises(InputError, match=r"did you mean 'blocks\.1\.hook_resid_post'"):
        collect(small_model, episodes, ["blocks.1.resid_post"])
    with pytest.raises(InputError, match="no step"):
        collect(small_model, [])


def never(_: Sequence[Source]) -> list[Activations]:
    raise AssertionError("the model ran again")


def test_workers_gather_what_one_process_does(gathered: Activations, checkpoint: Path) -> None:
    episodes = [generate(TASK, split_seed("test", i)) for i in range(6)]
    here = collect(load_checkpoint(checkpoint), episodes)
    assert gathered.hashes["episodes"] == here.hashes["episodes"]
    assert gathered.labels.equals(here.labels)
    assert gathered.pixels is not None
    assert np.array_equal(gathered.pixels, here.pixels)
    for site, values in here.values.items():
        assert np.allclose(gathered.values[site], values, atol=2e-3)
        if site != "blocks.0.hook_resid_pre":
            assert not np.allclose(gathered.untrained[site], values, atol=0.1)


def test_workers_go_from_source_to_source(
    gathered_both: list[Activations], lone_source: Source, checkpoint: Path
) -> None:
    episode = generate(lone_source.task, lone_source.world_seeds[0])
    here = collect(load_checkpoint(checkpoint), [episode])
    assert gathered_both[1].labels.equals(here.labels)
    for site, values in here.values.items():
        assert np.allclose(gathered_both[1].values[site], values, atol=2e-3)


def test_only_what_is_missing_is_made_and_the_order_stays(
    source: Source, lone_source: Source, gathered_both: list[Activations]
) -> None:
    load_or_make([source], lambda _: gathered_both[:1])
    asked: list[Source] = []
    found = load_or_make(
        [lone_source, source], lambda missing: asked.extend(missing) or gathered_both[1:]
    )
    assert asked == [lone_source]
    for part, made in zip(found, reversed(gathered_both), strict=True):
        assert part.hashes == made.hashes


def test_second_run_reads_the_first_ones_activations(source: Source, gathered: Activations) -> None:
    load_or_make([source], lambda _: [gathered])
    (read,) = load_or_make([source], never)
    assert gathered.hashes == read.hashes
    assert gathered.labels.equals(read.labels)
    for site, values in gathered.values.items():
        assert np.array_equal(values, read.values[site])
        assert np.array_equal(gathered.untrained[site], read.untrained[site])
    assert np.array_equal(gathered.pixels, read.pixels)


def test_the_key_names_the_content(source: Source, checkpoint: Path) -> None:
    one = make_source(checkpoint, TASK, 6, sites=["blocks.1.hook_resid_post"])
    assert one.key == source.key
    assert make_source(checkpoint, TASK, 6, seed=1).key != source.key
    assert make_source(checkpoint, TASK, 6, layout=TRAINING_LAYOUTS[-1]).key != source.key
    other = make_source(checkpoint, TASK, 6, sites=["blocks.1.hook_mlp_out"])
    assert other.sites == ("blocks.1.hook_mlp_out",)


def test_a_reader_needs_no_torch(source: Source, gathered: Activations, checkpoint: Path) -> None:
    load_or_make([source], lambda _: [gathered])
    code = (
        "import sys\nfrom bcprobe.probes.one_task import run\n"
        f"found = run('progress', {str(checkpoint)!r}, episodes=6)\n"
        "assert found.steps and not {'torch', 'transformer_lens'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_damaged_checkpoint_is_told_in_one_line(
    small_model: ClickTransformer, tmp_path: Path
) -> None:
    folder = save_checkpoint(small_model, tmp_path / "damaged")
    next(folder.glob("*.safetensors")).write_bytes(b"damaged")
    with pytest.raises(InputError, match="is damaged: its hash"):
        next(gather_sources([make_source(folder, TASK, 1)]))


@pytest.mark.parametrize("damage", ["bytes", "missing", "manifest"])
def test_a_damaged_entry_is_made_again(checkpoint: Path, planted: Activations, damage: str) -> None:
    source = make_source(checkpoint, TASK, 3)
    load_or_make([source], lambda _: [planted])
    folder = entry_folder(source)
    if damage == "bytes":
        content = bytearray((folder / PIXELS).read_bytes())
        content[-1] ^= 1
        (folder / PIXELS).write_bytes(bytes(content))
    elif damage == "missing":
        (folder / PIXELS).unlink()
    else:
        (folder / MANIFEST).write_text("{")
    calls: list[Source] = []
    load_or_make([source], lambda asked: calls.extend(asked) or [planted])
    assert calls == [source]
    assert load_or_make([source], never)[0].labels.equals(planted.labels)


def test_bad_sources_are_told(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="episodes is 0"):
        make_source(checkpoint, TASK, 0)
    with pytest.raises(InputError, match="unknown task"):
        make_source(checkpoint, "dots", 3)
    with pytest.raises(InputError, match="unknown layout"):
        make_source(checkpoint, TASK, 3, layout="orignal")
    with pytest.raises(InputError, match="unknown site"):
        make_source(checkpoint, TASK, 3, sites=["x"])


def test_a_cache_that_cannot_be_written_is_told_before_work(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BCPROBE_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="BCPROBE_CACHE"):
        load_or_make([make_source(checkpoint, TASK, 3)], never)
