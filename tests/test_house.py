"""How the house is kept: short files, and imports that cost nothing until they are used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bcprobe"
HEAVY = {
    "datasets",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "seaborn",
    "sklearn",
    "torch",
    "transformer_lens",
    "transformers",
}


def packages_loaded_by(module: str) -> set[str]:
    """Top-level names that importing ``module`` adds in a fresh interpreter."""
    code = (
        "import json, sys; before = set(sys.modules); "
        f"import {module}; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 350


def test_the_package_loads_nothing_but_itself() -> None:
    assert packages_loaded_by("bcprobe") - set(sys.stdlib_module_names) == {"bcprobe"}


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = packages_loaded_by("bcprobe.cli")
    assert "bcprobe" in loaded
    assert not loaded & HEAVY
