"""Screens and film strips, composed again from seeds and clicks."""

from __future__ import annotations

import numpy as np

from bcprobe.episodes.record import frames, generate
from bcprobe.figures import overview, screens
from bcprobe.tables.screens import shown_steps


def test_moments_hold_the_opening_the_end_and_the_mistake() -> None:
    episodes = (generate("colored_dot_tracking", seed) for seed in range(50))
    episode = next(e for e in episodes if any(step.undo_next for step in e.steps))
    table = shown_steps({"colored_dot_tracking": episode}, frames=8)
    steps = table["step"].tolist()
    undo = next(t for t, step in enumerate(episode.steps) if step.undo_next)
    assert len(steps) == 8
    assert steps == sorted(set(steps))
    assert {0, undo - 1, undo, len(episode) - 1} <= set(steps)
    assert table["widget"].iloc[-1] == "Done"
    figure = screens.plot_strips(table)
    shown = [axis.images[0].get_array() for axis in figure.axes]
    whole = list(frames(episode))
    assert all(np.array_equal(a, whole[t]) for a, t in zip(shown, steps, strict=True))
    assert [axis.lines[-1].get_xdata()[0] for axis in figure.axes[1:]] == table["x"].tolist()[1:]


def test_the_gallery_has_a_screen_per_task() -> None:
    made = {task: generate(task, 1) for task in ("colored_dot_tracking", "shape_matching")}
    table = shown_steps(made, frames=1)
    figure = screens.plot_screens(table)
    assert [axis.get_title() for axis in figure.axes[:2]] == ["colored dots", "shapes (held out)"]


def test_the_overview_has_six_stages_and_a_strip_of_worlds() -> None:
    tasks = ("colored_dot_tracking", "shape_matching")
    made = {task: generate(task, 1) for task in tasks}
    figure = overview.plot(shown_steps(made, frames=1))
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:6] == [title for title, _ in overview.STAGES]
    assert titles[6:] == ["colored dots", "shapes (held out)"]
    bars = [patch for patch in figure.axes[1].patches if patch.get_width() < 1]
    assert len(bars) == len(made["colored_dot_tracking"])
    assert len(figure.axes[2].images) == 3
