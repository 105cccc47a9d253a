"""``import bcprobe as bp``: what it costs, and that every name is there."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import bcprobe as bp
from bcprobe.errors import InputError


def test_importing_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'pandas', 'torch', 'matplotlib', 'sklearn'}"
    code = f"import sys, bcprobe; assert not {heavy} & set(sys.modules); assert dir(bcprobe)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [name for name in bp.__all__ if name != "__version__"])
def test_every_name_is_a_function_with_a_docstring(name: str) -> None:
    found = getattr(bp, name)
    assert callable(found)
    assert (getattr(found, "__wrapped__", found).__doc__ or "").strip()
    assert inspect.isclass(found) or inspect.signature(found)
    assert name in dir(bp)


def test_a_room_stays_a_room_and_answers_as_a_function() -> None:
    import bcprobe.tasks

    assert bp.tasks is bcprobe.tasks
    assert bp.tasks()["task"].tolist() == list(bcprobe.tasks.TASKS)
    assert list(inspect.signature(bp.activations).parameters)[:3] == ["model", "tasks", "episodes"]


def test_names_are_the_same_whichever_is_imported_first() -> None:
    code = (
        "import bcprobe.activations.sites, bcprobe.explore\n"
        "import bcprobe as bp\n"
        "assert callable(bp.activations) and bp.activations.sites and callable(bp.explore)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bp.nothing


def test_checkpoints_say_what_they_are() -> None:
    table = bp.checkpoints().set_index("checkpoint")
    assert table.index[0] == "nine-nano-longer"
    assert table["default"].sum() == 1
    assert table.loc["nine-nano-longer", "frames"] == 6_029_312
    assert table.loc["dots-nano", "parameters"] == sum(
        weights.numel() for weights in bp.load("dots-nano").parameters()
    )
    assert 65536 in table.loc["dots-nano", "steps"]
    assert all(Path(folder).is_dir() for folder in table["folder"])


def test_bad_names_are_one_line() -> None:
    with pytest.raises(InputError, match="did you mean 'dots-nano'"):
        bp.load("dots-nan")
    with pytest.raises(bp.InputError, match="unknown task"):
        bp.activations("dots-nano", tasks="dots", episodes=1)


def test_the_command_line_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'pandas', 'torch', 'matplotlib', 'sklearn', 'scipy', 'pyarrow', 'seaborn'}"
    code = f"import sys, bcprobe.cli; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
