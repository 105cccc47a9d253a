"""Episodes survive the disk exactly, and bad files are told in one line."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from bcprobe.episodes.episode import Episode, Step
from bcprobe.episodes.store import (
    EPISODES_FILE,
    STEPS_FILE,
    episodes_hash,
    read_episodes,
    write_episodes,
)
from bcprobe.errors import InputError
from bcprobe.types import Click, Latents, Outcome


def make_step(x: int, action: str = "place", **latents: float) -> Step:
    known = Latents(x % 16, 16, x / 480, mistake=action == "undo", mistake_kind="", **latents)
    return Step(Click(x, 359 - x // 2), "canvas", action, True, "annotate", known)


def make_episode(seed: int = 3, steps: int = 5, **changes: Any) -> Episode:
    made = Episode(
        task="colored_dot_tracking",
        layout="original",
        difficulty="default",
        world_seed=(2 << 40) + seed,
        annotator_seed=seed,
        persona={"error_rate": 0.1, "jitter": 1 / 3},
        origin="annotator",
        steps=tuple(make_step(7 * i, "undo" if i == 2 else "place") for i in range(steps)),
        outcome=Outcome(2 / 3, False, True, {"markers": 15.0, "matched": 10.0}),
        frame_hash="ab" * 32,
    )
    return replace(made, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_episodes([make_episode(0), make_episode(1, 0), make_episode(2, 9)], tmp_path)


def edit(path: Path, table: pa.Table | None = None, **metadata: str) -> None:
    """Write a table back under its old metadata, some of it changed."""
    table = pq.read_table(path) if table is None else table
    old = pq.read_schema(path).metadata
    new = {f"bcprobe.{key}".encode(): value.encode() for key, value in metadata.items()}
    pq.write_table(table.replace_schema_metadata({**old, **new}), path)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    turned = make_episode(1, steps=0, persona={}, origin="person")
    turned = replace(turned, steps=(make_step(479, azimuth=-30.0, elevation=60.0),))
    episodes = [make_episode(0), turned, make_episode(2, steps=0)]
    assert read_episodes(write_episodes(episodes, tmp_path)) == episodes


def test_no_episodes_round_trip(tmp_path: Path) -> None:
    assert read_episodes(write_episodes([], tmp_path)) == []


def test_writing_again_replaces_and_keeps_other_files(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    write_episodes([make_episode(8)], folder)
    assert [episode.annotator_seed for episode in read_episodes(folder)] == [8]
    assert (folder / "notes.txt").read_text() == "mine"


def test_failed_write_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_episodes(folder)
    real = pq.write_table

    def disk_fills(table: pa.Table, path: Path, **options: object) -> None:
        if STEPS_FILE in path.name:
            raise OSError(28, "No space left on device")
        real(table, path, **options)

    monkeypatch.setattr(pq, "write_table", disk_fills)
    with pytest.raises(InputError, match="No space left"):
        write_episodes([make_episode(8)], folder)
    assert read_episodes(folder) == before
    assert sorted(path.name for path in folder.iterdir()) == [EPISODES_FILE, STEPS_FILE]


def test_columns_are_typed_for_pandas(folder: Path) -> None:
    steps = pd.read_parquet(folder / STEPS_FILE)
    assert steps[["x", "y"]].dtypes.astype(str).tolist() == ["int16", "int16"]
    assert steps["mistake"].dtype == bool
    assert steps["progress"].dtype == float
    assert steps.groupby("episode").size().to_dict() == {0: 5, 2: 9}
    assert (steps["undo_next"] == (steps["action"] == "undo")).all()
    assert pd.read_parquet(folder / EPISODES_FILE)["length"].tolist() == [5, 0, 9]


def test_datasets_loads_both_tables(folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = {"train": [str(folder / STEPS_FILE)]}
    options = {"cache_dir": str(tmp_path / "cache"), "split": "train"}
    steps = datasets.load_dataset("parquet", data_files=files, **options)
    assert len(steps) == 14
    assert steps.features["x"].dtype == "int16"
    heads = str(folder / EPISODES_FILE)
    assert datasets.load_dataset("parquet", data_files=heads, **options)[1]["length"] == 0


def test_hash_names_seeds_and_clicks_and_order() -> None:
    one, two = make_episode(0), make_episode(1)
    assert episodes_hash([one, two]) == episodes_hash([make_episode(0), make_episode(1)])
    changed = [
        [two, one],
        [one],
        [replace(one, world_seed=9), two],
        [replace(one, layout="light"), two],
        [replace(one, steps=(make_step(1), *one.steps[1:])), two],
    ]
    assert len({episodes_hash(episodes) for episodes in [*changed, [one, two]]}) == 6


def test_hash_is_the_same_everywhere() -> None:
    assert episodes_hash([make_episode(0)]).startswith("9212e4680075954b")


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no episodes at") as error:
        read_episodes(tmp_path / "nowhere")
    assert "nowhere" in one_line(error)


@pytest.mark.parametrize("name", [EPISODES_FILE, STEPS_FILE])
def test_missing_table(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=name) as error:
        read_episodes(folder)
    one_line(error)


@pytest.mark.parametrize("name", [EPISODES_FILE, STEPS_FILE])
def test_truncated_table(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        (folder / name).write_bytes(whole[:size])
        with pytest.raises(InputError, match="cannot read") as error:
            read_episodes(folder)
        one_line(error)


def test_damaged_pages(folder: Path) -> None:
    path = folder / STEPS_FILE
    whole = bytearray(path.read_bytes())
    whole[4:400] = bytes(396)
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match="cannot read") as error:
        read_episodes(folder)
    one_line(error)


def test_foreign_table(folder: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(folder / STEPS_FILE)
    with pytest.raises(InputError, match="lacks column 'episode'") as error:
        read_episodes(folder)
    one_line(error)


def test_tables_of_each_other(folder: Path) -> None:
    (folder / STEPS_FILE).write_bytes((folder / EPISODES_FILE).read_bytes())
    with pytest.raises(InputError, match="lacks column 'step'"):
        read_episodes(folder)


def test_newer_schema(folder: Path) -> None:
    edit(folder / STEPS_FILE, schema_version="99")
    with pytest.raises(InputError, match=r"schema version 99.*upgrade") as error:
        read_episodes(folder)
    one_line(error)


@pytest.mark.parametrize("column", ["x", "phase", "mistake_kind"])
def test_missing_column(folder: Path, column: str) -> None:
    path = folder / STEPS_FILE
    edit(path, pq.read_table(path).drop_columns([column]))
    with pytest.raises(InputError, match=f"lacks column '{column}'") as error:
        read_episodes(folder)
    one_line(error)


def test_column_of_another_type(folder: Path) -> None:
    path = folder / STEPS_FILE
    table = pq.read_table(path)
    place = table.column_names.index("x")
    edit(path, table.set_column(place, "x", pa.array(["left"] * len(table))))
    with pytest.raises(InputError, match="column 'x' is string") as error:
        read_episodes(folder)
    one_line(error)


def test_empty_cells(folder: Path) -> None:
    path = folder / STEPS_FILE
    table = pq.read_table(path)
    place = table.column_names.index("x")
    edit(path, table.set_column(place, "x", pa.nulls(len(table), pa.int16())))
    with pytest.raises(InputError, match="empty cells in column 'x'"):
        read_episodes(folder)


def test_tables_of_different_episodes(folder: Path, tmp_path: Path) -> None:
    other = write_episodes([make_episode(5, 14)], tmp_path / "other")
    (folder / STEPS_FILE).write_bytes((other / STEPS_FILE).read_bytes())
    with pytest.raises(InputError, match="14 steps of episode 0, which has 5"):
        read_episodes(folder)


def test_a_persons_times_and_device_are_kept(tmp_path: Path) -> None:
    worked = make_episode(4, origin="person", recording={"viewport": [390, 844], "name": "Ø <b>"})
    steps = tuple(replace(step, time_ms=1289.5 * i) for i, step in enumerate(worked.steps))
    mixed = [replace(worked, steps=steps), make_episode(5)]
    assert read_episodes(write_episodes(mixed, tmp_path)) == mixed
    assert pq.read_table(tmp_path / STEPS_FILE)["time_ms"].null_count == len(mixed[1])


def test_tables_from_before_times_still_read(folder: Path) -> None:
    for name, column in ((EPISODES_FILE, "recording"), (STEPS_FILE, "time_ms")):
        edit(folder / name, pq.read_table(folder / name).drop_columns([column]))
    assert [step.time_ms for one in read_episodes(folder) for step in one.steps] == [None] * 14


def through_pandas(path: Path) -> None:
    """As a user's notebook leaves it: other order of columns, categories, an index, no metadata."""
    table = pd.read_parquet(path)
    table = table[sorted(table.columns, reverse=True)]
    texts = [name for name in table.columns if table[name].map(type).eq(str).all()]
    table = table.astype(dict.fromkeys(texts, "category")).astype({"episode": "int64"})
    table.index = range(5, 5 + len(table))
    pq.write_table(pa.Table.from_pandas(table).replace_schema_metadata({}), path)


def test_tables_that_passed_through_pandas_are_read(folder: Path) -> None:
    before = read_episodes(folder)
    for name in (EPISODES_FILE, STEPS_FILE):
        through_pandas(folder / name)
    assert read_episodes(folder) == before


def test_steps_are_joined_by_their_keys_and_not_by_their_place(folder: Path) -> None:
    before = read_episodes(folder)
    path = folder / STEPS_FILE
    table = pq.read_table(path)
    edit(path, table.take(np.random.default_rng(0).permutation(len(table))))
    assert read_episodes(folder) == before


def test_some_of_the_episodes_are_read_too(folder: Path) -> None:
    before = read_episodes(folder)
    for name in (EPISODES_FILE, STEPS_FILE):
        table = pq.read_table(folder / name)
        edit(folder / name, table.filter(pa.compute.not_equal(table["episode"], 1)))
    assert read_episodes(folder) == [before[0], before[2]]


def change(folder: Path, name: str, column: str, row: int, value: object) -> None:
    path = folder / name
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[row] = value
    place = table.column_names.index(column)
    array = pa.array(values, table.schema.field(column).type)
    edit(path, table.set_column(place, column, array))


@pytest.mark.parametrize(
    ("name", "column", "value", "words"),
    [
        (STEPS_FILE, "x", 480, "off the screen"),
        (STEPS_FILE, "y", -1, "off the screen"),
        (STEPS_FILE, "x", 8, "hash differs"),
        (STEPS_FILE, "mistake", True, "hash differs"),
        (STEPS_FILE, "action", "plce", "did you mean 'place'"),
        (STEPS_FILE, "phase", "think", "unknown phase"),
        (STEPS_FILE, "progress", 2.0, "progress 2.0"),
        (STEPS_FILE, "step", 3, "twice"),
        (STEPS_FILE, "step", -3, "5 steps of episode 0"),
        (STEPS_FILE, "episode", 77, "unknown episode 77"),
        (EPISODES_FILE, "length", -1, "which has -1"),
        (EPISODES_FILE, "episode", 2, "twice|unknown"),
        (EPISODES_FILE, "task", "colored_dots", "unknown task"),
        (EPISODES_FILE, "layout", "orignal", "unknown layout"),
        (EPISODES_FILE, "success", True, "hash differs"),
        (EPISODES_FILE, "score", float("nan"), "score nan"),
        (EPISODES_FILE, "world_seed", -4, "negative"),
        (EPISODES_FILE, "generator_version", 0, "generator version 0"),
        (EPISODES_FILE, "persona", "null", "no JSON object"),
        (EPISODES_FILE, "counts", "[1]", "no JSON object"),
        (EPISODES_FILE, "recording", "what", "no JSON object"),
        (EPISODES_FILE, "content_hash", "0" * 64, "hash differs"),
        (EPISODES_FILE, "content_hash", "", "do not belong together"),
    ],
)  # fmt: skip
def test_what_no_episode_can_hold_is_told(
    folder: Path, name: str, column: str, value: object, words: str
) -> None:
    change(folder, name, column, 0, value)
    if column == "content_hash" and value == "":
        change(folder, STEPS_FILE, "x", 0, 9)
    with pytest.raises(InputError, match=words) as error:
        read_episodes(folder)
    one_line(error)


def test_the_same_episode_twice_is_told(tmp_path: Path) -> None:
    write_episodes([make_episode(0), make_episode(1), make_episode(0)], tmp_path)
    with pytest.raises(InputError, match=r"episodes 0 and 2 .* the same one twice"):
        read_episodes(tmp_path)


def test_a_flipped_bit_is_never_read_as_other_data(folder: Path) -> None:
    before = read_episodes(folder)
    rng = np.random.default_rng(1)
    for name in (STEPS_FILE, EPISODES_FILE):
        whole = (folder / name).read_bytes()
        for bit in rng.integers(0, 8 * len(whole), 60).tolist():
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            (folder / name).write_bytes(bytes(flipped))
            with suppress(InputError):
                assert read_episodes(folder) == before
        (folder / name).write_bytes(whole)
