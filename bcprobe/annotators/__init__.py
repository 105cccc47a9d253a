"""The virtual annotators: what is right in each task."""

from bcprobe.annotators.colored_dot_tracking import ColoredDotPolicy
from bcprobe.annotators.policy import Policy
from bcprobe.errors import check_name

#: One policy per task, by the task's name.
ANNOTATORS: dict[str, Policy] = {"colored_dot_tracking": ColoredDotPolicy()}


def get_annotator(task: str) -> Policy:
    """The policy for a task. Raises `InputError` with the nearest task name."""
    return ANNOTATORS[check_name("task", task, ANNOTATORS)]
