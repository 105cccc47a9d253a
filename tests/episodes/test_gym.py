"""The worlds as Gymnasium environments."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from bcprobe.episodes.gym import ClickEnv, ClickVectorEnv, environment_id
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


def test_a_mask_opens_only_the_worlds_marked() -> None:
    many = gymnasium.make_vec(DOTS, num_envs=3)
    many.reset(seed=[1, 2, 3])
    click = np.array(generate("colored_dot_tracking", 2).steps[0].click)
    before, *_ = many.step(np.stack([click] * 3))
    after, info = many.reset(seed=7, options={"reset_mask": np.array([True, False, True])})
    assert np.array_equal(after[1], before[1])
    assert (info["world_seed"][[0, 2]] == [7, 9]).all()
    for mask in ([True, False, True], np.array([1, 0, 1]), np.array([True])):
        if not isinstance(mask, list):
            with pytest.raises(gymnasium.error.Error, match="reset_mask"):
                many.unwrapped.reset(options={"reset_mask": mask})
    fresh = gymnasium.make_vec(DOTS, num_envs=2).unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded):
        fresh.reset(options={"reset_mask": np.array([True, False])})


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint16])
def test_seeds_of_numpy_open_the_same_worlds(kind: type) -> None:
    env = ClickEnv("colored_dot_tracking")
    assert np.array_equal(env.reset(seed=kind(5))[0], env.reset(seed=5)[0])
    many = ClickVectorEnv("colored_dot_tracking", 2)
    assert np.array_equal(many.reset(seed=kind(5))[0], many.reset(seed=5)[0])


@pytest.mark.parametrize("seed", [-1, 1 << 63, 0.5, "3", True])
def test_other_seeds_are_refused_as_gymnasium_does(seed: object) -> None:
    with pytest.raises(gymnasium.error.Error, match="seed"):
        ClickEnv("colored_dot_tracking").reset(seed=seed)  # type: ignore[arg-type]


def test_nothing_works_before_reset() -> None:
    for env in (ClickEnv("colored_dot_tracking", render_mode="rgb_array"),):
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(np.array([1, 2]))
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.render()
    with pytest.raises(gymnasium.error.ResetNeeded):
        ClickVectorEnv("colored_dot_tracking", 2).step(np.zeros((2, 2), int))


@pytest.mark.parametrize(
    "action", [[480, 0], [0, 360], [-1, 0], [1], [1, 2, 3], [0.5, 1.0], "click", None, [[1, 2]]]
)
def test_what_is_no_click_is_an_invalid_action(action: object) -> None:
    env = ClickEnv("colored_dot_tracking")
    env.reset(seed=1)
    with pytest.raises(gymnasium.error.InvalidAction):
        env.step(action)  # type: ignore[arg-type]
    env.step(np.array([1, 2], dtype=np.int16))
