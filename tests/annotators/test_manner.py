"""Annotators under whom "a mistake stands" and "Undo comes" come apart."""

from __future__ import annotations

import math

import pytest

from bcprobe.annotators.manner import ring_tiles
from bcprobe.annotators.persona import MANNERS
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate, open_world, replay
from bcprobe.errors import InputError
from bcprobe.rng import split_seed

DOTS, LIMBS, SHAPES = (
    "colored_dot_tracking", "animal_limb_tracking", "3d_exploration_classification",
)  # fmt: skip


def episodes(task: str, manner: str, count: int) -> list[Episode]:
    return [generate(task, split_seed("train", i), manner=manner) for i in range(count)]


def undone_while_right(episode: Episode) -> int:
    return sum(step.undo_next and not step.latents.mistake for step in episode.steps)


@pytest.mark.parametrize("task", [DOTS, LIMBS, SHAPES])
def test_some_mistakes_stand_and_some_right_marks_are_undone(task: str) -> None:
    worked = episodes(task, "two_by_two", 24)
    usual = episodes(task, "usual", 24)
    assert all(one.outcome.done for one in worked)
    assert any(one.steps[-1].latents.mistake for one in worked)
    assert sum(map(undone_while_right, worked)) > 3
    assert not any(one.steps[-1].latents.mistake for one in usual)
    assert sum(map(undone_while_right, usual)) == 0
    seen = [step for one in worked for step in one.steps if step.latents.mistake]
    assert 0 < sum(step.undo_next for step in seen) < len(seen)
    assert worked[0].persona["unnoticed"] == MANNERS["two_by_two"].unnoticed
    assert "unnoticed" not in usual[0].persona


def test_some_mistakes_are_corrected_by_placing_again() -> None:
    again = 0
    for one in episodes(LIMBS, "two_by_two", 24):
        for before, after in zip(one.steps, one.steps[1:], strict=False):
            again += (
                before.latents.mistake and before.action == "place" and not after.latents.mistake
            )
    assert again > 3


def test_graded_mistakes_begin_at_the_tolerance() -> None:
    off = {"usual": [], "graded": []}
    for manner, found in off.items():
        for one in episodes(DOTS, manner, 60):
            centres = open_world(DOTS, one.world_seed).world.centres
            for (simulator, step), later in zip(replay(one), one.steps[1:], strict=False):
                if step.action == "place" and later.latents.mistake and not step.latents.mistake:
                    canvas, z = simulator.arrangement.canvas, simulator.state.z
                    x, y = step.click.x - canvas.x, step.click.y - canvas.y
                    found.append(math.hypot(*(centres[z] - (x, y))))
    assert min(off["usual"]) > 11
    assert min(off["graded"]) < 9
    near = [distance for distance in off["graded"] if distance < 12]
    assert 0.2 < len(near) / len(off["graded"]) < 0.7
    assert min(off["graded"]) > 5


def test_rings_keep_their_distance() -> None:
    corners = ring_tiles(100, 100, 6, 10)
    far = [math.dist((x + 0.5, y + 0.5), (100, 100)) for x, y in corners.tolist()]
    assert len(far) > 10
    assert min(far) >= 5.5
    assert max(far) <= 10.5


def test_an_unknown_manner_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown manner 'grade'.*graded"):
        generate(DOTS, 0, manner="grade")
