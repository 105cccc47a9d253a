"""Bodies made of limbs."""

from __future__ import annotations

import numpy as np
import pytest

from bcprobe.tasks.animals import finish, flesh, fur, limb

BALD = np.zeros((256, 256))


def blank() -> np.ndarray:
    return np.full((256, 256, 3), 40.0, dtype=np.float32)


def test_a_limb_covers_its_radius_and_nothing_beyond() -> None:
    canvas = blank()
    flesh(canvas, [limb([(60, 100), (160, 100)], (10, 10))], (200, 200, 200), BALD)
    changed = np.nonzero((canvas != 40).any(axis=(1, 2)))[0]
    assert (changed.min(), changed.max()) == (90, 110)
    assert canvas[100, 110, 0] == pytest.approx(200 * (0.5 + 0.58 * 0.9), rel=0.05)


def test_light_comes_from_above() -> None:
    canvas = blank()
    flesh(canvas, [limb([(60, 100), (160, 100)], (10, 10))], (120, 120, 120), BALD)
    assert canvas[93, 110, 0] > canvas[107, 110, 0] + 30


def test_a_limb_lifted_towards_the_camera_lies_on_top() -> None:
    long = limb([(60, 100), (160, 100)], (10, 10))
    patch = limb([(108, 100), (112, 100)], (4, 4), lift=20, tone=0.1)
    for limbs in ((long, patch), (patch, long)):
        canvas = blank()
        flesh(canvas, limbs, (200, 200, 200), BALD)
        assert canvas[100, 110, 0] < 40


def test_limbs_beyond_the_canvas_are_cut_off() -> None:
    canvas = blank()
    flesh(canvas, [limb([(-40, 5), (20, 5)], (9, 9))], (200, 0, 0), BALD)
    flesh(canvas, [limb([(300, 300), (400, 400)], (9, 9))], (200, 0, 0), BALD)
    assert (canvas[:, 40:] == 40).all()
    assert finish(canvas).shape == (256, 256, 3)


def test_a_smooth_limb_runs_through_its_joints() -> None:
    joints = [(10.0, 10.0), (40.0, 60.0), (90.0, 50.0)]
    part = limb(joints, (5, 4, 3))
    assert all((part.points == joint).all(axis=1).any() for joint in joints)
    assert len(limb(joints, (5, 4, 3), smooth=False).points) == 3


def test_fur_goes_with_the_body() -> None:
    assert np.array_equal(fur(10, 20, 0.1)[20:90, 10:90], fur(15, 27, 0.1)[27:97, 15:95])
    assert fur(0, 0, 0.1).std() == pytest.approx(0.1, rel=0.1)
