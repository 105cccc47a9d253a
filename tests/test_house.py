"""How the house is kept: short files, and a command line that answers at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bcprobe"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.name)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("module", ["torch", "pandas", "transformer_lens", "matplotlib", "sklearn"])
def test_the_command_line_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, bcprobe.cli; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
