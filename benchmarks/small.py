"""What `small` costs on one core: full pass, step of the closed loop, encoder; bf16 and fp32.

Each beside the way it was computed before, in one run and by processor time, so that what else
runs on the machine counts little; and how far the clicks agree.

    python benchmarks/small.py --out benchmarks/small.md
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from report import add_outputs, give
from torch import Tensor

from bcprobe.episodes.record import generate
from bcprobe.episodes.sequences import PackedEpisodes, in_batches, predict
from bcprobe.model import attention
from bcprobe.model.attention import KeyValues
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.precision import cpu_multiplies_bf16, products_in
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed
from bcprobe.tasks import TRAINING_TASKS

CPU = torch.device("cpu")
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@contextmanager
def masked() -> Iterator[None]:
    """Attention of packed sequences over bands with a mask, as before."""
    before, attention.SPAN_TOKENS = attention.SPAN_TOKENS, 10**9
    try:
        yield
    finally:
        attention.SPAN_TOKENS = before


def seconds(work: Callable[[], Any], rounds: int) -> float:
    """Least processor time of some rounds, after one to warm up."""
    work()
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


class Measured:
    """A model and some frames, each way of computing, in ms of processor time a frame."""

    def __init__(self, model: ClickTransformer, options: argparse.Namespace) -> None:
        self.model, self.rounds, self.steps = model, options.rounds, options.steps
        episodes = [generate(task, split_seed("test", 0)) for task in TRAINING_TASKS]
        self.sequences = [PackedEpisodes(batch) for batch in in_batches(episodes, len)][
            : options.sequences
        ]
        self.frames, self.previous, self.segments = self.sequences[0].as_tensors()
        self.worlds = options.worlds
        with torch.inference_mode():
            self.seen = model.encoder.see(self.frames[0])[None]

    def full(self) -> float:
        count = self.frames.shape[1]
        return 1e3 * seconds(self._full, self.rounds) / count

    def _full(self) -> Any:
        return self.model(self.seen, self.previous, self.segments)

    def encode(self) -> float:
        frames = self.frames[0, :32]
        return 1e3 * seconds(lambda: self.model.encoder.see(frames), self.rounds) / len(frames)

    def step(self, ring: bool) -> float:
        work = seconds(lambda: self._steps(ring), self.rounds)
        return 1e3 * work / (self.worlds * self.steps)

    def _steps(self, ring: bool) -> None:
        cache = self.model.start_cache()
        if not ring:
            cache.layers = [KeyValues() for _ in cache.layers]
        for t in range(self.steps):
            seen = self.seen[0, t : t + 1].expand(self.worlds, -1, -1).contiguous()
            self.model.step(seen, self.previous[0, t : t + 1].expand(self.worlds, -1), cache)


def measure(model: ClickTransformer, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Ms of processor time a frame, by what is computed and how."""
    found: dict[str, dict[str, float]] = {"full": {}, "step": {}, "encode": {}}
    with torch.inference_mode():
        measured = Measured(model, options)
        for name, dtype in TYPES.items():
            with products_in(dtype, CPU):
                with masked():
                    found["full"][f"{name}, masked"] = measured.full()
                found["full"][f"{name}, frame by frame"] = measured.full()
                found["step"][f"{name}, copied"] = measured.step(ring=False)
                found["step"][f"{name}, ring"] = measured.step(ring=True)
                found["encode"][name] = measured.encode()
    return found | {"agreement": agreement(model, measured.sequences)}


def agreement(model: ClickTransformer, sequences: list[PackedEpisodes]) -> dict[str, float]:
    """How far the two types agree, on annotators' episodes."""
    clicks: dict[str, list[np.ndarray]] = {name: [] for name in TYPES}
    nll: dict[str, list[np.ndarray]] = {name: [] for name in TYPES}
    still, total = 0, 0
    for sequence in sequences:
        frames, previous, segments = sequence.as_tensors()
        targets = torch.from_numpy(sequence.clicks)[None]
        for name, dtype in TYPES.items():
            with products_in(dtype, CPU):
                made = predict(model, frames, previous, targets, segments)
            clicks[name].append(made.clicks[0])
            nll[name].append(made.nll[0])
        changed = patches_changed(frames[0], model.config.patch)
        still, total = still + int((~changed).sum()), total + changed.numel()
    a, b = (np.concatenate(clicks[name]) for name in TYPES)
    apart = np.hypot(*(a - b).T)
    difference = np.abs(np.concatenate(nll["fp32"]) - np.concatenate(nll["bf16"]))
    return {
        "frames": len(a),
        "same pixel": float((apart == 0).mean()),
        "within 2 px": float((apart <= 2).mean()),
        "within 5 px": float((apart <= 5).mean()),
        "nll, mean difference": float(difference.mean()),
        "patches as in the frame before": still / total,
    }


def patches_changed(frames: Tensor, patch: tuple[int, int]) -> Tensor:
    """Whether each patch differs from the frame before: bool [frame - 1, rows, columns]."""
    differs = (frames[1:] != frames[:-1]).any(1)  # (n, 360, 480)
    return differs.unflatten(2, (-1, patch[0])).unflatten(1, (-1, patch[1])).any(4).any(2)


def text(found: dict[str, dict[str, float]], options: argparse.Namespace) -> str:
    """Markdown of the result."""
    titles = {
        "full": "Full pass over packed episodes (encoder apart)",
        "step": f"A step of the closed loop, {options.worlds} worlds (encoder apart)",
        "encode": "Encoder",
    }
    lines = [
        f"# {options.checkpoint} on one core\n",
        f"`python benchmarks/small.py --checkpoint {options.checkpoint}`\n",
        f"Processor time of one thread, {platform.machine()}, torch {torch.__version__}; the "
        f"processor {'multiplies' if cpu_multiplies_bf16() else 'does not multiply'} bfloat16 "
        "itself. The first row of each table is how it was computed before.",
    ]
    for part, title in titles.items():
        rows = found[part]
        first = next(iter(rows.values()))
        lines += [f"\n## {title}\n", "| | ms a frame | x |", "|---|---:|---:|"]
        lines += [f"| {name} | {ms:.1f} | {first / ms:.2f} |" for name, ms in rows.items()]
    same = found["agreement"]
    lines.append(
        f"\nOn {same['frames']:,.0f} frames of annotators' episodes of nine tasks the most "
        f"probable click in bf16 is the same pixel as in fp32 at {same['same pixel']:.1%}, within "
        f"2 px at {same['within 2 px']:.1%}, within 5 px at {same['within 5 px']:.1%}; the "
        "log-probability of the annotator's click differs by "
        f"{same['nll, mean difference']:.3f} nats on average.\n"
    )
    share = same["patches as in the frame before"]
    full, encode = found["step"]["bf16, ring"], found["encode"]["bf16"]
    lines.append(
        f"{share:.0%} of a screen's patches are those of the frame before. Keeping their "
        f"embeddings could save at most {share:.0%} of the encoder's part, which is "
        f"{encode / (encode + full):.0%} of a step in bf16 with the ring: "
        f"{share * encode / (encode + full):.0%} of the step. It is not done; whole screens seen "
        "before are kept already (`bcprobe.episodes.embedding_cache`)."
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="nine-small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worlds", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sequences", type=int, default=4)
    add_outputs(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(load_checkpoint(options.checkpoint), options)
    give(found, text(found, options), options)


if __name__ == "__main__":
    main()
