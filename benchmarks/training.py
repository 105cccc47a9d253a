"""Speed of training: our step and stream against the same network written plainly.

The plain one is what a tutorial would give: frames as PNG files decoded by a DataLoader,
``Conv2d`` on float pixels, eager scaled_dot_product_attention under a dense mask over the
whole row, all in float32. Both give the same loss, which is checked before anything is timed. Our
step runs as `bcprobe train` runs it here, and once more in float32.

    python benchmarks/training.py --threads 2 --out benchmarks/training.md
    python benchmarks/training.py --device cuda --experiment nine-base --workers 14
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does, for both sides

import numpy as np
import torch
from PIL import Image
from report import add_outputs, give
from torch import Tensor, nn
from torch.nn import functional as F

from bcprobe.experiments import get_experiment
from bcprobe.machine import keep_freed_memory, pick_device
from bcprobe.model.attention import frame_mask, rotary_table, rotate
from bcprobe.model.precision import pick_precision
from bcprobe.model.transformer import ClickTransformer
from bcprobe.training.batch import Batch
from bcprobe.training.config import Experiment
from bcprobe.training.flops import peak_flops, step_flops
from bcprobe.training.run import Run
from bcprobe.training.stream import Position, Stream

#: What is timed: name shown.
SIDES = {
    "ours": "ours, as it runs here",
    "fp32": "ours in float32",
    "plain": "plain network, PNG files, DataLoader",
}
#: Batches written as PNG files for the plain loader, which goes round and round.
PNG_BATCHES = 2


@dataclass(frozen=True)
class Step:
    """Seconds a step took, seconds of them waiting for data, and processor seconds of the
    training process (all threads): on a busy machine the last is the number to trust."""

    taken: float
    waited: float
    processor: float


class PlainClickTransformer(nn.Module):
    """A ClickTransformer's function with its parameters, written the obvious way."""

    def __init__(self, model: ClickTransformer) -> None:
        super().__init__()
        self.config, self.inner = model.config, model
        channels = [3, *(stage[2] for stage in model.config.stem)]
        self.convs = nn.ModuleList()
        for (width, height, out), stage, (before, _) in zip(
            model.config.stem, model.encoder.patches.stages, pairwise(channels), strict=True
        ):
            conv = nn.Conv2d(before, out, (height, width), (height, width))
            weight = stage.weight.detach().view(out, height, width, before)
            conv.weight.data.copy_(weight.permute(0, 3, 1, 2))
            conv.bias.data.copy_(stage.bias.detach())
            self.convs.append(conv)

    def forward(self, frames: Tensor, previous: Tensor, segments: Tensor) -> Any:
        batch, count = frames.shape[:2]
        x = frames.flatten(0, 1).contiguous().float() / 64 - 1
        for number, conv in enumerate(self.convs):
            x = x.relu() if number else x
            cells, x = x, conv(x)
        encoder = self.inner.encoder
        patches = x.flatten(2).mT + encoder.patches.position
        tokens = [
            patches.unflatten(0, (batch, count)),
            encoder.click(previous)[:, :, None],
            encoder.extra.expand(batch, count, -1, -1),
        ]
        x = torch.cat(tokens, dim=2).flatten(1, 2)
        size = self.config.tokens_per_frame
        mask = frame_mask(segments, self.config.context)
        mask = mask.repeat_interleave(size, 1).repeat_interleave(size, 2)[:, None]
        table = rotary_table(torch.arange(count, device=x.device), self.config.d_head)
        for block in self.inner.blocks:
            x = x + self._attend(block.attn, block.ln1(x), table, mask)
            x = x + block.mlp(block.ln2(x))
        return self.inner.read(x, self._cells(cells).unflatten(0, (batch, count)))

    def _cells(self, x: Tensor) -> Tensor:
        """Cells [n, patch, cell, channel] that the head reads, of [n, channel, row, column]."""
        if not self.config.cell_channels:
            return x.new_zeros(len(x), self.config.n_patches, 1, 0)
        across, down = self.config.split
        x = x.unflatten(-1, (-1, across)).unflatten(-3, (-1, down))
        x = x.permute(0, 2, 4, 3, 5, 1)  # n, row and column of patches, of cells, channel
        return x.flatten(3, 4).flatten(1, 2)

    def _attend(self, attn: Any, x: Tensor, table: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        size = self.config.tokens_per_frame
        q, k, v = attn.qkv(x).unflatten(-1, (3, self.config.n_heads, -1)).unbind(2)
        q, k = (rotate(part.unflatten(1, (-1, size)), table).flatten(1, 2) for part in (q, k))
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return attn.out(z.transpose(1, 2).flatten(-2))


class PngRows(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """Rows whose frames are read from PNG files."""

    def __init__(self, rows: list[tuple[list[Path], Tensor, Tensor, Tensor]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        paths, previous, targets, segments = self.rows[index]
        frames = np.stack([np.asarray(Image.open(path)) for path in paths])
        return torch.from_numpy(frames).permute(0, 3, 1, 2), previous, targets, segments


def write_rows(experiment: Experiment, folder: Path) -> PngRows:
    rows = []
    with Stream(experiment.data, experiment.rows, experiment.row_length) as stream:
        for number in range(PNG_BATCHES):
            batch, _ = next(stream)
            for row in range(experiment.rows):
                paths = []
                for frame in range(experiment.row_length):
                    paths.append(folder / f"{number}-{row}-{frame}.png")
                    pixels = batch.frames[row, frame].permute(1, 2, 0).numpy()
                    Image.fromarray(pixels).save(paths[-1])
                values = (batch.previous[row], batch.targets[row], batch.segments[row])
                rows.append((paths, *(value.clone() for value in values)))
    return PngRows(rows)


def endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def plain_steps(
    experiment: Experiment, rows: PngRows, device: torch.device, workers: int = 1
) -> Iterator[Step]:
    torch.manual_seed(0)
    model = PlainClickTransformer(ClickTransformer(experiment.model)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=experiment.lr)
    loader = torch.utils.data.DataLoader(
        rows,
        batch_size=experiment.rows,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
    )
    batches = endless(loader)
    while True:
        began, used = time.perf_counter(), time.process_time()
        frames, previous, targets, segments = next(batches)
        waited = time.perf_counter() - began
        inputs = (part.to(device) for part in (frames, previous, segments))
        loss = -model(*inputs).click_log_prob(targets.to(device)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), experiment.grad_clip)
        optimizer.step()
        finish(device)
        yield Step(time.perf_counter() - began, waited, time.process_time() - used)


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def our_steps(
    experiment: Experiment, device: torch.device, precision: str, workers: int = 1
) -> Iterator[Step]:
    run = new_run(experiment, device, precision)
    with Stream(
        experiment.data,
        experiment.rows,
        experiment.row_length,
        workers=workers,
        device=device,
        weights=experiment.weights,
        cell=experiment.model.cell,
    ) as stream:
        while True:
            began, used, before = time.perf_counter(), time.process_time(), stream.waited
            batch, after = next(stream)
            waited = stream.waited - before
            run.learn(batch, after, waited)
            finish(device)
            yield Step(time.perf_counter() - began, waited, time.process_time() - used)


def new_run(experiment: Experiment, device: torch.device, precision: str = "auto") -> Run:
    return Run(experiment, device, precision=pick_precision(precision, device))


def timed(
    side: str,
    experiment: Experiment,
    rows: PngRows,
    device: torch.device,
    threads: int,
    workers: int,
    count: int,
) -> list[Step]:
    """Times of ``count`` steps of one of `SIDES`, in a process of its own.

    Four steps before them are not counted: the workers' first worlds and memory's first touch.
    """
    torch.set_num_threads(threads)
    if side == "plain":
        steps = plain_steps(experiment, rows, device, workers)
    else:
        keep_freed_memory()
        steps = our_steps(experiment, device, "auto" if side == "ours" else "fp32", workers)
    found = [next(steps) for _ in range(count + 4)][4:]
    steps.close()  # type: ignore[attr-defined]
    return found


def summary(steps: list[Step], batch_frames: int) -> dict[str, float]:
    seconds = sum(step.taken for step in steps)
    return {
        "frames_per_second": batch_frames * len(steps) / seconds,
        "median_step_ms": 1e3 * float(np.median([step.taken for step in steps])),
        "processor_ms_per_frame": 1e3
        * float(np.median([step.processor for step in steps]))
        / batch_frames,
        "data_wait_share": sum(step.waited for step in steps) / seconds,
    }


def check_same(experiment: Experiment, batch: Batch) -> float:
    """Largest difference in NLL between the two networks; they must agree."""
    torch.manual_seed(0)
    model = ClickTransformer(experiment.model)
    inputs = batch.frames[:1], batch.previous[:1], batch.segments[:1]
    with torch.inference_mode():
        ours = model(*inputs).click_log_prob(batch.targets[:1])
        plain = PlainClickTransformer(model)(*inputs).click_log_prob(batch.targets[:1])
    difference = float((ours - plain).abs().max())
    if difference > 1e-3:
        raise SystemExit(f"the two networks differ by {difference:.1e} nats")
    return difference


def profile(experiment: Experiment, batch: Batch, device: torch.device) -> list[dict[str, Any]]:
    """Operators or kernels that take the most time of a step, with their share of it."""
    run, kind = new_run(experiment, device), device.type.upper()
    activity = getattr(torch.profiler.ProfilerActivity, kind)
    for _ in range(2):
        run.learn(batch.to(device), Position(), 0.0)
    with torch.profiler.profile(activities=[activity]) as profiler:
        run.learn(batch.to(device), Position(), 0.0)
        finish(device)
    taken = {event: time_of(event, device) for event in profiler.key_averages()}
    total = sum(taken.values())
    return [
        {
            "operator": event.key[:60],
            "share": taken[event] / total,
            "ms": taken[event] / 1e3,
            "calls": event.count,
        }
        for event in sorted(taken, key=lambda event: -taken[event])[:12]
    ]


def time_of(event: Any, device: torch.device) -> float:
    """Time (µs) of an operator on the CPU, or of a kernel on a GPU, without what it calls."""
    if device.type == "cpu":
        return float(event.self_cpu_time_total)
    return float(event.self_device_time_total)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    keep_freed_memory()  # for the profile; each side is timed in a process of its own
    threads, steps, rounds, workers = (
        options.threads,
        options.steps,
        options.rounds,
        options.workers,
    )
    torch.set_num_threads(threads)
    experiment = replace(get_experiment(options.experiment), frames=1 << 30)
    device = pick_device(options.device)
    shape = experiment.rows, experiment.row_length
    with Stream(experiment.data, *shape, cell=experiment.model.cell) as stream:
        batch, _ = next(stream)
        difference = check_same(experiment, batch)
        operators = profile(experiment, batch, device)
    with tempfile.TemporaryDirectory() as folder:
        rows = write_rows(experiment, Path(folder))
        times: dict[str, list[Step]] = {side: [] for side in SIDES}
        for side in list(times) * rounds:
            work = (timed, side, experiment, rows, device, threads, workers, steps)
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                times[side] += pool.submit(*work).result()
    found = {side: summary(times[side], experiment.batch_frames) for side in times}
    return {
        "experiment": options.experiment,
        "batch": [experiment.rows, experiment.row_length],
        "threads": threads,
        "steps": steps * rounds,
        "torch": torch.__version__,
        "processor": device_name(device),
        "mfu": found["ours"]["frames_per_second"]
        * step_flops(experiment.model, 1)
        / peak_flops(device_name(device)),
        "largest_difference_nats": difference,
        **found,
        "speedup": found["ours"]["frames_per_second"] / found["plain"]["frames_per_second"],
        "speedup_processor": found["plain"]["processor_ms_per_frame"]
        / found["ours"]["processor_ms_per_frame"],
        "operators": operators,
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")


def as_markdown(found: dict[str, Any]) -> str:
    command = " ".join(["python", *sys.argv])
    lines = [
        "# Training",
        "",
        f"`{command}`",
        "",
        f"{found['processor']}, {found['threads']} threads, "
        f"torch {found['torch']}; batches of {found['batch'][0]} rows of {found['batch'][1]} "
        f"frames; {found['steps']} steps each, in turns; the two networks agree within "
        f"{found['largest_difference_nats']:.0e} nats.",
        "",
        "| | frames/s | median step, ms | processor, ms a frame | waiting for data |",
        "|---|---|---|---|---|",
    ]
    for side, name in SIDES.items():
        row = found[side]
        lines.append(
            f"| {name} | {row['frames_per_second']:.1f} | {row['median_step_ms']:.0f} "
            f"| {row['processor_ms_per_frame']:.2f} | {row['data_wait_share']:.1%} |"
        )
    lines += [
        "",
        f"Speed-up: {found['speedup']:.2f} by the clock, {found['speedup_processor']:.2f} by "
        f"processor time of the training process. MFU {share(found['mfu'])}.",
        "",
        "Where our step's time goes (torch.profiler, self time):",
        "",
        "| operator | share | ms | calls |",
        "|---|---|---|---|",
    ]
    for row in found["operators"]:
        lines.append(
            f"| `{row['operator']}` | {row['share']:.1%} | {row['ms']:.1f} | {row['calls']} |"
        )
    return "\n".join(lines) + "\n"


def share(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", default="dots-nano")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="timed steps in a round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    add_outputs(parser)
    options = parser.parse_args()
    found = measure(options)
    text = as_markdown(found)
    give(found, text, options)


if __name__ == "__main__":
    main()
