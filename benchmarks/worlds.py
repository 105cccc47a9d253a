"""Speed of every world on one core: composed frames, new episodes, simulator steps.

Each rate stands beside one of the same run: frames beside bare copies of a screen's bytes,
episodes and steps beside those of colored dots.

    python benchmarks/worlds.py --out benchmarks/worlds.md
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
from report import add_outputs, give

from bcprobe.episodes.record import display_lists, generate, open_world
from bcprobe.episodes.simulator import Simulator
from bcprobe.gui.compositor import compose
from bcprobe.tasks import TASKS
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

DOTS = "colored_dot_tracking"
#: Promised per second on one core.
FLOORS = {"frames": 8_000, "episodes": 15, "steps": 20_000}


def rate(work: Callable[[], int], rounds: int) -> float:
    """Median of what ``work`` gets done per second of the process's own time, warmed up."""
    work()
    found = []
    for _ in range(rounds):
        start = time.process_time()
        done = work()
        found.append(done / (time.process_time() - start))
    return float(np.median(found))


def frame_rate(task: str, episodes: int, rounds: int) -> float:
    """Composed frames per second over whole episodes, display lists at hand."""
    shown = [display_lists(generate(task, seed)) for seed in range(episodes)]
    out = np.zeros((16, SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)

    def work() -> int:
        count = 0
        for images, displays in shown:
            for display in displays:
                compose(display, images, out[count % 16])
                count += 1
        return count

    return rate(work, rounds)


def episode_rate(task: str, episodes: int, rounds: int) -> float:
    """New episodes per second: world, annotator, latents; no pixels."""
    seeds = iter(range(10**9))

    def work() -> int:
        for _ in range(episodes):
            generate(task, next(seeds))
        return episodes

    return rate(work, rounds)


def step_rate(task: str, episodes: int, rounds: int) -> float:
    """Simulator steps per second along recorded clicks, with latents; no pixels, no annotator."""
    recorded = [generate(task, seed) for seed in range(episodes)]
    worlds = [open_world(task, episode.world_seed) for episode in recorded]

    def work() -> int:
        for episode, opened in zip(recorded, worlds, strict=True):
            simulator = Simulator(opened.task, opened.world)
            for step in episode.steps:
                simulator.click(step.click)
        return sum(map(len, recorded))

    return rate(work, rounds)


def copy_rate(rounds: int) -> float:
    """Bare copies of a screen's bytes per second."""
    source = np.zeros((SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)
    out = np.zeros((16, *source.shape), dtype=np.uint8)

    def work() -> int:
        for number in range(512):
            np.copyto(out[number % 16], source)
        return 512

    return rate(work, rounds)


def measure(tasks: list[str], episodes: int, rounds: int) -> dict[str, dict[str, float]]:
    """Rates per second by task, and ``copies`` of a whole screen."""
    found = {
        task: {
            "frames": frame_rate(task, episodes, rounds),
            "episodes": episode_rate(task, episodes, rounds),
            "steps": step_rate(task, episodes, rounds),
        }
        for task in tasks
    }
    return {"copies": {"frames": copy_rate(rounds)}, **found}


def as_markdown(found: dict[str, dict[str, float]], command: str) -> str:
    copies, dots = found["copies"]["frames"], found[DOTS]
    lines = [
        "# Worlds on one core\n",
        f"`{command}` on {platform.processor() or platform.machine()}, "
        f"Python {platform.python_version()}.\n",
        "Rates per second of the process's own time. `x` is the ratio to the bare copy of a",
        f"screen ({copies:,.0f}/s) for frames, and to colored dots for the others.\n",
        "| task | frames | x | new episodes | x | steps | x |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in list(found)[1:]:
        row = found[task]
        lines.append(
            f"| {task} | {row['frames']:,.0f} | {row['frames'] / copies:.2f} "
            f"| {row['episodes']:,.0f} | {row['episodes'] / dots['episodes']:.2f} "
            f"| {row['steps']:,.0f} | {row['steps'] / dots['steps']:.2f} |"
        )
    floors = ", ".join(f"{floor:,} {name}" for name, floor in FLOORS.items())
    return "\n".join([*lines, f"\nPromised: at least {floors}.\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--task", nargs="*", default=list(TASKS), choices=list(TASKS))
    add_outputs(parser)
    options = parser.parse_args()
    tasks = list(dict.fromkeys([DOTS, *options.task]))
    found = measure(tasks, options.episodes, options.rounds)
    text = as_markdown(found, f"python benchmarks/worlds.py --episodes {options.episodes}")
    give(found, text, options)


if __name__ == "__main__":
    main()
