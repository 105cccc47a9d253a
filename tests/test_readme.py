"""The README: short, and its Python runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_it_is_short() -> None:
    assert len(TEXT.split()) < 900
    assert len(CODE.splitlines()) < 20


@pytest.mark.slow
def test_its_python_runs_in_a_fresh_interpreter(tmp_path: Path) -> None:
    """With fewer episodes, and a line more that reads what the block made."""
    fewer = re.sub(r"episodes=\d+", "episodes=8", re.sub(r"\bn=\d+", "n=2", CODE))
    shown = 'print(repr(result), len(y), len(data.assign(left=left).arrays("left")[1]), repr(pair))'
    done = subprocess.run(
        [sys.executable, "-c", f"{fewer}\n{shown}"],
        cwd=tmp_path, env={**os.environ, "MPLBACKEND": "agg"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "<mistake probe of nine-nano-longer" in done.stdout
    assert "moved)" in done.stdout
