"""Long runs: nothing raises, nothing grows, and two at once do not disturb each other.

``make soak`` runs these and the kills of `tests/training/test_kills.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bcprobe.episodes.record import open_world
from bcprobe.rng import generator
from bcprobe.tasks import TASKS
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Click

pytestmark = pytest.mark.slow
#: Random clicks at each of ten tasks, in parts whose seeds are their names: 1,000,000 in all.
CLICKS, PARTS = 100_000, 4


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("task", list(TASKS))
def test_random_clicks_never_raise(task: str, part: int) -> None:
    rng = generator("soak", task, part)
    for number in range(CLICKS // PARTS):
        if number % 1000 == 0:
            world = open_world(task, int(rng.integers(1 << 40)))
            simulator, buttons = world.again(), world.arrangement.buttons
        elif simulator.done:
            simulator = world.again()
        if rng.random() < 0.5:  # random places seldom hit a button
            rect = buttons[rng.integers(len(buttons))]
            x, y = rect.x + rng.integers(rect.width), rect.y + rng.integers(rect.height)
        else:
            x, y = rng.integers(SCREEN_WIDTH), rng.integers(SCREEN_HEIGHT)
        simulator.click(Click(int(x), int(y)))
        if number % 50 == 0:
            assert 0 <= simulator.task.score(simulator.world, simulator.state).score <= 1
            assert 0 <= simulator.task.latents(simulator.world, simulator.state).progress <= 1
        if number % 500 == 0:
            assert simulator.screen().shape == (SCREEN_HEIGHT, SCREEN_WIDTH, 3)


def resident() -> int:
    """Bytes of memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
def test_many_steps_and_resets_do_not_grow() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    import bcprobe.episodes.gym  # noqa: F401

    many = gymnasium.make_vec("bcprobe/3dExplorationClassification-v0", num_envs=4)
    rng = np.random.default_rng(0)

    def work(resets: int, steps: int) -> None:
        for number in range(resets):
            many.reset(seed=number)
            for _ in range(steps):
                many.step(rng.integers((SCREEN_WIDTH, SCREEN_HEIGHT), size=(4, 2)))

    work(20, 50)
    before = resident()
    work(100, 50)  # 20,000 steps; the images of the 400 worlds are 2 GB
    assert resident() - before < 40 * 1024**2


def test_two_probes_at_once_on_a_cold_cache_give_equal_tables(tmp_path: Path) -> None:
    arguments = ["probe", "--checkpoint", "dots-nano", "--episodes", "12", "--json"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "bcprobe.cli", *arguments],
            env={**os.environ, "BCPROBE_CACHE": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    first, second = (json.loads(one.communicate()[0])["scores"] for one in running)
    assert first == second
    assert len(first) > 5
