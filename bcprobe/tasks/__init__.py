"""The worlds: what is asked of an annotator. Called, ``bcprobe.tasks()``, it lists them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bcprobe.errors import InputError, check_name
from bcprobe.lazy import make_callable
from bcprobe.tasks.animal_behavioral_tracking import AnimalBehavioralTracking
from bcprobe.tasks.animal_limb_tracking import AnimalLimbTracking
from bcprobe.tasks.base import Task
from bcprobe.tasks.cell_lineage_tracking import CellLineageTracking
from bcprobe.tasks.colored_dot_tracking import ColoredDotTracking
from bcprobe.tasks.exploration_classification_3d import ExplorationClassification
from bcprobe.tasks.multichannel_image_alignment import MultichannelImageAlignment
from bcprobe.tasks.neuron_tracking import NeuronTracking
from bcprobe.tasks.road_network_construction import RoadNetworkConstruction
from bcprobe.tasks.shape_matching import ShapeMatching
from bcprobe.tasks.spectral_plume_finding import SpectralPlumeFinding
from bcprobe.types import ALL

if TYPE_CHECKING:
    import pandas as pd

make_callable(__name__, "bcprobe.tasks:tasks")

#: Kept to test transfer.
HELD_OUT_TASKS = ("shape_matching",)
#: Every task by name, in the paper's order.
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        ColoredDotTracking(),
        NeuronTracking(),
        CellLineageTracking(),
        MultichannelImageAlignment(),
        AnimalLimbTracking(),
        AnimalBehavioralTracking(),
        ExplorationClassification(),
        SpectralPlumeFinding(),
        RoadNetworkConstruction(),
        ShapeMatching(),
    )
}
#: Tasks of multi-task training: all but those held out.
TRAINING_TASKS = tuple(name for name in TASKS if name not in HELD_OUT_TASKS)


def get_task(name: str) -> Task:
    """The task of that name. Raises `InputError` with the nearest name."""
    return TASKS[check_name("task", name, TASKS)]


def task_list(names: str | Iterable[str]) -> tuple[str, ...]:
    """Names of the tasks meant, each once; ``all`` stands for those of multi-task training.

    Raises `InputError` with the nearest name, or if there is none.
    """
    found: list[str] = []
    for name in (names,) if isinstance(names, str) else names:
        found += TRAINING_TASKS if name == ALL else [get_task(name).name]
    if not found:
        raise InputError(f"no task; name one, such as '{TRAINING_TASKS[0]}', or all")
    return tuple(dict.fromkeys(found))


def tasks() -> pd.DataFrame:
    """The tasks, a row each: ``task``, ``title``, ``buttons``, ``difficulties``, ``held_out``."""
    import pandas as pd

    rows = [
        {
            "task": task.name,
            "title": task.title,
            "buttons": [button.name for button in task.buttons],
            "difficulties": list(task.settings),
            "held_out": task.name in HELD_OUT_TASKS,
        }
        for task in TASKS.values()
    ]
    return pd.DataFrame(rows)
