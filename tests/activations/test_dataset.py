from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from bcprobe.activations.cache import LABELS, MANIFEST, PIXELS, entry_folder, load_or_make
from bcprobe.activations.dataset import (
    Activations,
    Source,
    as_stored,
    combine,
    make_source,
    name_of,
)
from bcprobe.activations.export import export, read_shards
from bcprobe.activations.extract import collect, patches
from bcprobe.activations.gather import activations, gather_sources, work
from bcprobe.activations.sites import residual_sites, site_names
from bcprobe.episodes import sequences
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.errors import InputError
from bcprobe.gui.layouts import TRAINING_LAYOUTS, button_rect
from bcprobe.model.checkpoint import load_checkpoint, save_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed
from bcprobe.tasks import get_task

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
    monkeypatch.setattr(sequences, "FRAMES", 20)  # two episodes packed first, one after
    sites = [*residual_sites(small_model.config), "blocks.1.attn.hook_z"]
    found = collect(small_model, episodes, sites)
    start = 0
    for episode in episodes:
        with torch.inference_mode():
            _, cache = small_model.run_with_cache(*episode.as_tensors(), names_filter=sites)
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
    here = collect(load_checkpoint(checkpoint), episodes, tokens=("cls", "placed"))
    assert gathered.hashes["episodes"] == here.hashes["episodes"]
    assert gathered.labels.equals(here.labels)
    assert np.array_equal(gathered.pixels, here.pixels)
    assert set(gathered.values) == set(here.values) == set(gathered.untrained[0])
    for name, values in here.values.items():
        assert np.allclose(gathered.values[name], values, atol=2e-3)
        if not name.startswith("blocks.0.hook_resid_pre"):
            assert not np.allclose(gathered.untrained[0][name], values, atol=0.1)
    for name in ("p_undo", "p_done", "entropy", "log_prob"):
        assert np.allclose(gathered.predictions[name], here.predictions[name], atol=2e-3)


def test_the_placed_token_is_the_patch_under_the_last_placement(
    small_model: ClickTransformer, episodes: list[Episode]
) -> None:
    (episode,) = [generate(TASK, split_seed("test", 1))]
    found = collect(small_model, [episode], ["blocks.1.hook_resid_post"], ("cls", "placed"))
    _, cache = small_model.run_with_cache(*episode.as_tensors())
    residual = cache["blocks.1.hook_resid_post"].unflatten(1, (len(episode), -1))[0]
    width, height = small_model.config.patch
    last = None
    for t, step in enumerate(episode.steps):
        row = found.labels.iloc[t]
        assert (row.placed_x, row.placed_y) == (last or (-1, -1))
        if last is not None:
            at = last[1] // height * small_model.config.grid[0] + last[0] // width
            values = found.at("blocks.1.hook_resid_post", "placed")[t]
            assert np.allclose(values, residual[t, at], atol=2e-3)
        if step.action == "place" and step.valid:
            last = tuple(step.click)
    assert last is not None
    x, y, groups = found.arrays("phase", token="placed")
    assert len(x) == len(y) == (found.labels["placed_x"] >= 0).sum()
    assert set(groups) == {0}


def test_what_the_model_says_stands_beside(
    small_model: ClickTransformer, episodes: list[Episode]
) -> None:
    found = collect(small_model, episodes[:1])
    with torch.inference_mode():
        clicks = small_model(*episodes[0].as_tensors())
    undo = button_rect("original", get_task(TASK).buttons, "Undo")
    heat = clicks.heat_map().detach()[0, :, undo.y : undo.y + undo.height]
    heat = heat[..., undo.x : undo.x + undo.width]
    assert np.allclose(found.predictions["p_undo"], heat.sum((1, 2)), atol=1e-4)


def test_worlds_worked_twice_are_one_group(small_model: ClickTransformer) -> None:
    twice = [generate(TASK, 5, annotator_seed=seed, max_steps=6) for seed in (1, 2)]
    other = generate("road_network_construction", 5, max_steps=6)
    labels = collect(small_model, [*twice, other]).labels
    assert labels.groupby("episode")["group"].first().tolist() == [0, 0, 1]


def test_large_activations_keep_float32_and_none_may_be_infinite() -> None:
    large = np.array([[7e4, -1.0]], dtype=np.float32)
    assert as_stored(large, "x").dtype == np.float32
    assert np.array_equal(as_stored(large, "x"), large)
    assert as_stored(large / 2, "x").dtype == np.float16
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(InputError, match=r"'blocks\.0.*not finite"):
            as_stored(np.array([[bad, 0.0]]), "blocks.0.hook_resid_post")


def test_workers_go_from_source_to_source(
    gathered_both: list[Activations], lone_source: Source, checkpoint: Path
) -> None:
    episode = generate(lone_source.task, lone_source.world_seeds[0])
    here = collect(load_checkpoint(checkpoint), [episode], tokens=("cls", "placed"))
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
        assert np.array_equal(gathered.untrained[0][site], read.untrained[0][site])
    assert np.array_equal(gathered.pixels, read.pixels)


def test_the_key_names_the_content(source: Source, checkpoint: Path) -> None:
    one = make_source(checkpoint, TASK, 6, sites=["blocks.1.hook_resid_post"])
    assert one.key == source.key
    assert make_source(checkpoint, TASK, 6, seed=1).key != source.key
    assert make_source(checkpoint, TASK, 6, layout=TRAINING_LAYOUTS[-1]).key != source.key
    crossed = make_source(checkpoint, TASK, 6, manner="two_by_two")
    assert crossed.key != source.key
    assert ("manner" in crossed.as_dict(), "manner" in source.as_dict()) == (True, False)
    other = make_source(checkpoint, TASK, 6, sites=["blocks.1.hook_mlp_out"])
    assert other.sites == ("blocks.1.hook_mlp_out",)


def test_a_reader_needs_no_torch(source: Source, gathered: Activations, checkpoint: Path) -> None:
    load_or_make([source], lambda _: [gathered])
    code = (
        "import sys\nfrom bcprobe.probes.protocol import run\n"
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
def cut(folder: Path, entry: str) -> None:
    """A manifest that leaves one of its own out."""
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"][entry]
    (folder / MANIFEST).write_text(json.dumps(manifest))


def lead_outside(folder: Path) -> None:
    """A manifest that names a file elsewhere."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["../../secret.npy"] = "0"
    (folder / MANIFEST).write_text(json.dumps(manifest))


def flip(folder: Path) -> None:
    content = bytearray((folder / PIXELS).read_bytes())
    content[-1] ^= 1
    (folder / PIXELS).write_bytes(bytes(content))


DAMAGES = {
    "bytes": flip,
    "missing": lambda folder: (folder / PIXELS).unlink(),
    "half a manifest": lambda folder: (folder / MANIFEST).write_text("{"),
    "empty manifest": lambda folder: (folder / MANIFEST).write_text(""),
    "list": lambda folder: (folder / MANIFEST).write_text("[]"),
    "other keys": lambda folder: (folder / MANIFEST).write_text('{"a": 1}'),
    "file left out": lambda folder: cut(folder, LABELS),
    "file elsewhere": lead_outside,
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_entry_is_made_again(source: Source, gathered: Activations, damage: str) -> None:
    load_or_make([source], lambda _: [gathered])
    DAMAGES[damage](entry_folder(source))
    calls: list[Source] = []
    load_or_make([source], lambda asked: calls.extend(asked) or [gathered])
    assert calls == [source]
    assert load_or_make([source], never)[0].labels.equals(gathered.labels)


def test_bad_sources_are_told(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="episodes is 0"):
        make_source(checkpoint, TASK, 0)
    with pytest.raises(InputError, match="unknown task"):
        make_source(checkpoint, "dots", 3)
    with pytest.raises(InputError, match="unknown layout"):
        make_source(checkpoint, TASK, 3, layout="orignal")
    with pytest.raises(InputError, match="unknown site"):
        make_source(checkpoint, TASK, 3, sites=["x"])
    with pytest.raises(InputError, match=r"unknown manner 'two_by_to'.*two_by_two"):
        make_source(checkpoint, TASK, 3, manner="two_by_to")


def test_a_cache_that_cannot_be_written_is_done_without(
    source: Source,
    gathered: Activations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BCPROBE_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert load_or_make([source], lambda _: [gathered]) == [gathered]
    assert capsys.readouterr().err.count("working without the cache") == 1


def test_activations_by_short_names(gathered: Activations) -> None:
    x, y, groups = gathered.arrays("mistake", site="resid_post", layer=-1)
    last = gathered.sites[-1]
    question = gathered.ask("mistake")
    assert np.array_equal(x, gathered.at(last)[question.rows].astype(np.float32))
    assert x.dtype == np.float32
    assert y.dtype == bool
    assert len(set(groups)) <= 6
    with pytest.raises(InputError, match="layer 7 is not one of the model's 2"):
        gathered.arrays("mistake", layer=7)
    with pytest.raises(InputError, match="did you mean 'resid_post'"):
        gathered.arrays("mistake", site="resid_pots")
    assert len(repr(gathered)) < 160
    assert "colored_dot_tracking" in gathered._repr_html_()


def test_parts_of_a_whole_are_the_parts(gathered_both: list[Activations]) -> None:
    together = combine(gathered_both)
    assert together.tasks == (TASK, "3d_exploration_classification")
    for task, part in zip(together.tasks, gathered_both, strict=True):
        again = together.parts()[task]
        assert np.array_equal(again.at(again.sites[0]), part.at(part.sites[0]))
        assert again.predictions.equals(part.predictions)
    assert together.labels["group"].nunique() == 7


def test_a_model_in_memory_is_gathered_as_its_checkpoint(
    checkpoint: Path, gathered: Activations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bcprobe.parallel.cores", lambda: 1)
    model = load_checkpoint(checkpoint)
    plain = {"tasks": TASK, "episodes": 1, "progress": False}
    found = activations(model, **plain)
    assert np.array_equal(found.values[found.sites[1]][:5], gathered.values[found.sites[1]][:5])
    with torch.no_grad():
        model.blocks[0].mlp.out.bias += 1
    moved = activations(model, **plain)
    assert not np.allclose(moved.at(found.sites[1]), found.at(found.sites[1]), atol=0.1)
    assert model.device.type == "cpu"


def test_shards_are_read_by_datasets_and_an_export_goes_on(
    source: Source, gathered: Activations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("bcprobe.parallel.cores", lambda: 1)
    monkeypatch.setattr("bcprobe.activations.gather.JOB", 2)
    out = export([source], tmp_path / "out", progress=False)
    shards = sorted(out.glob("*.parquet"))
    assert len(shards) == 3
    table = datasets.Dataset.from_parquet([str(path) for path in shards], cache_dir=str(tmp_path))
    assert len(table) == len(gathered)
    site = gathered.sites[-1]
    found = np.array(table[name_of(site, "placed")], dtype=np.float32)
    assert np.allclose(found, gathered.at(site, "placed"), atol=2e-3)
    assert table["mistake"][:] == gathered.labels["mistake"].tolist()
    before = shards[0].read_bytes()
    shards[1].unlink()
    monkeypatch.setattr("bcprobe.activations.export.work", lambda job: work_once(job, calls))
    calls: list[object] = []
    export([source], out, progress=False)
    assert len(calls) == 1
    assert shards[0].read_bytes() == before
    assert len(list(read_shards(out))) == 3


def work_once(job: object, calls: list[object]) -> object:
    calls.append(job)
    return work(job)


def test_what_is_not_an_exports_own_is_not_touched(gathered: Activations, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError):
            gathered.save(tmp_path, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    out = gathered.save(tmp_path / "out", "safetensors")
    with pytest.raises(InputError, match="not empty"):
        gathered.save(out)
    gathered.save(out, "safetensors", force=True)
    tensors = load_file(out / "shard-00000.safetensors")
    assert np.array_equal(tensors[gathered.sites[0]], gathered.at(gathered.sites[0]))
    assert len(pd.read_parquet(out / "labels-00000.parquet")) == len(gathered)
