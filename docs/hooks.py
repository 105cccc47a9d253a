"""What the site shows of the code: a page of docstrings for each room, every verb's help."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.main import get_command
from typer.testing import CliRunner

from bcprobe.cli import app

ROOT = Path(__file__).parents[1]
#: Modules of the ground floor, which share a page.
GROUND = ("types", "results", "rng", "files", "errors")
#: Described elsewhere: the verbs by their help.
APART = ("cli", "__init__", "__pycache__")
PICTURES = tuple(sorted(path.stem for path in (ROOT / "figures").glob("*.png")))


def rooms() -> dict[str, tuple[str, ...]]:
    """Title of each reference page, and the modules whose docstrings it shows."""
    found = sorted(
        path.stem
        for path in (ROOT / "bcprobe").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    )
    alone = {name: (name,) for name in found if name not in GROUND + APART}
    return {"types and results": GROUND} | alone


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the reference pages after those written by hand."""
    pages = [{title: _page(title)} for title in rooms()]
    config.nav = [*(config.nav or []), {"Reference": pages}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages, the verbs and the pictures of the README."""
    for title, modules in rooms().items():
        text = f"# {title}\n\n" + "\n\n".join(f"::: bcprobe.{name}" for name in modules)
        files.append(File.generated(config, _page(title), content=text))
    files.append(File.generated(config, "cli.md", content=command_line()))
    for name in PICTURES:
        picture = ROOT / "figures" / f"{name}.png"
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Pictures where the site has them; in the repository they lie in ``figures/``."""
    return markdown.replace("](../figures/", "](pictures/")


def _page(title: str) -> str:
    return f"reference/{title.replace(' ', '_')}.md"


def command_line() -> str:
    """Help of ``bcprobe`` and of each verb, as a page."""
    verbs = list(get_command(app).commands)
    parts = ["# Command line", _help([])]
    for verb in verbs:
        parts += [f"## bcprobe {verb}", _help([verb])]
    return "\n\n".join(parts)


def _help(verb: list[str]) -> str:
    shown = CliRunner(env={"COLUMNS": "96"}).invoke(app, [*verb, "--help"], prog_name="bcprobe")
    if shown.exit_code:
        raise RuntimeError(f"no help for {verb}: {shown.output}")
    return f"```text\n{shown.output.strip()}\n```"
