"""Worlds from a user's own stacks."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from bcprobe.errors import InputError
from bcprobe.tasks.neuron_tracking import NeuronTracking
from bcprobe.tasks.volumes import read_stack, volume_worlds

TASK = NeuronTracking()


def stacks(sections: int = 12, drift: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Two bright tubes in dark ground, of 16 bit, that wander to the right."""
    y, x = np.mgrid[:150, :210]
    labels = np.zeros((sections, 150, 210), dtype=np.uint16)
    for z in range(sections):
        labels[z][np.hypot(x - 60 - drift * z, y - 70) < 14] = 900
        labels[z][np.hypot(x - 110 - drift * z, y - 70) < 14] = 17
    images = 3000 + 20000 * (labels > 0) + np.arange(210) * 5
    return images.astype(np.uint16), labels


def save(folder: Path, images: np.ndarray, labels: np.ndarray) -> tuple[Path, Path]:
    np.savez(folder / "images.npz", images=images)
    np.savez(folder / "labels.npz", labels=labels, other=labels)
    return folder / "images.npz", folder / "labels.npz"


def test_every_neurite_becomes_a_world_whose_centres_lie_in_it(tmp_path: Path) -> None:
    worlds = volume_worlds(*save(tmp_path, *stacks()))
    assert sorted(world.target for world in worlds) == [17, 900]
    for world in worlds:
        assert world.slices == 12
        assert TASK.images(world).shape == (12, 256, 256, 3)
        state = TASK.open(world)
        for x, y in np.rint(world.centres).astype(int).tolist():
            state = TASK.press(world, TASK.place(world, state, x, y), "+z")
        assert TASK.score(world, state).score == 1
        x, y = np.rint(world.centres[0]).astype(int)
        assert TASK.images(world)[0, y, x, 0] > 200


def test_tiff_and_npz_give_the_same_worlds(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    images, labels = stacks()
    tifffile.imwrite(tmp_path / "images.tif", images, photometric="minisblack")
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    from_tiff = volume_worlds(tmp_path / "images.tif", tmp_path / "labels.tif")
    from_npz = volume_worlds(*save(tmp_path, images, labels))
    for one, other in zip(from_tiff, from_npz, strict=True):
        assert one.name == other.name
        assert np.array_equal(one.stack, other.stack)
        assert np.array_equal(one.centres, other.centres)


def test_registering_takes_the_drift_out(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    paths = save(tmp_path, *stacks(drift=4.0))
    drifting, still = (volume_worlds(*paths, register=r)[0] for r in (False, True))
    assert np.ptp(drifting.centres[:, 0]) > 30
    assert np.ptp(still.centres[:, 0]) < 8


def test_a_neurite_that_ends_early_is_left_out(tmp_path: Path) -> None:
    images, labels = stacks()
    labels[6:][labels[6:] == 17] = 0
    assert [w.target for w in volume_worlds(*save(tmp_path, images, labels))] == [900]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, la: (i[:5], la), "the same sections"),
        (lambda i, la: (i[0], la), "a stack is"),
        (lambda i, la: (i, la * 0), "no neurite"),
        (lambda i, la: (i, la / 2), "fractions"),
        (lambda i, la: (i, -la.astype(int)), "negative"),
        (lambda i, la: (i.astype(np.int64), la), "8 or 16 bit"),
        (lambda i, la: (i * 0, la), "shows nothing"),
        (lambda i, la: (i[:6], la[:6]), "no neurite"),
    ],
)
def test_stacks_that_are_no_pair_are_refused_in_one_line(
    tmp_path: Path, change, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        volume_worlds(*save(tmp_path, *change(*stacks())))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["images.npz", "images.tif"])
def test_files_that_cannot_be_read_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    if name.endswith("tif"):
        pytest.importorskip("tifffile")
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot be read") as caught:
        volume_worlds(tmp_path / name, tmp_path / name)
    assert "\n" not in str(caught.value)
    for other in ("missing.tif", "notes.txt"):
        (tmp_path / "notes.txt").write_text("x")
        with pytest.raises(InputError):
            volume_worlds(tmp_path / other, tmp_path / name)


def test_labels_must_be_named_where_there_are_several(tmp_path: Path) -> None:
    images, labels = stacks()
    np.savez(tmp_path / "many.npz", one=labels, two=labels)
    with pytest.raises(InputError, match="it holds: one, two"):
        volume_worlds(save(tmp_path, images, labels)[0], tmp_path / "many.npz")


def tiff(path: Path, stack: np.ndarray, **options: object) -> Path:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, stack, **{"photometric": "minisblack", **options})
    return path


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_a_compressed_tiff_is_read(tmp_path: Path, compression: str | None) -> None:
    images, _ = stacks()
    assert np.array_equal(
        read_stack(tiff(tmp_path / "a.tif", images, compression=compression), "images"), images
    )


@pytest.mark.parametrize(
    ("axes", "order"), [("ZYX", (0, 1, 2)), ("YXZ", (1, 2, 0)), ("TCYX", None), ("QYX", (0, 1, 2))]
)
def test_axes_are_those_that_the_file_names(
    tmp_path: Path, axes: str, order: tuple[int, ...] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    images, _ = stacks()
    stored = images[:, None] if order is None else images.transpose(order)
    options = {} if axes == "QYX" else {"metadata": {"axes": axes}}
    path = tiff(tmp_path / "a.tif", stored, **options)
    assert np.array_equal(read_stack(path, "images"), images)
    assert ("does not name its axes" in capsys.readouterr().err) == (axes == "QYX")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.uint64, np.int8])
def test_labels_of_any_type_that_holds_whole_numbers(tmp_path: Path, kind: type) -> None:
    labels = (stacks()[1] > 0).astype(kind)
    found = read_stack(tiff(tmp_path / "a.tif", labels), "labels")
    assert found.dtype.kind in "ui"
    assert np.array_equal(found, labels)


def test_a_mask_is_one_neurite(tmp_path: Path) -> None:
    images, labels = stacks()
    np.savez(tmp_path / "images.npz", images)
    np.savez(tmp_path / "labels.npz", labels == 17)
    (world,) = volume_worlds(tmp_path / "images.npz", tmp_path / "labels.npz")
    assert world.target == 1


def test_colours_become_grey(tmp_path: Path) -> None:
    images, _ = stacks()
    small = (images >> 8).astype(np.uint8)
    path = tiff(tmp_path / "a.tif", np.repeat(small[..., None], 3, -1), photometric="rgb")
    assert np.array_equal(read_stack(path, "images"), small)
    tinted = np.stack([small, small // 2, small * 0], -1)
    assert read_stack(tiff(tmp_path / "b.tif", tinted, photometric="rgb"), "images").ndim == 3
    with pytest.raises(InputError, match="labels in colours"):
        read_stack(tmp_path / "b.tif", "labels")


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        (np.full((12, 20, 20), 0.5), "fractions"),
        (np.full((12, 20, 20), np.nan), "nan or infinite"),
        (np.zeros((12, 20, 20), complex), "holds complex128"),
        (np.zeros((12, 20, 20), "U3"), "holds <U3"),
        (np.zeros((20, 20), np.uint8), r"shape \(20, 20\)"),
        (np.zeros((0, 20, 20), np.uint8), r"shape \(0, 20, 20\)"),
    ],
)
def test_each_refusal_has_its_true_reason(tmp_path: Path, stack: np.ndarray, words: str) -> None:
    np.savez(tmp_path / "a.npz", stack)
    with pytest.raises(InputError, match=words) as error:
        read_stack(tmp_path / "a.npz", "labels")
    assert "\n" not in str(error.value)


def test_several_channels_are_refused(tmp_path: Path) -> None:
    stack = np.zeros((6, 2, 30, 40), np.uint8)
    path = tiff(tmp_path / "a.tif", stack, metadata={"axes": "ZCYX"})
    with pytest.raises(InputError, match="2 channels"):
        read_stack(path, "images")


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "pageless"])
def test_damaged_files_are_one_line_and_nothing_else(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tiff(tmp_path / "a.tif", stacks()[0])
    whole = path.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 3],
        "empty": b"",
        "text": b"this is no picture",
        "pageless": whole[:4] + bytes(4),
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(InputError) as error:
        read_stack(path, "images")
    assert "\n" not in str(error.value)
    assert not caplog.records


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", b"not an array")
    with pytest.raises(InputError):
        read_stack(tmp_path / "a.npz", "images")
    shape = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 9999, 99), }"
    head = b"\x93NUMPY\x01\x00v\x00" + shape
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("images.npy", head.ljust(128) + b"\n")
    with pytest.raises(InputError):
        read_stack(tmp_path / "b.npz", "images")
