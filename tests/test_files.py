"""What a verb writes appears whole or not at all, and nothing of the user's is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcprobe.errors import InputError
from bcprobe.files import check_free, is_ours, output_folder, write_json


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)


def read(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.iterdir()}


def test_files_appear_together(tmp_path: Path) -> None:
    with output_folder(tmp_path / "out") as folder:
        write(folder, a="bcprobe 1", b="bcprobe 2")
        assert not (tmp_path / "out").exists()
    assert read(tmp_path / "out") == {"a": "bcprobe 1", "b": "bcprobe 2"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, a="bcprobe old", note="mine")
    with pytest.raises(RuntimeError), output_folder(tmp_path, force=True) as folder:
        write(folder, a="bcprobe new")
        raise RuntimeError
    assert read(tmp_path) == {"a": "bcprobe old", "note": "mine"}


def test_a_move_that_fails_half_way_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(out, a="bcprobe old a", c="bcprobe old c")
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        if self.name == "c.txt" and target.parent == out and ".old" not in str(self):
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left"), output_folder(out, force=True) as folder:
        write(folder, a="bcprobe a", b="bcprobe b", c="bcprobe c")
    assert read(out) == {"a": "bcprobe old a", "c": "bcprobe old c"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_stands_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    write(tmp_path, a="bcprobe old")
    with pytest.raises(InputError, match="is there already"):
        output_folder(tmp_path, ["a.txt"])
    with pytest.raises(InputError, match="is there already"), output_folder(tmp_path) as folder:
        write(folder, a="bcprobe new", z="bcprobe z")
    assert read(tmp_path) == {"a": "bcprobe old"}
    with output_folder(tmp_path, ["a.txt"], force=True) as folder:
        write(folder, a="bcprobe new")
    assert read(tmp_path) == {"a": "bcprobe new"}


@pytest.mark.parametrize("force", [True, False])
def test_a_file_of_the_users_is_never_replaced(tmp_path: Path, force: bool) -> None:
    write(tmp_path, README="my own notes")
    with pytest.raises(InputError), output_folder(tmp_path, force=force) as folder:
        write(folder, README="bcprobe's card", a="bcprobe a")
    assert read(tmp_path) == {"README": "my own notes"}


def test_a_file_where_a_folder_is_wanted_and_the_reverse(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bcprobe")
    with pytest.raises(InputError, match="is a file"):
        output_folder(tmp_path / "file", force=True)
    with pytest.raises(InputError, match="is a folder"):
        check_free(tmp_path, force=True)


def test_files_of_ours_are_known_again(tmp_path: Path) -> None:
    assert is_ours(write_json(tmp_path / "a.json", {"x": 1}))
    (tmp_path / "long").write_bytes(b"x" * 500_000 + b"bcprobe")
    (tmp_path / "other").write_bytes(b"x" * 500_000)
    assert is_ours(tmp_path / "long")
    assert not is_ours(tmp_path / "other")
    assert not is_ours(tmp_path / "nothing")
