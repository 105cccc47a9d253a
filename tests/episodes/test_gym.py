"""The worlds as Gymnasium environments."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from bcprobe.episodes.gym import environment_id
from bcprobe.episodes.record import frames, generate
from bcprobe.tasks import TASKS

DOTS = "bcprobe/ColoredDotTracking-v0"


@pytest.mark.parametrize("task", TASKS)
def test_environments_pass_gymnasium_own_check(task: str) -> None:
    env = gymnasium.make(environment_id(task), render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)


def test_the_annotator_clicks_earn_the_whole_score() -> None:
    episode = generate("colored_dot_tracking", 5)
    env = gymnasium.make(DOTS, render_mode="rgb_array")
    screen, info = env.reset(seed=5)
    shown, rewards, ended = [screen], [], False
    for step in episode.steps:
        assert not ended
        assert info["position"] == step.latents.position
        screen, reward, ended, _, info = env.step(np.array(step.click))
        assert info["widget"] == step.widget
        shown.append(screen)
        rewards.append(reward)
    assert ended
    assert info["success"]
    assert sum(rewards) == pytest.approx(1)
    assert np.array_equal(env.render(), shown[-1])
    assert all(np.array_equal(a, b) for a, b in zip(shown, frames(episode), strict=False))


def test_resets_without_a_seed_draw_new_worlds_reproducibly() -> None:
    env = gymnasium.make(DOTS)
    env.reset(seed=3)
    drawn = [env.reset()[1]["world_seed"] for _ in range(3)]
    env.reset(seed=3)
    assert drawn == [env.reset()[1]["world_seed"] for _ in range(3)]
    assert len(set(drawn)) == 3


def test_many_worlds_side_by_side_equal_single_ones() -> None:
    many = gymnasium.make_vec(DOTS, num_envs=3)
    screens, info = many.reset(seed=[4, 9, 4])
    assert info["world_seed"].tolist() == [4, 9, 4]
    assert np.array_equal(screens[0], screens[2])
    single = gymnasium.make(DOTS)
    single.reset(seed=9)
    click = np.array(generate("colored_dot_tracking", 9).steps[0].click)
    screens, *_ = many.step(np.stack([click] * 3))
    assert np.array_equal(screens[1], single.step(click)[0])


def test_a_finished_world_gives_way_to_a_new_one() -> None:
    many = gymnasium.make_vec(DOTS, num_envs=2)
    many.reset(seed=0)
    scripts = [[step.click for step in generate("colored_dot_tracking", i).steps] for i in (0, 1)]
    done_at = [len(script) for script in scripts]
    for t in range(max(done_at) + 1):
        clicks = np.array([script[min(t, len(script) - 1)] for script in scripts])
        _, _, done, _, info = many.step(clicks)
        for i in (0, 1):
            if t < done_at[i]:
                assert done[i] == (t == done_at[i] - 1)
            if t == done_at[i]:
                assert info["world_seed"][i] != i
                assert info["progress"][i] == 0
