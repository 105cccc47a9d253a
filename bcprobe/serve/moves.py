"""Clicks that a person asks for by what they should reach: Redo, and the next unfinished frame.

Both are found by trying clicks out, and are then made and recorded click by click like any other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bcprobe.episodes.episode import Step
from bcprobe.episodes.simulator import Simulator
from bcprobe.serve.tracks import Track
from bcprobe.tasks.base import State
from bcprobe.types import PLACING, Click

#: States looked at before a search gives up.
MOST_STATES = 4000
#: Earlier placements that Redo tries.
CANDIDATES = 6
#: Sources of clicks made by these two.
REDO, NEXT = "redo", "next"
_MOVING = ("navigate", "view", "select", "commit")


def button_click(simulator: Simulator, name: str) -> Click | None:
    """The middle of an enabled button, or None if there is no such one."""
    states = simulator.task.states(simulator.world, simulator.state)
    for rect, button, state in zip(
        simulator.arrangement.buttons, simulator.task.buttons, states, strict=True
    ):
        if button.name == name and state.enabled:
            return Click(rect.x + rect.width // 2, rect.y + rect.height // 2)
    return None


def undo(simulator: Simulator) -> list[Click]:
    """The click on Undo, if there is anything to take back."""
    found = button_click(simulator, "Undo")
    return [] if found is None else [found]


def undone(steps: Sequence[Step], states: Sequence[State], sources: Sequence[str]) -> list[State]:
    """States before each Undo that Redo would bring back, the next one last.

    ``sources`` tell which clicks Redo made; a placement of another source ends what can be redone.
    """
    found: list[State] = []
    for number, (step, source) in enumerate(zip(steps, sources, strict=True)):
        if step.valid and step.action == "undo":
            found.append(states[number])
        elif source == REDO:
            if found and states[number + 1] == found[-1]:
                found.pop()
        elif step.valid and step.action in PLACING:
            found.clear()
    return found


def redo(track: Track) -> list[Click]:
    """The fewest clicks that bring back the state before the last Undo; none if there are none."""
    simulator = track.simulator
    wanted = undone(track.steps, track.states, track.sources)
    if not wanted:
        return []
    placed = [step.click for step in track.steps if step.valid and step.action in PLACING]
    candidates: list[Click | None] = [*dict.fromkeys(reversed(placed))]
    for click in candidates[:CANDIDATES] or [None]:
        path = shortest(simulator, _MOVING, lambda state: state == wanted[-1], click)
        if path:
            return path
    return []


def to_unfinished(simulator: Simulator) -> list[Click]:
    """The fewest clicks to the next frame that lacks marks; none if there is no such frame."""
    task, world, state = simulator.task, simulator.world, simulator.state
    left = UNFINISHED[task.name](simulator) if task.name in UNFINISHED else set()
    here = task.latents(world, state).position
    if not left - {here}:
        return []
    count = task.latents(world, state).position_count
    target = min(left - {here}, key=lambda position: (position - here) % count)
    return shortest(
        simulator,
        ("navigate", "view", "commit"),
        lambda one: task.latents(world, one).position == target,
    )


def shortest(
    simulator: Simulator,
    actions: Sequence[str],
    reached: Callable[[State], bool],
    extra: Click | None = None,
) -> list[Click]:
    """The fewest clicks on buttons of ``actions``, and on ``extra``, to a ``reached`` state.

    Empty if the search finds none within `MOST_STATES` states.
    """
    buttons = [
        Click(rect.x + rect.width // 2, rect.y + rect.height // 2)
        for rect, button in zip(simulator.arrangement.buttons, simulator.task.buttons, strict=True)
        if button.action in actions
    ]
    clicks = buttons if extra is None else [extra, *buttons]
    paths: dict[State, list[Click]] = {simulator.state: []}
    queue = deque([simulator.state])
    trial = simulator.again()
    while queue and len(paths) < MOST_STATES:
        trial.state = queue.popleft()
        path = paths[trial.state]
        for click in clicks:
            state = trial.after(click)
            if state in paths:
                continue
            if reached(state):
                return [*path, click]
            paths[state] = [*path, click]
            queue.append(state)
    return []


def _unmarked(simulator: Simulator) -> set[int]:
    """Slices without a mark."""
    count = simulator.task.latents(simulator.world, simulator.state).position_count
    return set(range(count)) - {mark[0] for mark in simulator.state.marks}


def _unticked(simulator: Simulator) -> set[int]:
    """Frames in which a button of the first group can be chosen and has no tick."""
    task, world, state = simulator.task, simulator.world, simulator.state
    group = task.buttons[0].group

    def finished(frame: int) -> bool:
        shown = task.states(world, replace(state, t=frame))
        own = [s for s, button in zip(shown, task.buttons, strict=True) if button.group == group]
        return all(one.ticked for one in own if one.enabled)

    return {t for t in range(task.latents(world, state).position_count) if not finished(t)}


def _unlinked(simulator: Simulator) -> set[int]:
    """The frame in which links are missing."""
    from bcprobe.tasks.cell_lineage_tracking import tree_of

    frame = tree_of(simulator.world, simulator.state).frame
    return {frame} if frame < simulator.world.frames else set()


def _unnamed(simulator: Simulator) -> set[int]:
    """The first object without a class."""
    count = simulator.task.latents(simulator.world, simulator.state).position_count
    named = len(simulator.state.labels)
    return {named} if named < count else set()


#: Frames that lack marks, as far as the screen tells and never the truth; of tasks with frames.
UNFINISHED: dict[str, Callable[[Any], set[int]]] = {
    "colored_dot_tracking": _unmarked,
    "neuron_tracking": _unmarked,
    "cell_lineage_tracking": _unlinked,
    "animal_limb_tracking": _unticked,
    "animal_behavioral_tracking": _unticked,
    "3d_exploration_classification": _unnamed,
}
