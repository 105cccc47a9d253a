"""Clicks per second of a model at work on its own: batched, with a ring of keys and values.

Beside it the same model run plainly, one world at a time, the whole window computed again for
every click; all in one run, on the same worlds, and checked to make the same clicks.

    python benchmarks/closed_loop.py --out benchmarks/closed_loop.md
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from report import add_outputs, give

from bcprobe.episodes.embedding_cache import EmbeddingCache
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import open_world, work
from bcprobe.episodes.simulator import Clicker, Simulator
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import DEFAULT_CHECKPOINT, trained_tasks
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed
from bcprobe.types import Click

Clicks = list[list[Click]]


class PlainClicker:
    """Shows the model the last ``window`` frames anew for every click."""

    def __init__(self, model: ClickTransformer, window: int) -> None:
        self.model, self.window = model, window

    def start(self, simulators: Sequence[Simulator]) -> None:
        """Take one world."""
        (self.simulator,) = simulators
        self.frames: deque[torch.Tensor] = deque(maxlen=self.window)
        self.previous: deque[tuple[int, int]] = deque(maxlen=self.window)

    @torch.inference_mode()
    def act(self, live: Sequence[int]) -> list[Click]:
        """The most probable click."""
        history = self.simulator.history
        self.frames.append(torch.from_numpy(self.simulator.screen()).permute(2, 0, 1))
        self.previous.append(history[-1].click if history else (-1, -1))
        seen = torch.stack(list(self.frames))[None]
        clicks = self.model(seen, torch.tensor([list(self.previous)]))
        x, y = clicks.argmax()[0, -1].tolist()
        return [Click(x, y)]


def clicks_of(clicker: Clicker, opened: Sequence[Simulator], steps: int) -> Clicks:
    """Clicks in each world, up to so many."""
    seeds = range(len(opened))
    task = opened[0].task.name
    worked = work(clicker, task, seeds, origin="model", max_steps=steps, opened=opened)
    return [[step.click for step in episode.steps] for episode in worked]


def sides(
    model: ClickTransformer, opened: Sequence[Simulator], steps: int, few: int
) -> dict[str, Callable[[], Clicks]]:
    """What is compared: name -> the clicks it makes; the plain ones work ``few`` worlds."""
    reach = model.config.reach

    def plainly(window: int) -> Clicks:
        clicker = PlainClicker(model, window)
        return [clicks for one in opened[:few] for clicks in clicks_of(clicker, [one], steps)]

    def batched(**options: Any) -> Clicks:
        return clicks_of(ModelPolicy(model, **options), opened, steps)

    return {
        f"plain, {reach} frames again": lambda: plainly(reach),
        f"plain, {model.config.context} frames again": lambda: plainly(model.config.context),
        "batched, ring": batched,
        "and screens kept": lambda: batched(
            embeddings=EmbeddingCache(model.encoder.see, model.device)
        ),
        "and loops seen": lambda: batched(
            embeddings=EmbeddingCache(model.encoder.see, model.device), reach=reach
        ),
    }


def measure(checkpoint: str, task: str | None, worlds: int, steps: int, rounds: int) -> Any:
    """Median clicks per second of each side, by the clock and by the process's own time."""
    model = load_checkpoint(checkpoint)
    task = task or (trained_tasks(model.folder) or ("colored_dot_tracking",))[0]
    opened = [open_world(task, split_seed("test", number)) for number in range(worlds)]
    for one in opened:
        one.screen()
    few = max(1, worlds // 10)
    compared = sides(model, opened, steps, few)
    made: dict[str, Clicks] = {}
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in compared}
    for _ in range(rounds):
        for name, make in compared.items():
            began, used = time.perf_counter(), time.process_time()
            made[name] = make()
            count = sum(map(len, made[name]))
            spent = time.perf_counter() - began, time.process_time() - used
            rates[name].append((count / spent[0], count / spent[1]))
    exact = next(iter(compared))
    return {
        "checkpoint": checkpoint,
        "task": task,
        "worlds": worlds,
        "plain_worlds": few,
        "steps": steps,
        "clicks": sum(map(len, made["batched, ring"])),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "rates": {
            name: dict(zip(("wall", "cpu"), np.median(found, axis=0).tolist(), strict=True))
            for name, found in rates.items()
        },
        "same_clicks": {name: made[name][:few] == made[exact] for name in compared},
    }


def as_markdown(found: dict[str, Any], command: str) -> str:
    plain = next(iter(found["rates"].values()))
    lines = [
        "# Closed loop\n",
        f"`{command}`\n",
        f"{found['checkpoint']} at T = 0 on {found['worlds']} worlds of {found['task']}, at most "
        f"{found['steps']} clicks each ({found['clicks']:,} in all; the plain sides work "
        f"{found['plain_worlds']} of the worlds). {platform.machine()}, torch "
        f"{torch.__version__}, {found['threads']} thread(s), load "
        f"{found['load']:.1f} at the end.\n",
        "| | clicks/s | x | clicks/s of processor time | x | same clicks |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, rate in found["rates"].items():
        same = "yes" if found["same_clicks"][name] else "no"
        lines.append(
            f"| {name} | {rate['wall']:,.0f} | {rate['wall'] / plain['wall']:.1f} | "
            f"{rate['cpu']:,.0f} | {rate['cpu'] / plain['cpu']:.1f} | {same} |"
        )
    lines.append(
        "\nAn answer depends on as many last frames as the first plain side computes again; the "
        "second cuts that to the frames one layer attends to, which is another model. `screens "
        "kept`: a state seen before is neither drawn nor encoded again. `loops seen`: a world "
        "that repeats itself for ever is not looked at any more. `bcprobe evaluate` does both."
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--task", help="default: the first it was trained on")
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    add_outputs(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = measure(options.checkpoint, options.task, options.worlds, options.steps, options.rounds)
    command = (
        f"python benchmarks/closed_loop.py --worlds {options.worlds} --steps {options.steps} "
        f"--rounds {options.rounds}"
    )
    give(found, as_markdown(found, command), options)


if __name__ == "__main__":
    main()
