"""Colours: a name for each, and no two that a colour-blind reader confuses."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import rgb2lab

from bcprobe.palette import CLICK_COLOUR, COLOURS, PHASE_COLOURS, TASK_COLOURS
from bcprobe.tasks import TASKS
from bcprobe.types import PHASES

ROOT = Path(__file__).parents[1]
#: Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def seen(colour: str, vision: str) -> np.ndarray:
    """Lab coordinates of a hex colour as that vision sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    return rgb2lab(
        np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    )


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("colours", [PHASE_COLOURS, TASK_COLOURS], ids=["phases", "tasks"])
def test_no_two_colours_look_alike(colours: dict[str, str], vision: str) -> None:
    places = [seen(colour, vision) for colour in colours.values()]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2)) > 15


def test_every_phase_and_task_has_its_colour() -> None:
    assert tuple(PHASE_COLOURS) == PHASES
    assert set(TASK_COLOURS) == set(TASKS)


def test_no_other_file_knows_a_colour_of_the_palette() -> None:
    """Players, figures, notebooks and pages ask for colours by name."""
    known = {*COLOURS.values(), *PHASE_COLOURS.values(), CLICK_COLOUR} - {COLOURS["black"]}
    found = {
        f"{path.relative_to(ROOT)}: {colour}"
        for folder in ("bcprobe", "notebooks")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".js", ".css", ".html", ".svg") and path.name != "palette.py"
        for colour in known
        if colour.lower() in path.read_text().lower()
    }
    assert found == set()
