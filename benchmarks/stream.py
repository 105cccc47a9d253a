"""What worker processes make: frames of display lists and targets a second, ready for a device.

Shards of all nine tasks are taken as fast as they come, as the trainer takes them, and nothing is
composed. The ratio is to the same shards made in one process without sending them. Recoveries are
made in one process too, shard by shard in turns with plain ones: all episodes disturbed, and a
quarter of them stored ones that a model worked.

    python benchmarks/stream.py --workers 1 2 --out benchmarks/stream.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import numpy as np
from report import add_outputs, give

from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import work
from bcprobe.episodes.store import write_episodes
from bcprobe.experiments import nine_small
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.rng import split_seed
from bcprobe.training.config import Experiment
from bcprobe.training.shards import make_shard, pack_displays
from bcprobe.training.stream import _Pool
from bcprobe.training.targets import make_targets
from bcprobe.training.worker import Request, Shard

#: Promised frames per second, by the number of cores.
FLOORS = {16: 40_000, 2: 4_000}
#: Stored episodes of each task.
VISITED = 4


def make(plan: Experiment, number: int) -> Shard:
    """A shard as a worker makes it."""
    recordings = list(make_shard(plan.data, number))
    targets = make_targets(recordings, plan.weights, plan.model.cell)
    return Shard(recordings, targets, pack_displays(recordings))


def frames_of(shard: Shard) -> int:
    return sum(map(len, shard.recordings))


def here(plan: Experiment, shards: int) -> float:
    """Frames per second of this process, after a shard that is not counted."""
    make(plan, 0)
    began = time.process_time()
    made = sum(frames_of(make(plan, number)) for number in range(1, shards + 1))
    return made / (time.process_time() - began)


def recoveries(plan: Experiment, shards: int) -> dict[str, float]:
    """Frames per second of this process's own time for each kind of shard."""
    with tempfile.TemporaryDirectory() as folder:
        seeds = [split_seed("train", (1 << 30) + place) for place in range(VISITED)]
        policy = ModelPolicy(load_checkpoint("nine-nano-longer"), 1.0)
        known = {"origin": "model", "max_steps": 100}
        tasks = plan.data.tasks
        stored = [one for task in tasks for one in work(policy, task, seeds, **known)]
        write_episodes(
            [stored[i] for i in np.random.default_rng(0).permutation(len(stored))], folder
        )
        data = {
            "plain": plan.data,
            "disturbed": replace(plan.data, disturbed=1.0),
            "visited": replace(plan.data, visited=folder, share=0.25),
        }
        frames, seconds = dict.fromkeys(data, 0), dict.fromkeys(data, 0.0)
        for number in range(shards + 1):
            for kind, config in data.items():
                began = time.process_time()
                made = frames_of(make(replace(plan, data=config), number))
                if number:  # the first is not counted
                    frames[kind] += made
                    seconds[kind] += time.process_time() - began
    return {kind: frames[kind] / seconds[kind] for kind in data}


def by_workers(plan: Experiment, workers: int, shards: int) -> float:
    """Frames per second of so many workers, by the clock, after each one's first shard."""
    pool = _Pool(plan.data, workers, 0, Request(plan.weights, plan.model.cell, packs=True))
    try:
        times, made = [], []
        for number in range(workers * (shards + 1)):
            while not pool.ready(number):
                pass
            made.append(frames_of(pool.take(number)))
            times.append(time.perf_counter())
        return float(np.sum(made[workers:]) / (times[-1] - times[workers - 1]))
    finally:
        pool.close()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    plan = nine_small()
    alone = here(plan, options.shards)
    rates = {n: by_workers(plan, n, options.shards) for n in options.workers}
    kinds = recoveries(plan, options.shards)
    return {"alone": alone, "workers": rates, "shards": options.shards, "kinds": kinds}


def as_markdown(found: dict[str, Any], command: str) -> str:
    lines = [
        "# Workers",
        "",
        f"`{command}`",
        "",
        f"Nine tasks, {found['shards']} shards of {nine_small().data.episodes} episodes a worker; "
        f"one process without sending them: {found['alone']:,.0f} frames/s of its own time. "
        + "; ".join(f"promised from {n} cores: {rate:,}" for n, rate in FLOORS.items())
        + " frames/s.",
        "",
        "| workers | frames/s | of one process alone |",
        "|---:|---:|---:|",
    ]
    for workers, rate in found["workers"].items():
        lines.append(f"| {workers} | {rate:,.0f} | {rate / found['alone']:.2f} |")
    plain = found["kinds"]["plain"]
    lines += ["", "| shards | frames/s of its own time | of plain |", "|---|---:|---:|"]
    lines += [f"| {k} | {rate:,.0f} | {rate / plain:.2f} |" for k, rate in found["kinds"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shards", type=int, default=3, help="of each worker, counted")
    add_outputs(parser)
    options = parser.parse_args()
    found = measure(options)
    text = as_markdown(found, " ".join(["python", *sys.argv]))
    give(found, text, options)


if __name__ == "__main__":
    main()
