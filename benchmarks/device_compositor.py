"""Speed of the torch and Triton compositors on the device at hand against NumPy's on one core.

Display lists and images lie on the device already; the frames stay there.

    python benchmarks/device_compositor.py --out benchmarks/device_compositor.md
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
import torch
from report import add_outputs, give

from bcprobe.gui.compositor_torch import Painter, builds_triton
from bcprobe.gui.packing import pack
from bcprobe.tasks import TASKS
from bcprobe.training.batch import PackedRecordings, frame_buffer, screens_of
from bcprobe.training.shards import DataConfig, make_shard

FLOOR = 1_000_000


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


def rate(work: Callable[[], object], done: int, rounds: int, device: torch.device) -> float:
    """Median of what is done per second, warmed up, the device's work included."""

    def run() -> float:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    run()
    return done / statistics.median(run() for _ in range(rounds))


def painters(device: torch.device) -> tuple[Painter, ...]:
    """Those that work there; the last one is used by default."""
    return ("torch", "triton") if builds_triton(device) else ("torch",)


def measure(task: str, device: torch.device, frames: int, rounds: int) -> dict[str, float]:
    """Rates of a task: frames of each compositor, plans of the default one, new display lists."""
    start = time.process_time()
    recordings = list(make_shard(DataConfig((task,), ("original", "retro"), episodes=4), 0))
    made = time.process_time() - start
    sequence, cpu = PackedRecordings(recordings), torch.device("cpu")
    total = int(sequence.starts[-1])
    index = np.random.default_rng(0).integers(total, size=frames)
    few = index[None, : min(64, frames)]
    plain, out = frame_buffer(1, few.size), frame_buffer(1, frames, device=device)[0]
    found = {"numpy": rate(lambda: sequence.compose(few, plain), few.size, rounds, cpu)}
    for painter in painters(device):
        screens = screens_of(recordings, device, painter=painter)
        composed = partial(screens.compose, screens.plan(index), out)
        found[painter] = rate(composed, frames, rounds, device)
    displays = [display for recording in recordings for display in recording.displays]
    return {
        **found,
        "plans": rate(lambda: screens.plan(index), frames, rounds, device),
        "packed": rate(lambda: pack(displays), total, rounds, cpu),
        "pickled": rate(lambda: pickle.loads(pickle.dumps(displays)), total, rounds, cpu),
        "made": total / made,
        "layers": int(np.diff(screens.packed.starts)[index].max()),
    }


def as_cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def as_markdown(found: dict[str, Any], command: str) -> str:
    version = f", Triton {found['triton']}" if found["triton"] else ""
    lines = [
        "# Compositor on a device",
        "",
        f"`{command}`",
        "",
        f"torch {torch.__version__}{version} on {found['device']}, "
        f"{found['frames']} frames at once, "
        f"against NumPy on one core; floor on an H200: {FLOOR:,} frames/s. "
        f"Layers are the most sprites of a frame, plans those of the compositor used by default. "
        f"Rates are by the clock, display lists made by the process's own time, caches cold; "
        f"{os.cpu_count()} cores with a load average of {os.getloadavg()[0]:.1f}.",
        "",
        "| task | layers | NumPy, frames/s | torch, frames/s | Triton, frames/s | fastest on the "
        "device / NumPy | planned/s | packed/s | pickled and read/s "
        "| display lists made/s a core |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for task, row in found["tasks"].items():
        cells = [row["layers"], row["numpy"], row["torch"], row.get("triton")]
        more = [row["plans"], row["packed"], row["pickled"], row["made"]]
        ratio = f"{max(row['torch'], row.get('triton', 0)) / row['numpy']:.2f}"
        numbers = [*map(as_cell, cells), ratio, *map(as_cell, more)]
        lines.append(f"| {task} | " + " | ".join(numbers) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--frames", type=int, help="at once; 4096 on a GPU, 64 on the CPU")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    add_outputs(parser)
    options = parser.parse_args()
    device = torch.device(options.device)
    frames = options.frames or (4096 if device.type == "cuda" else 64)
    if device.type == "cpu":
        torch.set_num_threads(1)
    tasks = {task: measure(task, device, frames, options.rounds) for task in options.tasks}
    found = {"device": device_name(device), "frames": frames, "tasks": tasks}
    found["triton"] = metadata.version("triton") if builds_triton(device) else None
    text = as_markdown(found, " ".join(["python", *sys.argv]))
    give(found, text, options)


if __name__ == "__main__":
    main()
