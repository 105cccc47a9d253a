"""How every benchmark gives its result: printed, and written if asked."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bcprobe.files import atomic_file


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Options ``--json`` and ``--out``."""
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="Markdown file to write")


def give(found: Any, text: str, options: argparse.Namespace) -> None:
    """Print Markdown, or JSON if asked; write the Markdown to ``--out``."""
    print(json.dumps(found, indent=1) if options.json else text)
    if options.out:
        with atomic_file(options.out) as temporary:
            temporary.write_text(text)
