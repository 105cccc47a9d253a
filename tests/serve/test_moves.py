"""Redo brings back exactly what Undo took, and the next open frame is one that lacks marks."""

from __future__ import annotations

import pytest

from bcprobe.episodes.record import generate, open_world
from bcprobe.serve import moves
from bcprobe.serve.tracks import Track
from bcprobe.tasks import TASKS
from bcprobe.types import PLACING


def worked(task: str, share: float) -> Track:
    """A world worked by the annotator for a share of its clicks, up to a placement."""
    episode = generate(task, 11)
    track = Track(open_world(task, 11))
    for step in episode.steps[: int(share * len(episode)) + 1]:
        track.click(step.click, "pointer")
    for step in episode.steps[len(track) :]:
        if track.steps[-1].action in PLACING and track.steps[-1].valid:
            break
        track.click(step.click, "pointer")
    return track


def make(track: Track, clicks: list, source: str) -> None:
    for click in clicks:
        track.click(click, source)


@pytest.mark.parametrize("task", TASKS)
def test_redo_brings_back_what_undo_took(task: str) -> None:
    track = worked(task, 0.5)
    before = track.simulator.state
    assert not moves.redo(track)
    make(track, moves.undo(track.simulator), "key")
    assert track.simulator.state != before
    make(track, moves.redo(track), moves.REDO)
    assert track.simulator.state == before
    assert not moves.redo(track)


def test_redo_finds_its_way_back_to_the_slice() -> None:
    track = worked("colored_dot_tracking", 0.8)
    away = [moves.button_click(track.simulator, "-z")] * 3
    make(track, away, "pointer")
    before = track.simulator.state
    for _ in range(2):
        make(track, moves.undo(track.simulator), "key")
    taken = len(before.marks) - len(track.simulator.state.marks)
    assert taken == 2
    for _ in range(2):
        make(track, moves.redo(track), moves.REDO)
    assert track.simulator.state == before


def test_a_new_mark_ends_what_could_be_redone() -> None:
    track = worked("neuron_tracking", 0.5)
    make(track, moves.undo(track.simulator), "key")
    canvas = track.simulator.arrangement.canvas
    track.click(type(track.steps[0].click)(canvas.x + 9, canvas.y + 9), "pointer")
    assert not moves.redo(track)


@pytest.mark.parametrize("task", moves.UNFINISHED)
def test_the_next_open_frame_lacks_marks(task: str) -> None:
    track = worked(task, 0.3)
    left = moves.UNFINISHED[task](track.simulator)
    clicks = moves.to_unfinished(track.simulator)
    here = track.simulator.task.latents(track.simulator.world, track.simulator.state).position
    make(track, clicks, moves.NEXT)
    now = track.simulator.task.latents(track.simulator.world, track.simulator.state).position
    assert (now in left and now != here) if clicks else left <= {here}
    assert all(step.action in ("navigate", "view", "commit") for step in track.steps[-len(clicks) :]
               if clicks)  # fmt: skip


def test_no_frame_is_open_in_a_finished_world() -> None:
    episode = generate("neuron_tracking", 11)
    track = Track(open_world("neuron_tracking", 11))
    for step in episode.steps[:-1]:
        track.click(step.click)
    assert moves.to_unfinished(track.simulator) == []
