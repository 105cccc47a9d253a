"""Worlds of neuron tracking from a user's own image stack and its instance labels."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter

from bcprobe.errors import InputError
from bcprobe.tasks.neuron_tracking import World, middle
from bcprobe.types import CANVAS_SIZE

Stack = NDArray[np.integer]
#: Grey levels are stretched between these percentiles of the stack.
_PERCENTILES = (0.3, 99.7)
#: A neurite is shown with its own extent times this around it, and at least so many px wide.
_SURROUNDINGS, _LEAST_SIDE = 1.7, 128
TIFF, NPZ = (".tif", ".tiff"), (".npz",)


@dataclass(frozen=True)
class Crop:
    """A square of a section, shown on the canvas: corner (x, y) and side in px."""

    x: int
    y: int
    side: int


def volume_worlds(
    images_path: str | Path,
    labels_path: str | Path,
    register: bool = False,
    least_slices: int = 10,
    most_slices: int = 48,
) -> tuple[World, ...]:
    """A world for every neurite that runs through enough sections, the longest runs first.

    Both files hold a stack [section, y, x] of the same shape, as TIFF or NPZ (its only array,
    or the one called ``images`` or ``labels``): images of 8 or 16 bit, and labels that give
    each neurite a whole number from 1 in all sections and 0 to everything else. A neurite is
    followed for as long as a click fits well inside its section, for at most ``most_slices``
    sections. ``register`` first shifts every section so that it fits the one before it.
    Raises `InputError` for files that cannot be read, stacks that are no such pair, or
    labels without a neurite in ``least_slices`` sections.
    """
    images, labels = _read_images(images_path), _read_labels(labels_path)
    if images.shape != labels.shape:
        raise InputError(
            f"'{images_path}' has shape {images.shape} and '{labels_path}' {labels.shape}; "
            "images and labels must have the same sections, rows and columns"
        )
    if least_slices < 2 or most_slices < least_slices:
        raise InputError("least_slices must be 2 or more, and at most most_slices")
    if register:
        images, labels = _register(images, labels)
    found = [_world(images, labels, label, most_slices) for label in _long(labels, least_slices)]
    worlds = [world for world in found if world is not None and world.slices >= least_slices]
    if not worlds:
        raise InputError(
            f"'{labels_path}' holds no neurite that can be followed through {least_slices} "
            "sections; give each neurite one number in all its sections, or ask for fewer"
        )
    return tuple(sorted(worlds, key=lambda world: -world.slices))


def read_stack(path: str | Path, name: str) -> Stack:
    """The stack [section, y, x] of whole numbers in a TIFF or NPZ file.

    ``name`` (``images`` or ``labels``) picks among several arrays of an NPZ. A TIFF's axes are
    those that its metadata names; where it names none the order above is taken, which is said. RGB
    is turned to grey in images. Labels may be of any type that holds whole numbers, and masks.
    Raises `InputError` for a file that is missing, of another kind, or damaged, and for what is no
    such stack.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file '{path}'")
    suffix = path.suffix.lower()
    if suffix not in TIFF + NPZ:
        raise InputError(f"'{path}' is neither TIFF nor NPZ; save the stack as .tif or .npz")
    stack = _read_tiff(path, name) if suffix in TIFF else _read_npz(path, name)
    if stack.ndim == 4 and stack.shape[-1] in (3, 4):
        stack = _grey(path, stack, name)
    if stack.ndim != 3 or min(stack.shape) < 2:
        raise InputError(f"'{path}' has shape {stack.shape}; a stack is [section, y, x]")
    return _whole(path, stack, name)


def _whole(path: Path, stack: NDArray[Any], name: str) -> Stack:
    """The stack as whole numbers. Raises `InputError` if it holds others."""
    if stack.dtype.kind == "b":
        return stack.astype(np.uint8)
    if stack.dtype.kind in "ui":
        return stack
    if stack.dtype.kind != "f":
        raise InputError(f"'{path}' holds {stack.dtype}; a stack holds numbers")
    if not np.isfinite(stack).all():
        raise InputError(f"'{path}' holds nan or infinite values")
    rounded = np.rint(stack)
    if not np.array_equal(rounded, stack):
        mend = "give each neurite a whole number" if name == "labels" else "save 8 or 16 bit"
        raise InputError(f"'{path}' holds fractions; {mend}")
    low, high = float(stack.min()), float(stack.max())
    if name == "images" and low >= 0 and high < 1 << 16:
        return rounded.astype(np.uint16)
    if max(-low, high) >= 1 << 62:
        raise InputError(f"'{path}' holds numbers of up to {high:g}; use smaller ones")
    return rounded.astype(np.int64)


def _grey(path: Path, stack: NDArray[Any], name: str) -> NDArray[Any]:
    """Colour samples in the last axis as grey. Raises `InputError` for labels in colours."""
    samples = stack[..., :3]
    if name == "labels":
        if not (samples == samples[..., :1]).all():
            raise InputError(f"'{path}' holds labels in colours; save one number for each neurite")
        return samples[..., 0]
    if (samples == samples[..., :1]).all():
        return samples[..., 0]
    weights = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    return np.rint(samples @ weights).astype(stack.dtype)


def _read_tiff(path: Path, name: str) -> NDArray[Any]:
    try:
        import tifffile
    except ImportError as error:
        raise InputError("TIFF needs tifffile; pip install 'bcprobe[volumes]'") from error
    log = logging.getLogger("tifffile")
    before, log.disabled = log.disabled, True  # what it would print is said in our line
    try:
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise InputError(f"'{path}' holds no page")
            series = max(file.series, key=lambda one: one.size)
            return _in_order(path, series.asarray(), series.axes, name)
    except InputError:
        raise
    except Exception as error:
        if "imagecodecs" in str(error):
            raise InputError(
                f"'{path}' is compressed ({_line(error)}); pip install 'bcprobe[volumes]'"
            ) from error
        raise InputError(f"'{path}' cannot be read as TIFF: {_line(error)}") from error
    finally:
        log.disabled = before


def _in_order(path: Path, stack: NDArray[Any], axes: str, name: str) -> NDArray[Any]:
    """The stack as [section, y, x], with colour samples last; ``axes`` are letters of tifffile."""
    kept = [place for place, length in enumerate(stack.shape) if length > 1 or axes[place] in "YX"]
    stack = stack.transpose([*kept, *(n for n in range(stack.ndim) if n not in kept)])
    stack = stack.reshape([stack.shape[n] for n in range(len(kept))])
    axes = "".join(axes[place] for place in kept)
    if "C" in axes and "S" not in axes:
        count = stack.shape[axes.index("C")]
        raise InputError(f"'{path}' has {count} channels; save the one to look at")
    sections = [letter for letter in axes if letter not in "YXS"]
    if not {"Y", "X"} <= set(axes) or len(set(axes)) < len(axes) or len(sections) > 1:
        raise InputError(f"'{path}' has the axes {axes} {stack.shape}; a stack is [section, y, x]")
    if sections and sections[0] in "QI":
        sys.stderr.write(f"bcprobe: '{path}' does not name its axes; taken as [section, y, x]\n")
    order = [*sections, "Y", "X", *(["S"] if "S" in axes else [])]
    return stack.transpose([axes.index(letter) for letter in order])


def _read_npz(path: Path, name: str) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays)
            if name not in names and len(names) != 1:
                known = ", ".join(names) or "none"
                raise InputError(f"'{path}' holds no array '{name}' (it holds: {known})")
            found = arrays[name if name in names else names[0]]
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        MemoryError,
        AttributeError,
        BadZipFile,
    ) as error:
        raise InputError(f"'{path}' cannot be read as NPZ: {_line(error)}") from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"'{path}' holds no array '{name}' but something else")
    return found


def _line(error: Exception) -> str:
    """What an exception says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _read_images(path: str | Path) -> NDArray[np.uint8]:
    """The image stack stretched to 8 bit."""
    stack = read_stack(path, "images")
    if stack.dtype.itemsize > 2:
        raise InputError(f"'{path}' holds {stack.dtype}; images have 8 or 16 bit")
    low, high = np.percentile(stack, _PERCENTILES)
    if high <= low:
        raise InputError(f"'{path}' shows nothing: all its grey levels are {low:g}")
    scale = 255 / (high - low)
    grey = [np.clip((section - low) * scale, 0, 255) for section in stack]
    return np.rint(grey).astype(np.uint8)


def _read_labels(path: str | Path) -> NDArray[np.int64]:
    stack = read_stack(path, "labels").astype(np.int64)
    if stack.min() < 0:
        raise InputError(f"'{path}' holds negative labels; use 0 for what is no neurite")
    return stack


def _register(
    images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Both stacks with each section shifted by whole px onto the one before it."""
    try:
        from skimage.registration import phase_cross_correlation
    except ImportError as error:
        raise InputError(
            "registering needs scikit-image; pip install 'bcprobe[volumes]'"
        ) from error
    shifts = [np.zeros(2)]
    for before, section in pairwise(images):
        pair = _blurred(before), _blurred(section)
        shifts.append(shifts[-1] + phase_cross_correlation(*pair, normalization=None)[0])
    whole = np.rint(shifts).astype(int)
    return _shifted(images, whole).astype(np.uint8), _shifted(labels, whole).astype(np.int64)


def _blurred(section: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A section without grain, faded out towards its rim."""
    fade = np.outer(*(np.hanning(length) for length in section.shape))
    smooth = gaussian_filter(section.astype(float), 2)
    return (smooth - smooth.mean()) * fade


def _shifted(stack: Stack, shifts: NDArray[np.int64]) -> Stack:
    """Sections moved by (rows, columns) on a field wide enough for all of them, 0 elsewhere."""
    low, high = shifts.min(axis=0), shifts.max(axis=0)
    sections, height, width = stack.shape
    field = np.zeros((sections, *(high - low + (height, width))), dtype=stack.dtype)
    for z, (down, right) in enumerate(shifts - low):
        field[z, down : down + height, right : right + width] = stack[z]
    return field


def _long(labels: NDArray[np.int64], least: int) -> list[int]:
    """Labels that occur in at least so many sections."""
    present = np.concatenate([np.unique(section) for section in labels])
    names, counts = np.unique(present, return_counts=True)
    return [int(name) for name in names[counts >= least] if name > 0]


def _world(
    images: NDArray[np.uint8], labels: NDArray[np.int64], label: int, most: int
) -> World | None:
    """The longest run of sections in which the neurite can be clicked; None if there is none."""
    sections = np.flatnonzero((labels == label).any(axis=(1, 2)))
    runs = np.split(sections, np.flatnonzero(np.diff(sections) > 1) + 1)
    run = max(runs, key=len)[:most]
    crop = _crop(labels[run] == label)
    cells = np.stack([_nearest(labels[z], crop) for z in run])
    centres = [_centre(section == label) for section in cells]
    fits = np.flatnonzero([centre is not None for centre in centres])
    if len(fits) < 2:
        return None
    run_fits = max(np.split(fits, np.flatnonzero(np.diff(fits) > 1) + 1), key=len)
    part = slice(int(run_fits[0]), int(run_fits[-1]) + 1)
    return World(
        cells=cells[part],
        target=label,
        centres=np.array(centres[part]),
        stack=np.stack([_scaled(images[z], crop) for z in run[part]]),
        name=f"neurite {label}, sections {run[part][0]} to {run[part][-1]}",
    )


def _crop(inside: NDArray[np.bool_]) -> Crop:
    """A square around all sections of a neurite, within the stack if that is wide enough."""
    rows, columns = (np.flatnonzero(inside.any(axis=(0, axis))) for axis in (2, 1))
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    height, width = inside.shape[1:]
    side = int(min(max(_SURROUNDINGS * extent, _LEAST_SIDE), max(height, width)))
    x, y = ((int(ends[0]) + int(ends[-1]) - side) // 2 for ends in (columns, rows))
    x, y = (max(0, min(c, room - side)) for c, room in ((x, width), (y, height)))
    return Crop(x, y, side)


def _scaled(section: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
    """A crop of an image scaled to the canvas: uint8 [256, 256], 0 beyond the section."""
    box = (crop.x, crop.y, crop.x + crop.side, crop.y + crop.side)
    cut = Image.fromarray(section).crop(box)
    return np.asarray(cut.resize((CANVAS_SIZE, CANVAS_SIZE), Image.Resampling.BICUBIC))


def _nearest(section: NDArray[np.int64], crop: Crop) -> NDArray[np.int64]:
    """The label under each px of the canvas: int [256, 256], 0 beyond the section."""
    steps = ((np.arange(CANVAS_SIZE) + 0.5) * crop.side / CANVAS_SIZE).astype(np.int64)
    rows, columns = crop.y + steps, crop.x + steps
    high, wide = rows < section.shape[0], columns < section.shape[1]
    cut = np.zeros((CANVAS_SIZE, CANVAS_SIZE), dtype=np.int64)
    cut[np.ix_(high, wide)] = section[np.ix_(rows[high], columns[wide])]
    return cut


def _centre(inside: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Where to click a section of a neurite; None where it is too narrow or off the canvas."""
    depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    return middle(inside, depth, margin=8)
