"""The wheel carries one checkpoint, so that an installed bcprobe works from any folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = "nine-nano-longer"
FILES = ("README.md", "config.json", "model-*.safetensors")


class BuildWithCheckpoint(build_py):
    """Copies the checkpoint that ships from ``checkpoints/`` into the package."""

    def run(self) -> None:
        """Build the package; an editable one finds the checkpoint where it is."""
        super().run()
        if self.editable_mode:
            return
        source = Path(__file__).parent / "checkpoints" / SHIPPED
        target = Path(self.build_lib) / "bcprobe" / "checkpoints" / SHIPPED
        target.mkdir(parents=True, exist_ok=True)
        for pattern in FILES:
            for path in source.glob(pattern):
                shutil.copy2(path, target / path.name)


setup(cmdclass={"build_py": BuildWithCheckpoint})
