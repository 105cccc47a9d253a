"""The annotator of keypoints of a walking animal."""

from __future__ import annotations

from collections import Counter

import pytest

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate

NAME = "animal_limb_tracking"


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return [generate(NAME, seed) for seed in range(60)]


def test_every_episode_succeeds_with_valid_clicks(episodes: list[Episode]) -> None:
    assert all(episode.outcome.score == 1 and episode.outcome.success for episode in episodes)
    assert all(step.valid for episode in episodes for step in episode.steps)
    assert all(25 <= len(episode) <= 160 for episode in episodes)


def test_it_plays_the_video_before_it_marks_anything(episodes: list[Episode]) -> None:
    for episode in episodes:
        first = [step.action for step in episode.steps].index("place")
        assert {step.phase for step in episode.steps[: first - 1]} == {"explore"}
        assert max(step.latents.position for step in episode.steps[:first]) == 5


def test_mistakes_of_both_kinds_are_undone_at_once_or_after_a_look(
    episodes: list[Episode],
) -> None:
    kinds, delays = Counter(), Counter()
    for episode in episodes:
        standing = 0
        for step in episode.steps:
            standing = standing + 1 if step.latents.mistake else 0
            assert standing == 0 or step.action in ("navigate", "undo")
            if step.undo_next:
                kinds[step.latents.mistake_kind] += 1
                delays[standing - 1] += 1
    assert 0.35 < kinds["identity"] / kinds.total() < 0.65
    assert set(kinds) == {"identity", "spatial"}
    assert set(delays) == {0, 1, 2}
    assert 0.1 < 1 - delays[0] / delays.total() < 0.3


def test_it_works_frame_by_frame_and_keeps_a_fixed_order(episodes: list[Episode]) -> None:
    for episode in episodes:
        if episode.persona["error_rate"] == 0:
            frames = [s.latents.position for s in episode.steps if s.action == "place"]
            assert frames == sorted(frames)
            assert all(s.phase == "annotate" for s in episode.steps if s.action == "select")
