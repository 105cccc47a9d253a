"""One frame and the clicks of one annotator of every task, as they have been since version 1.

A change here changes the worlds or the annotators that every stored episode, checkpoint and number
stands on: raise `bcprobe.types.GENERATOR_VERSION` with it.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from bcprobe.episodes.record import generate
from bcprobe.tasks import TASKS
from bcprobe.types import GENERATOR_VERSION

WORLD, STEPS, FRAME = 7, 40, 8
#: Task -> first digits of the SHA-256 of the frame at step `FRAME` of the annotator's episode in
#: world `WORLD`, and of its first `STEPS` clicks as little-endian int16.
PINNED = {
    "colored_dot_tracking": ("87a8b96d6989b1c0", "c1e2ef05bd68c007"),
    "neuron_tracking": ("9035ea9790ba6cb7", "344e0268c67c7b1a"),
    "cell_lineage_tracking": ("91fc4da04a19ceac", "c6b6170b2a87126c"),
    "multichannel_image_alignment": ("03122a8292e44c82", "58c6464a5f9f4ed9"),
    "animal_limb_tracking": ("35f36a1c9bcf2e2d", "ece4ef8e959b5126"),
    "animal_behavioral_tracking": ("d442f1a28a49daef", "3db515f819fe0787"),
    "3d_exploration_classification": ("2b86e17df5283072", "bdce81ecfbf9a350"),
    "spectral_plume_finding": ("6fddb0c6f82bf1ff", "f67698470ab82d79"),
    "road_network_construction": ("783634dc256eba31", "eda1af6630ce2432"),
    "shape_matching": ("9be13a886e271657", "5a2399829f65bc70"),
}


def digest(array: NDArray[np.generic]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("task", TASKS)
def test_worlds_and_annotators_have_not_changed(task: str) -> None:
    shown: list[NDArray[np.uint8]] = []
    episode = generate(
        task, WORLD, max_steps=STEPS, watch=lambda simulator: shown.append(simulator.screen())
    )
    clicks = np.array([step.click for step in episode.steps], dtype="<i2")
    assert GENERATOR_VERSION == 1
    assert (digest(shown[FRAME]), digest(clicks)) == PINNED[task]
