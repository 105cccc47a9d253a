"""The worlds as Gymnasium environments; importing this module registers them.

``gymnasium.make("bcprobe/ColoredDotTracking-v0")`` for one world at a time, and
``gymnasium.make_vec("bcprobe/ColoredDotTracking-v0", num_envs=8)`` for many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from bcprobe.episodes.record import MAX_STEPS, open_world
from bcprobe.episodes.simulator import Simulator
from bcprobe.tasks import TASKS
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Click

Pixels = NDArray[np.uint8]
#: World seeds that a reset without a seed draws from, 0 to this.
SEEDS = 1 << 31


def _spaces() -> tuple[spaces.Box, spaces.MultiDiscrete]:
    """The screen uint8 [360, 480, 3], and a click (x, y) in px."""
    screen = spaces.Box(0, 255, (SCREEN_HEIGHT, SCREEN_WIDTH, 3), np.uint8)
    return screen, spaces.MultiDiscrete([SCREEN_WIDTH, SCREEN_HEIGHT])


def _info(simulator: Simulator, world_seed: int) -> dict[str, Any]:
    """What is true of the state shown: its latents (no angles where none are), score, seed."""
    found = asdict(simulator.task.latents(simulator.world, simulator.state))
    latents = {name: value for name, value in found.items() if value == value}
    outcome = simulator.task.score(simulator.world, simulator.state)
    return {
        **latents,
        "score": outcome.score,
        "success": outcome.success,
        "world_seed": world_seed,
    }


class ClickEnv(gymnasium.Env[Pixels, NDArray[np.int64]]):
    """One world at a time. The reward is the gain in score; Done ends the episode.

    ``reset(seed=n)`` opens world n, the one `bcprobe.episodes.record.generate` works for that
    seed; a reset without a seed draws one. ``info`` holds the latents of the state shown,
    its score and success, and after a click what it hit (``widget``, ``action``, ``valid``).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self,
        task: str,
        layout: str = "original",
        difficulty: str = "default",
        render_mode: str | None = None,
    ) -> None:
        self.names = (task, layout, difficulty)
        self.render_mode = render_mode
        self.observation_space, self.action_space = _spaces()
        self.world_seed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Pixels, dict[str, Any]]:
        """The opening screen of a world."""
        super().reset(seed=seed)
        self.world_seed = int(self.np_random.integers(SEEDS)) if seed is None else seed
        task, layout, difficulty = self.names
        self.simulator = open_world(task, self.world_seed, layout, difficulty)
        self.score = 0.0
        return self.simulator.screen(), _info(self.simulator, self.world_seed)

    def step(
        self, action: NDArray[np.int64]
    ) -> tuple[Pixels, SupportsFloat, bool, bool, dict[str, Any]]:
        """Click at ``action`` (x, y)."""
        step = self.simulator.click(Click(int(action[0]), int(action[1])))
        info = _info(self.simulator, self.world_seed)
        info |= {"widget": step.widget, "action": step.action, "valid": step.valid}
        reward, self.score = info["score"] - self.score, info["score"]
        return self.simulator.screen(), reward, self.simulator.done, False, info

    def render(self) -> Pixels | None:
        """The screen, if ``render_mode`` is ``rgb_array``."""
        return self.simulator.screen() if self.render_mode == "rgb_array" else None


class ClickVectorEnv(VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """Many worlds side by side, composed into one array; see `ClickEnv`.

    ``reset(seed=n)`` opens worlds n, n + 1, ...; a list gives each its own. A world that is
    done, or worked for ``max_episode_steps`` clicks, gives way to a new one at the next step.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        max_episode_steps: int = MAX_STEPS,
        render_mode: str | None = None,
        **settings: str,
    ) -> None:
        self.num_envs, self.max_episode_steps = num_envs, max_episode_steps
        self.render_mode = render_mode
        self.envs = [ClickEnv(task, **settings) for _ in range(num_envs)]
        self.single_observation_space, self.single_action_space = _spaces()
        self.observation_space = gymnasium.vector.utils.batch_space(
            self.single_observation_space, num_envs
        )
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Pixels, dict[str, Any]]:
        """Opening screens uint8 [env, 360, 480, 3]."""
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        self.screens = np.empty(self.observation_space.shape, np.uint8)
        self.ended = np.zeros(self.num_envs, dtype=bool)
        self.clicks = np.zeros(self.num_envs, dtype=np.int64)
        infos: dict[str, Any] = {}
        for i, env in enumerate(self.envs):
            self.screens[i], info = env.reset(seed=seeds[i] if seeds is not None else None)
            infos = self._add_info(infos, info, i)
        return self.screens.copy(), infos

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Pixels, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Click at ``actions`` int [env, 2]; worlds that had ended open anew instead."""
        rewards = np.zeros(self.num_envs)
        done, late = np.zeros_like(self.ended), np.zeros_like(self.ended)
        infos: dict[str, Any] = {}
        for i, env in enumerate(self.envs):
            if self.ended[i]:
                self.clicks[i] = 0
                self.screens[i], info = env.reset()
            else:
                self.clicks[i] += 1
                self.screens[i], rewards[i], done[i], _, info = env.step(actions[i])
                late[i] = not done[i] and self.clicks[i] >= self.max_episode_steps
            infos = self._add_info(infos, info, i)
        self.ended = done | late
        return self.screens.copy(), rewards, done, late, infos

    def render(self) -> tuple[Pixels, ...] | None:
        """The screens, if ``render_mode`` is ``rgb_array``."""
        return tuple(self.screens) if self.render_mode == "rgb_array" else None


def environment_id(task: str) -> str:
    """Gymnasium's name of a task: ``bcprobe/ColoredDotTracking-v0``."""
    return f"bcprobe/{''.join(part.capitalize() for part in task.split('_'))}-v0"


for _task in TASKS:
    gymnasium.register(
        environment_id(_task),
        entry_point="bcprobe.episodes.gym:ClickEnv",
        vector_entry_point="bcprobe.episodes.gym:ClickVectorEnv",
        max_episode_steps=MAX_STEPS,
        kwargs={"task": _task},
    )
