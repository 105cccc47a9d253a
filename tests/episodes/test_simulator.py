"""Clicks in, states and frames out; nothing a clicker does breaks an episode."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bcprobe.episodes.clickers import RandomClicker, RepeatClicker, ScriptClicker
from bcprobe.episodes.record import (
    display_lists,
    frame_hash,
    frames,
    generate,
    open_world,
    replay,
    work,
)
from bcprobe.errors import InputError
from bcprobe.gui.compositor import compose
from bcprobe.rng import generator
from bcprobe.tasks import TASKS
from bcprobe.types import Click

ANYWHERE = st.tuples(st.integers(-50, 600), st.integers(-50, 500))


class RandomClicks(RuleBasedStateMachine):
    """Clicks anywhere, also out of bounds and on disabled buttons."""

    @initialize(task=st.sampled_from(sorted(TASKS)), seed=st.integers(0, 5))
    def open(self, task: str, seed: int) -> None:
        self.simulator = open_world(task, seed)

    @rule(point=ANYWHERE)
    def click(self, point: tuple[int, int]) -> None:
        before = self.simulator.state
        expected = self.simulator.after(Click(*point))
        step = self.simulator.click(Click(*point))
        assert self.simulator.state == expected
        assert step.valid == (self.simulator.state != before)
        if step.action == "idle":
            assert self.simulator.state == before

    @rule(point=ANYWHERE)
    def undo_restores(self, point: tuple[int, int]) -> None:
        before = self.simulator.state
        if self.simulator.hit(Click(*point)).action == "place":
            after = self.simulator.after(Click(*point))
            task, world = self.simulator.task, self.simulator.world
            assert after == before or task.press(world, after, "Undo") == before

    @invariant()
    def latents_and_score_stay_in_range(self) -> None:
        if hasattr(self, "simulator"):
            task, world, state = (
                self.simulator.task,
                self.simulator.world,
                self.simulator.state,
            )
            latents = task.latents(world, state)
            assert 0 <= latents.progress <= 1
            assert 0 <= latents.position < latents.position_count
            assert bool(latents.mistake_kind) == latents.mistake
            assert 0 <= task.score(world, state).score <= 1


TestRandomClicks = RandomClicks.TestCase
TestRandomClicks.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)


@given(point=ANYWHERE)
@settings(max_examples=30, deadline=None)
def test_a_click_off_the_buttons_and_the_canvas_does_nothing(point: tuple[int, int]) -> None:
    simulator = open_world("colored_dot_tracking", 0)
    if not simulator.hit(Click(*point)).widget:
        assert simulator.after(Click(*point)) == simulator.state


def test_a_disabled_button_answers_nothing() -> None:
    simulator = open_world("colored_dot_tracking", 0)
    index = [b.name for b in simulator.task.buttons].index("Undo")
    rect = simulator.arrangement.buttons[index]
    step = simulator.click(Click(rect.x + rect.width // 2, rect.y + rect.height // 2))
    assert (step.widget, step.action, step.valid) == ("", "idle", False)


def test_nothing_changes_after_done() -> None:
    episode = generate("colored_dot_tracking", 0)
    simulator = open_world("colored_dot_tracking", 0)
    for step in episode.steps:
        simulator.click(step.click)
    assert simulator.done
    end = simulator.state
    assert simulator.click(episode.steps[0].click).valid is False
    assert simulator.state == end


def test_replay_gives_the_steps_that_were_recorded() -> None:
    episode = generate("colored_dot_tracking", 7)
    for simulator, step in replay(episode):
        assert simulator.task.latents(simulator.world, simulator.state) == step.latents
    last = list(replay(episode))[-1][0]
    assert last.done
    assert tuple(last.history) == episode.steps


def test_display_lists_compose_to_the_frames() -> None:
    episode = generate("colored_dot_tracking", 2)
    images, displays = display_lists(episode)
    assert len(displays) == len(episode)
    for display, frame in zip(displays[::9], list(frames(episode))[::9], strict=True):
        assert np.array_equal(compose(display, images), frame)


def test_frames_are_the_same_bytes_in_another_process() -> None:
    code = (
        "from bcprobe.episodes.record import frame_hash, generate;"
        "print(frame_hash(generate('colored_dot_tracking', 4, layout='retro')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    episode = generate("colored_dot_tracking", 4, layout="retro", hash_frames=True)
    assert episode.frame_hash == run.stdout.strip() == frame_hash(episode)


def test_one_world_in_two_layouts_gives_the_same_actions_on_other_pixels() -> None:
    right, left = (
        generate("colored_dot_tracking", 3, layout=x) for x in ("original", "left_panel")
    )
    assert all(a.click != b.click for a, b in zip(right.steps, left.steps, strict=True))
    assert right.outcome == left.outcome
    assert [s.widget for s in right.steps] == [s.widget for s in left.steps]


def test_other_clickers_run_through_the_same_loop() -> None:
    random = work(
        RandomClicker(generator("r", 0)), "colored_dot_tracking", [0, 1], origin="random",
        max_steps=40,
    )  # fmt: skip
    assert all(len(episode) <= 40 and not episode.outcome.success for episode in random)
    repeat = work(RepeatClicker(), "colored_dot_tracking", [0], origin="repeat", max_steps=10)
    assert len({step.click for step in repeat[0].steps}) == 1
    oracle = generate("colored_dot_tracking", 9)
    script = ScriptClicker([[step.click for step in oracle.steps]])
    again = work(script, "colored_dot_tracking", [9], origin="person")
    assert again[0].steps == oracle.steps


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"task": "colored_dots"}, "colored_dot_tracking"),
        ({"task": "colored_dot_tracking", "layout": "retr"}, "retro"),
        ({"task": "colored_dot_tracking", "difficulty": "esy"}, "easy"),
        ({"task": "colored_dot_tracking", "world_seed": -1}, "negative"),
    ],
)
def test_bad_names_are_told_in_one_line(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        open_world(**{"world_seed": 0, **arguments})
