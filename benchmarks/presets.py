"""A training step of each preset: frames/s, MFU and peak memory, on a batch that lies there.

MFU is nan where the device's peak is not known. Each preset has a process of its own; the ratio
is to nano in the same run.

    python benchmarks/presets.py --rows 1 --row-length 20 --out benchmarks/presets.md
    python benchmarks/presets.py --device cuda --rows 16 --row-length 32
    python benchmarks/presets.py --presets nano --rows 4 --row-length 32 --compiled  # on a CPU
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does

import torch
from report import add_outputs, give
from training import device_name, finish

from bcprobe.experiments import nine_nano
from bcprobe.machine import keep_freed_memory, pick_device
from bcprobe.model.config import PRESETS, get_preset
from bcprobe.model.precision import pick_precision
from bcprobe.training.flops import peak_flops, step_flops
from bcprobe.training.run import MemoryFullError, Run
from bcprobe.training.stream import Position, Stream


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Speed, MFU and peak memory of a preset's step, after two that are not counted."""
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    device, model = pick_device(options.device), get_preset(options.one)
    shape = {"rows": options.rows, "row_length": options.row_length}
    plan = replace(nine_nano(), frames=1 << 30, model=model, **shape)
    more = {"weights": plan.weights, "cell": model.cell}
    with Stream(plan.data, plan.rows, plan.row_length, **more) as stream:
        batch = next(stream)[0].to(device)
    run = Run(plan, device, precision=pick_precision("auto", device))
    if options.compiled:
        run.forward.loss = torch.compile(run.forward.loss)
    for step in range(options.steps + 2):
        if step == 2:
            finish(device)
            began = time.perf_counter()
        run.learn(batch, Position(), 0.0)
    finish(device)
    taken = (time.perf_counter() - began) / options.steps
    return {
        "preset": f"{options.one}, compiled" if options.compiled else options.one,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "frames_per_second": plan.batch_frames / taken,
        "mfu": step_flops(model, plan.batch_frames) / taken / peak_flops(device_name(device)),
        "memory": torch.cuda.max_memory_allocated() if device.type == "cuda" else resident(),
    }


def resident() -> float:
    """Largest memory this process has held, bytes; on Linux it is counted in KiB."""
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def apart(name: str, options: argparse.Namespace, *, compiled: bool) -> dict[str, Any]:
    """`measure` of a preset in a process of its own."""
    command = [sys.executable, __file__, "--one", name]
    for key in ("device", "threads", "steps", "rows", "row_length"):
        command += [f"--{key.replace('_', '-')}", str(getattr(options, key))]
    command += ["--compiled"] if compiled else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"preset": name, "error": (done.stderr.strip() or "killed").splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def as_markdown(found: dict[str, Any], command: str) -> str:
    lines = [
        "# Presets",
        "",
        f"`{command}`",
        "",
        f"{found['device']}, torch {torch.__version__}, {found['threads']} threads, "
        f"load {found['load']:.1f} at the end.",
        "",
        "| preset | parameters, M | frames/s | of nano's | MFU | peak memory, GB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    first = found["presets"][0].get("frames_per_second", math.nan)
    for row in found["presets"]:
        if "error" in row:
            lines.append(f"| {row['preset']} | | {row['error']} | | | |")
            continue
        mfu = "nan" if math.isnan(row["mfu"]) else f"{row['mfu']:.1%}"
        lines.append(
            f"| {row['preset']} | {row['parameters'] / 1e6:.1f} "
            f"| {row['frames_per_second']:,.1f} | {row['frames_per_second'] / first:.3f} "
            f"| {mfu} | {row['memory'] / 1e9:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=PRESETS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="timed")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--row-length", type=int, default=20)
    parser.add_argument(
        "--compiled", action="store_true", help="each a second time, by torch.compile (a CPU)"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    add_outputs(parser)
    options = parser.parse_args()
    if options.one:
        try:
            return print(json.dumps(measure(options)))
        except MemoryFullError as error:
            raise SystemExit(str(error)) from error
    if options.compiled and options.device != "cpu":
        parser.error("--compiled is for a CPU; elsewhere every step is compiled")
    ways = (False, True) if options.compiled else (False,)
    found = {
        "device": device_name(torch.device(options.device)),
        "threads": options.threads,
        "presets": [apart(name, options, compiled=way) for name in options.presets for way in ways],
        "load": os.getloadavg()[0],
    }
    text = as_markdown(found, " ".join(["python", *sys.argv]))
    give(found, text, options)


if __name__ == "__main__":
    main()
