"""Tasks evaluated side by side, in programs of one thread each.

As a program it evaluates the tasks it is told of: ``python -m bcprobe.evaluation.workers
CHECKPOINT DEVICE`` reads one plan a line and answers each with lines of progress and a last one.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue

from bcprobe.errors import InputError
from bcprobe.evaluation.parts import Found, Plan, evaluate_task
from bcprobe.evaluation.progress import Say
from bcprobe.model.checkpoint import load_checkpoint

_SETTINGS = {"OMP_NUM_THREADS": "1"}
_DONE = "done"
_MODULE = "bcprobe.evaluation.workers"

Jobs = SimpleQueue[tuple[Path, Plan]]
Process = subprocess.Popen[str]


def evaluate_apart(
    checkpoint: Path, plans: Sequence[Plan], workers: int, say: Say, device: str = "cpu"
) -> list[Found]:
    """What `evaluate_task` finds for each plan, by that many programs at a time on a device."""
    with tempfile.TemporaryDirectory() as folder:
        jobs: Jobs = SimpleQueue()
        paths = [Path(folder) / str(number) for number in range(len(plans))]
        for job in zip(paths, plans, strict=True):
            jobs.put(job)
        logs = [Path(folder) / f"{number}.log" for number in range(workers)]
        with ThreadPoolExecutor(workers) as pool, _started(checkpoint, device, logs) as processes:
            list(pool.map(lambda process, log: _serve(process, log, jobs, say), processes, logs))
        return [pickle.loads(path.read_bytes()) for path in paths]


@contextmanager
def _started(checkpoint: Path, device: str, logs: Sequence[Path]) -> Iterator[list[Process]]:
    """A program per log; none is left running after the block."""
    processes = [_start(checkpoint, device, log) for log in logs]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            with suppress(BrokenPipeError), process:
                pass  # closes its pipes and waits for it


def _start(checkpoint: Path, device: str, log: Path) -> Process:
    found = os.pathsep.join(map(os.path.abspath, sys.path))
    with log.open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(checkpoint.resolve()), device],
            env={**os.environ, **_SETTINGS, "PYTHONPATH": found},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )


def _serve(process: Process, log: Path, jobs: Jobs, say: Say) -> None:
    """Hand out jobs to a program until there are none left."""
    while True:
        try:
            path, plan = jobs.get_nowait()
        except Empty:
            return
        _ask(process, path, plan, say)
        if process.poll() is not None:
            raise _failure(process.returncode, log.read_text())


def _ask(process: Process, path: Path, plan: Plan, say: Say) -> None:
    if process.stdin is None or process.stdout is None:
        raise ValueError("the worker's input or output is not piped")
    job = json.dumps({"path": str(path), "plan": asdict(plan)})
    try:
        process.stdin.write(f"{job}\n")
        process.stdin.flush()
    except BrokenPipeError:
        process.wait()
        return
    for line in process.stdout:
        if line == f"{_DONE}\n":
            return
        say(line.rstrip("\n"))
    process.wait()


def _failure(code: int, said: str) -> Exception:
    if code == 2:
        return InputError(said.strip().splitlines()[-1])
    return RuntimeError(f"an evaluation ended with {code}:\n{said}")


def _say(line: str) -> None:
    print(line, flush=True)


def main(checkpoint: str, device: str) -> None:
    """Evaluate the plans on standard input, one a line, and write what is found."""
    model = load_checkpoint(checkpoint, device)
    for line in sys.stdin:
        job = json.loads(line)
        plan = job["plan"]
        for name in ("temperatures", "sections"):
            plan[name] = tuple(plan[name])
        found = evaluate_task(model, Plan(**plan), _say)
        Path(job["path"]).write_bytes(pickle.dumps(found))
        _say(_DONE)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
