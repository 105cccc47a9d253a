"""Floor 0: seeds, names, files and numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcprobe.bootstrap import cluster_bootstrap, mean_score, wilson
from bcprobe.errors import InputError, check_name
from bcprobe.files import atomic_file, atomic_folder
from bcprobe.results import Score, read_table, write_table
from bcprobe.rng import SPLITS, generator, split_seed


def test_generators_depend_on_every_part_of_the_key() -> None:
    draws = {generator(*key).random() for key in [("a", 1), ("a", 2), ("b", 1), ("a", "1")]}
    assert len(draws) == 4
    assert generator("a", 1).random() == generator("a", 1).random()


def test_split_seeds_never_meet() -> None:
    ranges = [range(start, start + 2**40) for start in SPLITS.values()]
    for i, one in enumerate(ranges):
        for other in ranges[i + 1 :]:
            assert one.stop <= other.start or other.stop <= one.start
    assert split_seed("train", 5) == 5


def test_unknown_names_get_the_nearest_known_one() -> None:
    assert check_name("task", "dots", ["dots"]) == "dots"
    with pytest.raises(InputError, match="unknown task 'dot'; did you mean 'dots'"):
        check_name("task", "dot", ["lines", "dots"])


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "value.txt"
    target.write_text("before")
    with pytest.raises(InputError, match="No space left"), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["value.txt"]


def test_a_folder_is_replaced_wholly_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("one", "two"):
        with atomic_folder(target) as temporary:
            (temporary / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["two"]
    with pytest.raises(ValueError), atomic_folder(target) as temporary:
        (temporary / "three").write_text("three")
        raise ValueError
    assert [path.name for path in target.iterdir()] == ["two"]


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"), atomic_file(tmp_path / "file" / "x"):
        pass


def test_wilson_matches_published_values() -> None:
    score = wilson(81, 263)
    assert (score.lower, score.upper) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 10).lower == 0
    assert wilson(10, 10).upper == 1
    assert np.isnan(wilson(0, 0).estimate)


def test_bootstrap_interval_widens_with_correlation_inside_clusters() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 25)
    shared = rng.normal(size=40)[groups]
    single = rng.normal(size=1000)
    widths = [s.upper - s.lower for s in (mean_score(v, groups) for v in (shared, single))]
    assert widths[0] > 3 * widths[1]


def test_bootstrap_of_a_mean_agrees_with_the_direct_one() -> None:
    rng = np.random.default_rng(1)
    groups, values = np.repeat(np.arange(30), 5), rng.normal(size=150)
    slow = cluster_bootstrap(groups, lambda w: float((w * values).sum() / w.sum()))
    fast = mean_score(values, groups)
    assert slow.estimate == pytest.approx(fast.estimate)
    assert (slow.lower, slow.upper) == pytest.approx((fast.lower, fast.upper), abs=1e-9)


def test_a_single_cluster_has_no_interval() -> None:
    for score in (
        mean_score([1.0, 2.0], [0, 0]),
        cluster_bootstrap([0, 0], lambda w: float(w.sum())),
    ):
        assert score.estimate > 1
        assert np.isnan([score.lower, score.upper]).all()


def test_nan_becomes_null_in_json() -> None:
    assert Score(float("nan"), 0.0, 1.0, 3).as_dict() == {
        "estimate": None, "lower": 0.0, "upper": 1.0, "n": 3,
    }  # fmt: skip


def test_tables_round_trip_and_tell_what_they_lack(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    path = write_table(table, tmp_path / "t.parquet", schema="1")
    pd.testing.assert_frame_equal(read_table(path, ("a", "b")), table)
    with pytest.raises(InputError, match="lacks column 'c'"):
        read_table(path, ("c",))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="cannot read table"):
        read_table(path)
    with pytest.raises(InputError, match="cannot read table"):
        read_table(tmp_path / "missing.parquet")
