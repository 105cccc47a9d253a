"""A signal at any moment of any verb: it ends as interrupted, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bcprobe.rng import generator

pytestmark = pytest.mark.slow
SMALL = ("--checkpoint", "dots-nano", "--task", "colored_dot_tracking")
VERBS: dict[str, tuple[str, ...]] = {
    "generate": ("--episodes", "40", "--out", "OUT"),
    "stats": ("--episodes", "200"),
    "show": ("colored_dot_tracking", "--checkpoint", "dots-nano", "--out", "OUT/show.html"),
    "evaluate": (*SMALL, "--episodes", "10", "--out", "OUT"),
    "probe": ("--checkpoint", "dots-nano", "--episodes", "30", "--out", "OUT"),
    "activations": (*SMALL, "--episodes", "40", "--out", "OUT"),
    "patch": (*SMALL, "--out", "OUT"),
    "steer": (*SMALL, "--out", "OUT"),
    "figure": ("patching", "--from", "FIGURES", "--out", "OUT"),
    "train": ("--experiment", "tiny", "--workers", "2", "--out", "OUT"),
    "study": ("layouts", "--size", "tiny", "--out", "OUT"),
}
#: Seconds after the start: while modules load, while work begins, and in the midst of it.
MOMENTS = ((0.02, 0.3), (0.3, 3.0), (3.0, 9.0))
#: What verbs that go on where they stopped may leave in their folder.
RESUMED = ("train", "activations", "study")


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("moment", range(len(MOMENTS)))
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
@pytest.mark.parametrize("verb", VERBS)
def test_a_signal_ends_a_verb_and_all_it_began(
    verb: str, number: signal.Signals, moment: int, tmp_path: Path
) -> None:
    out, temporary, cache = (tmp_path / name for name in ("out", "tmp", "cache"))
    temporary.mkdir()
    places = {"OUT": str(out), "FIGURES": str(Path("figures").resolve())}
    arguments = [a.replace("OUT", places["OUT"]).replace("FIGURES", places["FIGURES"])
                 for a in VERBS[verb]]  # fmt: skip
    wait = float(generator("signals", verb, number.name, moment).uniform(*MOMENTS[moment]))
    print(f"{verb} {number.name} after {wait:.2f} s")
    running = subprocess.Popen(
        [sys.executable, "-m", "bcprobe.cli", verb, *arguments],
        env={**os.environ, "TMPDIR": str(temporary), "BCPROBE_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(wait)
    if number == signal.SIGINT:  # Ctrl-C reaches all that the terminal runs
        os.killpg(running.pid, number)
    else:
        running.send_signal(number)
    _, err = running.communicate(timeout=60)
    # A signal before the handlers stand, or as Python itself ends, kills by default.
    assert running.returncode in (0, 128 + number, -number)
    assert "Traceback" not in err or wait < MOMENTS[2][0]
    for _ in range(50):
        if not _alive(running.pid):
            break
        time.sleep(0.1)
    assert not _alive(running.pid)
    left = [
        p for p in temporary.iterdir() if not p.name.startswith(("torchinductor", "matplotlib"))
    ]
    assert not left
    hidden = [p for p in (*tmp_path.glob(".out*"), *cache.rglob(".*")) if verb not in RESUMED]
    assert not hidden
