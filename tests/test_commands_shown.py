"""Commands that the help, the README and the docs show exist as they are shown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from bcprobe.cli import app
from bcprobe.cli.examples import EXAMPLES

ROOT = Path(__file__).parents[1]
VERBS = get_command(app).commands
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"\bbcprobe(?:\.cli)? +(.*)")


def shown(page: Path) -> Iterator[str]:
    """Commands in a page's indented blocks, each as one line."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^    (.*)$", text, re.MULTILINE):
        command = COMMAND.search(line)
        if command and not line.startswith(("#", "make ", "pip ", "from ", "import ")):
            yield command[1].partition(" #")[0]


def parse(command: str) -> None:
    """Parse a command's options without running it."""
    verb, *arguments = shlex.split(command)
    VERBS[verb].make_context(verb, arguments)


def test_every_verb_shows_examples_that_parse() -> None:
    assert EXAMPLES.keys() == VERBS.keys()
    for verb, lines in EXAMPLES.items():
        for line in lines:
            assert line.startswith(f"bcprobe {verb}")
            parse(line.removeprefix("bcprobe "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_a_page_parse(page: Path) -> None:
    for command in shown(page):
        if not command.startswith("VERB "):
            parse(command)


def test_commands_are_found() -> None:
    counts = {page.name: len(list(shown(page))) for page in PAGES}
    assert counts["README.md"] > 8
    assert counts["train_on_several_gpus.md"] > 5
