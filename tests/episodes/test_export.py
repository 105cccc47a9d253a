"""Episodes for other libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bcprobe.episodes.export import write_card, write_minari
from bcprobe.episodes.record import frames, generate
from bcprobe.episodes.store import write_episodes
from bcprobe.errors import InputError

EPISODES = [generate("colored_dot_tracking", seed) for seed in (0, 1)]


def test_a_folder_with_its_card_opens_as_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    write_episodes(EPISODES, tmp_path / "data")
    assert "| colored_dot_tracking | 2 |" in write_card(EPISODES, tmp_path / "data").read_text()
    found = {
        name: datasets.load_dataset(
            str(tmp_path / "data"), name, split="train", cache_dir=str(tmp_path / "cache")
        )
        for name in ("episodes", "steps")
    }
    assert found["episodes"]["world_seed"][:] == [0, 1]
    assert len(found["steps"]) == sum(map(len, EPISODES))


def test_a_minari_dataset_holds_screens_clicks_and_gains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    short = generate("colored_dot_tracking", 2, max_steps=6)
    write_minari([short], "bcprobe/dots-v0")
    (read,) = minari.load_dataset("bcprobe/dots-v0").iterate_episodes()
    assert np.array_equal(read.observations[:-1], np.stack(list(frames(short))))
    assert [tuple(click) for click in read.actions] == [step.click for step in short.steps]
    assert read.truncations[-1]
    with pytest.raises(InputError, match="already"):
        write_minari([short], "bcprobe/dots-v0")
