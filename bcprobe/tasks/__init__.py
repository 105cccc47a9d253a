"""The worlds: what is asked of an annotator."""

from bcprobe.errors import check_name
from bcprobe.tasks.base import Task
from bcprobe.tasks.colored_dot_tracking import ColoredDotTracking

#: Every task by name, in the paper's order.
TASKS: dict[str, Task] = {task.name: task for task in (ColoredDotTracking(),)}


def get_task(name: str) -> Task:
    """The task of that name. Raises `InputError` with the nearest name."""
    return TASKS[check_name("task", name, TASKS)]
