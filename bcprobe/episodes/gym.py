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
from gymnasium.error import Error, InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from bcprobe.episodes.record import MAX_STEPS, open_world
from bcprobe.episodes.simulator import Simulator
from bcprobe.errors import InputError
from bcprobe.rng import check_seed
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
        self.simulator: Simulator | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Pixels, dict[str, Any]]:
        """The opening screen of a world."""
        seed = plain_seed(seed)
        super().reset(seed=seed)
        self.world_seed = int(self.np_random.integers(SEEDS)) if seed is None else seed
        task, layout, difficulty = self.names
        self.simulator = open_world(task, self.world_seed, layout, difficulty)
        self.score = 0.0
        return self.simulator.screen(), _info(self.simulator, self.world_seed)

    def step(
        self, action: NDArray[np.int64]
    ) -> tuple[Pixels, SupportsFloat, bool, bool, dict[str, Any]]:
        """Click at ``action`` (x, y). Raises `ResetNeeded` before `reset`, `InvalidAction`."""
        simulator = self._opened("step")
        step = simulator.click(_click(action))
        info = _info(simulator, self.world_seed)
        info |= {"widget": step.widget, "action": step.action, "valid": step.valid}
        reward, self.score = info["score"] - self.score, info["score"]
        return simulator.screen(), reward, simulator.done, False, info

    def render(self) -> Pixels | None:
        """The screen, if ``render_mode`` is ``rgb_array``. Raises `ResetNeeded` before `reset`."""
        simulator = self._opened("render")
        return simulator.screen() if self.render_mode == "rgb_array" else None

    def _opened(self, what: str) -> Simulator:
        if self.simulator is None:
            raise ResetNeeded(f"{what} before reset: no world is open")
        return self.simulator


def plain_seed(seed: object) -> int | None:
    """A seed as a plain integer. Raises Gymnasium's `Error` if it is none, or out of range."""
    try:
        return None if seed is None else check_seed(seed)
    except InputError as error:
        raise Error(str(error)) from None


def _click(action: Any) -> Click:
    """The click that an action is. Raises `InvalidAction` unless it is (x, y) on the screen."""
    found = np.asarray(action)
    whole = found.dtype.kind in "iu" and found.shape == (2,)
    if not whole or not (0 <= found[0] < SCREEN_WIDTH and 0 <= found[1] < SCREEN_HEIGHT):
        raise InvalidAction(
            f"action {action!r} is no click: two whole numbers, 0 to {SCREEN_WIDTH - 1} and 0 to "
            f"{SCREEN_HEIGHT - 1}"
        )
    return Click(int(found[0]), int(found[1]))


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
        self.screens = np.zeros(self.observation_space.shape, np.uint8)
        self.ended = np.zeros(num_envs, dtype=bool)
        self.clicks = np.zeros(num_envs, dtype=np.int64)

    def _seeds(self, seed: Any) -> list[int | None]:
        """A seed for each world."""
        if seed is None or isinstance(seed, (int, np.integer)):
            first = plain_seed(seed)
            return [None if first is None else first + i for i in range(self.num_envs)]
        seeds = [plain_seed(one) for one in seed]
        if len(seeds) != self.num_envs:
            raise Error(f"{len(seeds)} seeds for {self.num_envs} environments")
        return seeds

    def _mask(self, mask: Any) -> NDArray[np.bool_]:
        """Which worlds are to be opened."""
        if mask is None:
            return np.ones(self.num_envs, dtype=bool)
        found = np.asarray(mask)
        if found.dtype != bool or found.shape != (self.num_envs,):
            raise Error(f"reset_mask is not bool [{self.num_envs}]")
        if any(env.simulator is None for env, own in zip(self.envs, found, strict=True) if not own):
            raise ResetNeeded("reset_mask leaves a world out that was never opened")
        return found

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Pixels, dict[str, Any]]:
        """Opening screens uint8 [env, 360, 480, 3].

        ``options={"reset_mask": bool [env]}`` opens only the worlds marked; the others go on.
        Raises Gymnasium's `Error` for seeds, or a mask, that do not fit.
        """
        seeds, chosen = self._seeds(seed), self._mask((options or {}).get("reset_mask"))
        infos: dict[str, Any] = {}
        for i, env in enumerate(self.envs):
            if not chosen[i]:
                continue
            self.ended[i], self.clicks[i] = False, 0
            self.screens[i], info = env.reset(seed=seeds[i])
            infos = self._add_info(infos, info, i)
        return self.screens.copy(), infos

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Pixels, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Click at ``actions`` int [env, 2]; worlds that had ended open anew instead."""
        if any(env.simulator is None for env in self.envs):
            raise ResetNeeded("step before reset: no world is open")
        if len(actions) != self.num_envs:
            raise InvalidAction(f"{len(actions)} actions for {self.num_envs} environments")
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
