"""Seconds of probes, from nothing and with activations on disk, and what they are spent on.

In the same run, the parts beside the plain way to do them: refits of the mistake probe beside a
loop over scikit-learn's, and gathering at [cls] beside TransformerLens's cache of every hook.

    python benchmarks/probes.py --out benchmarks/probes.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from report import add_outputs, give

from bcprobe.model.registry import NINE_TASK_CHECKPOINT

TASK = "colored_dot_tracking"

PROBE = """
import json, sys
from bcprobe.probes.protocol import run
found = run(*sys.argv[1:4], episodes=int(sys.argv[4]), progress=False)
loaded = sorted({"torch", "transformer_lens"} & set(sys.modules))
print(json.dumps({"steps": found.steps, "best": found.best.as_dict(), "loaded": loaded}))
"""
ACROSS = """
import json, sys
from bcprobe.model.registry import find_checkpoint, trained_tasks
from bcprobe.probes.protocol import run
tasks = trained_tasks(find_checkpoint(sys.argv[2]))
found = run(sys.argv[1], sys.argv[2], tasks, episodes=40)
loaded = sorted({"torch", "transformer_lens"} & set(sys.modules))
print(json.dumps({"rows": len(found.table()), "loaded": loaded}))
"""
REFITS = """
import json, sys, time
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from bcprobe.model.registry import find_checkpoint, trained_tasks
from bcprobe.probes.linear import C
from bcprobe.probes.logistic import fit_logistics
from bcprobe.activations.dataset import make_pool
from bcprobe.activations.gather import load_pool
pool = make_pool(sys.argv[1], trained_tasks(find_checkpoint(sys.argv[1])), 40)
site = pool.sources[0].sites[-1]
x, y, group = load_pool(pool, sys.argv[1], progress=False).arrays("mistake", site, None)
y = y.astype(bool)
rng = np.random.default_rng(0)
names, own = np.unique(group, return_inverse=True)
drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=int(sys.argv[2]))
counts = drawn[:, own].T.astype(np.float32)
began = time.process_time()
fits = fit_logistics(x, y, counts, C)
ours = time.process_time() - began
began = time.process_time()
plain = []
for draw in counts.T.astype(int):
    rows = np.repeat(np.arange(len(y)), draw)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    plain.append(model.fit(x[rows], y[rows]))
theirs = time.process_time() - began
gaps = [
    abs(roc_auc_score(y, fits.read(x, k)) - roc_auc_score(y, one.decision_function(x)))
    for k, one in enumerate(plain)
]
print(json.dumps({"rows": len(y), "fits": len(plain), "ours_s": ours, "plain_s": theirs,
                  "largest_auc_gap": max(gaps)}))
"""
GATHER = """
import json, sys, time
import torch
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.activations.extract import look, worked
from bcprobe.activations.sites import residual_sites
from bcprobe.rng import split_seed
torch.set_num_threads(1)
model = load_checkpoint(sys.argv[1])
episode, pixels = next(worked([split_seed("test", 0)], sys.argv[2]))
previous = torch.tensor([[(-1, -1), *[step.click for step in episode.steps[:-1]]]])
frames = torch.from_numpy(pixels).permute(0, 3, 1, 2)[None]
def plain():
    with torch.inference_mode():
        model(frames, previous)
def gathered():
    look(model, residual_sites(model.config), ("cls",), [(episode, pixels)], pixels, answers=False)
def everything():
    with torch.inference_mode():
        model.run_with_cache(frames, previous)
ways = {"plain": plain, "gathered": gathered, "everything": everything}
times = {name: [] for name in ways}
for _ in range(int(sys.argv[3])):
    for name, work in ways.items():
        began = time.process_time()
        work()
        times[name].append((time.process_time() - began) / len(episode))
print(json.dumps({name: min(values[1:]) for name, values in times.items()}))
"""


def timed(code: str, *arguments: object, **environment: str) -> tuple[dict[str, Any], float, float]:
    """What the code printed, its wall-clock seconds, and CPU seconds of it and its children."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    wall, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system
    cpu = used - before.children_user - before.children_system
    return json.loads(done.stdout), wall, cpu


def measure(checkpoint: str, nine: str, episodes: int, refits: int) -> dict[str, Any]:
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        one, all_of = (PROBE, "mistake", checkpoint, TASK, episodes), (ACROSS, "mistake", nine)
        for code, *arguments in (one, one, all_of, all_of):
            found, wall, cpu = timed(code, *arguments, BCPROBE_CACHE=folder)
            again = any(run["checkpoint"] == arguments[1] for run in runs)
            names = {"checkpoint": arguments[1], "stored": again}
            runs.append({**names, "wall_s": wall, "cpu_s": cpu, **found})
        fits, _, _ = timed(REFITS, nine, refits, BCPROBE_CACHE=folder, OMP_NUM_THREADS="1")
    passes, _, _ = timed(GATHER, checkpoint, TASK, 5)
    return {
        "episodes": episodes,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "runs": runs,
        "refits": {**fits, "speed_up": fits["plain_s"] / fits["ours_s"]},
        "pass_ms_per_frame": {name: 1e3 * value for name, value in passes.items()},
    }


def as_markdown(found: dict[str, Any]) -> str:
    passes, fits = found["pass_ms_per_frame"], found["refits"]
    lines = [
        "# Probes",
        "",
        "`python benchmarks/probes.py --out benchmarks/probes.md`",
        "",
        f"{found['cores']} cores, load {found['load']:.1f} at the end. The mistake probe of one "
        f"task ({found['episodes']} test episodes) and of all (40 of each): every layer, all "
        "controls, 1,000 draws of episodes; of all tasks also pooled, one left out, task by task, "
        "cosines.",
        "",
        "| checkpoint | activations | wall, s | CPU, s | loads |",
        "|---|---|---|---|---|",
    ]
    for run in found["runs"]:
        loaded = ", ".join(run["loaded"]) or "no torch"
        stored = "on disk" if run["stored"] else "none yet"
        seconds = f"{run['wall_s']:.1f} | {run['cpu_s']:.1f}"
        lines.append(f"| {run['checkpoint']} | {stored} | {seconds} | {loaded} |")
    gathered = passes["gathered"] / passes["plain"] - 1
    everything = passes["everything"] / passes["plain"] - 1
    lines += [
        "",
        f"{fits['fits']} refits of the pooled probe ({fits['rows']} rows, episodes drawn anew), "
        f"one core: {fits['ours_s']:.1f} s together, {fits['plain_s']:.1f} s one by one with "
        f"scikit-learn's StandardScaler and LogisticRegression: {fits['speed_up']:.1f} times as "
        f"fast. AUC differs by {fits['largest_auc_gap']:.1e} at most.",
        "",
        f"A forward pass takes {passes['plain']:.2f} ms of one core per frame; gathering every "
        f"residual site at [cls] costs {gathered:+.0%}, TransformerLens's cache of every hook "
        f"{everything:+.0%}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", default="dots-nano")
    parser.add_argument("--nine", default=NINE_TASK_CHECKPOINT, help="checkpoint of several tasks")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--refits", type=int, default=40)
    add_outputs(parser)
    options = parser.parse_args()
    found = measure(options.checkpoint, options.nine, options.episodes, options.refits)
    text = as_markdown(found)
    give(found, text, options)


if __name__ == "__main__":
    main()
