"""The notebooks, worked cell by cell with a small checkpoint and few episodes.

The cell tagged ``parameters`` holds all that is changed for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import matplotlib
import nbformat
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib import pyplot

from bcprobe.annotators import ANNOTATORS
from bcprobe.model.checkpoint import save_checkpoint
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import ClickTransformer
from bcprobe.tasks import TASKS

FOLDER = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
SMALL = {"EPISODES": 12, "UNSEEN": 12, "PAIRS": 3, "WORLDS": 2, "MAX_STEPS": 6}


@dataclass(frozen=True)
class Worked:
    """What the cells came to: data by MIME type, what was printed, and figures left open."""

    shown: list[dict[str, Any]]
    printed: str
    figures: int

    def kinds(self) -> set[str]:
        return {kind for data in self.shown for kind in data}


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Values for the notebooks' parameters: a small checkpoint, untrained, and small counts."""
    torch.manual_seed(0)
    config = ClickTransformerConfig(
        d_model=16, n_layers=2, n_heads=2, stem=((40, 30, 8), (2, 3, 16)), context=3
    )
    folder = tmp_path_factory.mktemp("checkpoints") / "small"
    experiment = {"name": "small", "data": {"tasks": ["colored_dot_tracking"]}}
    save_checkpoint(ClickTransformer(config), folder, experiment=experiment, frames=0)
    return {"CHECKPOINT": str(folder), **SMALL}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BCPROBE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def tidy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A shell, a backend and registries of each notebook's own."""
    monkeypatch.setattr("bcprobe.parallel.cores", lambda: 1)  # to start processes takes longer
    before = [(registry, dict(registry)) for registry in (TASKS, ANNOTATORS)]
    backend = matplotlib.get_backend()
    pyplot.switch_backend("agg")
    yield
    for registry, known in before:
        registry.clear()
        registry.update(known)
    pyplot.close("all")
    pyplot.switch_backend(backend)
    InteractiveShell.clear_instance()


def cells(path: Path) -> list[Any]:
    return [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]


def is_parameters(cell: Any) -> bool:
    return "parameters" in cell.metadata.get("tags", ())


def names_set_in(cell: Any) -> list[str]:
    return [one.targets[0].id for one in ast.parse(cell.source).body]


def work(path: Path, parameters: dict[str, Any]) -> Worked:
    """Run a source's cells in order; the first that fails raises its error."""
    shell = InteractiveShell.instance()
    shown = []
    with capture_output() as caught:
        for cell in cells(path):
            source = cell.source
            if is_parameters(cell):
                source = "\n".join(f"{n} = {parameters[n]!r}" for n in names_set_in(cell))
            done = shell.run_cell(source)
            done.raise_error()
            if done.result is not None:
                shown.append(shell.display_formatter.format(done.result)[0])
    return Worked(shown, caught.stdout, len(pyplot.get_fignums()))


def test_the_stories_are_there() -> None:
    names = {path.stem for path in SOURCES}
    assert names >= {
        "first_look",
        "for_transformer_lens_users",
        "mistake_direction",
        "where_is_the_mistake",
        "your_own",
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_sources_tell_a_story_and_define_no_functions(path: Path) -> None:
    code = cells(path)
    assert sum(is_parameters(cell) for cell in code) == 1
    lines = [line for cell in code for line in cell.source.splitlines() if line.strip()]
    assert len(lines) < 60
    ours = [line for line in lines if line.startswith(("import bcprobe", "from bcprobe"))]
    assert len(ours) <= 2
    for cell in code:
        tree = ast.walk(ast.parse(cell.source))
        assert not any(isinstance(node, ast.FunctionDef) for node in tree)
    told = [cell for cell in jupytext.read(path).cells if cell.cell_type == "markdown"]
    assert len(told) >= len(code) // 2


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_executed_notebook_is_that_of_its_source(path: Path) -> None:
    executed = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    made = [(cell.cell_type, cell.source) for cell in executed.cells]
    assert made == [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]
    outputs = [one for cell in executed.cells for one in cell.get("outputs", ())]
    assert outputs
    assert not any(one.output_type == "error" for one in outputs)


def test_first_look(parameters: dict[str, Any]) -> None:
    found = work(FOLDER / "first_look.py", parameters)
    assert found.figures >= 1
    assert {"text/html", "image/png"} <= found.kinds()
    pages = [data["text/html"] for data in found.shown if "text/html" in data]
    assert "<b>small</b>" in pages[0]
    assert "Colored dot tracking" in pages[1]


def test_for_transformer_lens_users(parameters: dict[str, Any]) -> None:
    found = work(FOLDER / "for_transformer_lens_users.py", parameters)
    assert found.figures == 4
    assert "2 2 torch.Size([2, 2, 16, 8])" in found.printed
    assert any("<b>small</b>" in data.get("text/html", "") for data in found.shown)


def test_mistake_direction(parameters: dict[str, Any]) -> None:
    found = work(FOLDER / "mistake_direction.py", parameters)
    assert found.figures == 2
    assert any("<b>mistake</b> (auc)" in data.get("text/html", "") for data in found.shown)
    assert "right placements in 12 episodes" in found.printed


def test_where_is_the_mistake(parameters: dict[str, Any]) -> None:
    found = work(FOLDER / "where_is_the_mistake.py", parameters)
    tables = [data["text/html"] for data in found.shown if "text/html" in data]
    assert "placed patch" in tables[0]
    assert "mean_difference" in tables[1]
    assert "image/png" in found.kinds() or found.figures


def test_your_own(parameters: dict[str, Any]) -> None:
    found = work(FOLDER / "your_own.py", parameters)
    assert any("Faint dots" in data.get("text/html", "") for data in found.shown)
    assert "in faint light" in found.printed
