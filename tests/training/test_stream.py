from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import Pipe
from threading import Thread

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bcprobe.episodes.record import frames, generate
from bcprobe.training.batch import Batch, PackedRecordings, frame_buffer
from bcprobe.training.shards import DataConfig, make_shard, pack_displays, shard_keys
from bcprobe.training.stream import Position, Stream, StreamError
from bcprobe.training.targets import make_targets
from bcprobe.training.worker import Shard, receive_shard, send_shard
from bcprobe.types import ACTIONS

DATA = DataConfig(episodes=3, difficulty="easy")
ROWS, LENGTH = 4, 8


def plain(batch: Batch) -> dict[str, NDArray[np.generic]]:
    """The batch's values, copied out of the buffer that will be used again."""
    return {name: x.numpy().copy() for name, x in vars(batch).items() if x is not None}


def take(count: int, **options: object) -> list[tuple[dict[str, NDArray[np.generic]], Position]]:
    with Stream(DATA, ROWS, LENGTH, **options) as stream:  # type: ignore[arg-type]
        return [(plain(batch), after) for batch, after in (next(stream) for _ in range(count))]


@pytest.fixture(scope="module")
def reference() -> list[tuple[dict[str, NDArray[np.generic]], Position]]:
    return take(16)


def same(a: dict[str, NDArray[np.generic]], b: dict[str, NDArray[np.generic]]) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_two_workers_give_the_batches_of_one(reference: list) -> None:  # type: ignore[type-arg]
    assert reference[-1][1].shard >= 2
    for (a, after_a), (b, after_b) in zip(reference, take(16, workers=2), strict=True):
        assert after_a == after_b
        assert same(a, b)


def test_a_stream_goes_on_from_any_position(reference: list) -> None:  # type: ignore[type-arg]
    middle = next(i for i, (_, after) in enumerate(reference) if after.shard and after.batch)
    later = take(3, start=reference[middle][1])
    for (a, after_a), (b, after_b) in zip(reference[middle + 1 :], later, strict=False):
        assert after_a == after_b
        assert same(a, b)


def test_a_share_shows_its_own_rows_and_knows_of_all(reference: list) -> None:  # type: ignore[type-arg]
    for (whole, _), (part, _) in zip(reference, take(2, share=slice(1, 3)), strict=False):
        assert np.array_equal(part["frames"], whole["frames"][1:3])
        others = [name for name in whole if name != "frames"]
        assert all(np.array_equal(part[name], whole[name]) for name in others)


def test_rows_are_pieces_of_the_recorded_episodes(reference: list) -> None:  # type: ignore[type-arg]
    keys = shard_keys(DATA, 0)
    episodes = [generate(k.task, k.world_seed, difficulty="easy") for k in keys]
    screens = [list(frames(episode)) for episode in episodes]
    clicks = [[tuple(step.click) for step in episode.steps] for episode in episodes]
    seen = set()
    for batch, _ in [item for item in reference if item[1].shard == 0]:
        for row in range(ROWS):
            at = None
            for t in range(LENGTH):
                segment = int(batch["segments"][row, t])
                frame = batch["frames"][row, t].transpose(1, 2, 0)
                if at is None or segment != at[0]:
                    first = 0 if at else None
                    candidates = [
                        i
                        for i, screen in enumerate(screens[segment])
                        if np.array_equal(screen, frame)
                        and clicks[segment][i] == tuple(batch["targets"][row, t])
                        and (segment, i) not in seen
                        and (first is None or i == first)
                    ]
                    at = (segment, candidates[0])
                else:
                    at = (segment, at[1] + 1)
                index = at[1]
                seen.add(at)
                assert np.array_equal(screens[segment][index], frame)
                assert tuple(batch["targets"][row, t]) == clicks[segment][index]
                previous = clicks[segment][index - 1] if index else (-1, -1)
                assert tuple(batch["previous"][row, t]) == previous
                action = episodes[segment].steps[index].action
                assert ACTIONS[batch["actions"][row, t]] == action
    assert len(seen) > 100


def test_frames_lie_channels_last_in_memory() -> None:
    with Stream(DATA, ROWS, LENGTH) as stream:
        batch, _ = next(stream)
        assert batch.frames.shape == (ROWS, LENGTH, 3, 360, 480)
        assert batch.frames.permute(0, 1, 3, 4, 2).is_contiguous()
        assert batch.valid.all()


def drain(stream: Stream) -> None:
    for _ in stream:
        time.sleep(0.1)


def test_a_killed_worker_is_named_within_seconds() -> None:
    with Stream(DATA, ROWS, LENGTH, workers=2) as stream:
        next(stream)
        victim = stream._pool.processes[1].pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(StreamError, match=rf"data worker 1 \(process {victim}\) died"):
            drain(stream)
        assert time.monotonic() - began < 5


def test_a_worker_that_fails_says_why() -> None:
    broken = replace(DATA, tasks=("no_such_task",))
    with (
        Stream(broken, ROWS, LENGTH) as stream,
        pytest.raises(StreamError, match=r"worker 0 failed at shard 0.*no_such_task"),
    ):
        next(stream)


def test_a_worker_that_cannot_send_ends_and_says_why() -> None:
    script = """
from multiprocessing import Pipe
from queue import Queue
from bcprobe.training.worker import Shard, _send_all

outbox = Queue()
outbox.put(Shard([], lambda: None))
_send_all(Pipe()[1], outbox)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "lambda" in ended.stderr


def test_closing_leaves_no_process_behind() -> None:
    with Stream(DATA, ROWS, LENGTH, workers=2) as stream:
        processes = stream._pool.processes
    assert not any(process.is_alive() for process in processes)


def test_torch_fills_a_batch_with_the_frames_of_numpy() -> None:
    data = replace(DATA, layouts=("original", "retro", "split"), episodes=6, personas=2)
    sequence = PackedRecordings(list(make_shard(data, 0)))
    index = np.random.default_rng(0).integers(sequence.starts[-1], size=(2, 30))
    ours, theirs = frame_buffer(2, 30), frame_buffer(2, 30)
    sequence.compose(index, ours)
    sequence.compose_by_torch(index, theirs)
    assert torch.equal(ours, theirs)


def test_groups_packed_by_the_worker_are_those_packed_here() -> None:
    recordings = list(make_shard(replace(DATA, episodes=4, personas=2), 0))
    ours, theirs = Pipe()
    shard = Shard(recordings, make_targets(recordings), pack_displays(recordings))
    sender = Thread(target=send_shard, args=(theirs, shard))
    sender.start()
    found = receive_shard(ours)
    sender.join()
    assert isinstance(found, Shard)
    assert not any(made.displays for made in found.recordings)
    index = np.arange(40).reshape(2, 20)
    here, there = frame_buffer(2, 20), frame_buffer(2, 20)
    PackedRecordings(recordings).compose(index, here)
    PackedRecordings(found.recordings, packed=found.packed).compose_by_torch(index, there)
    assert torch.equal(here, there)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_composes_the_batches_of_the_cpu(reference: list) -> None:  # type: ignore[type-arg]
    with Stream(DATA, ROWS, LENGTH, device="cuda") as stream:
        for (expected, after), (batch, after_there) in zip(reference, stream, strict=False):
            assert batch.frames.is_cuda
            assert after == after_there
            assert same(expected, plain(batch.to("cpu")))
