"""What holds for every task: its buttons, its images, its score, its layouts."""

from __future__ import annotations

import numpy as np
import pytest

from bcprobe.gui.layouts import LAYOUTS, arrange
from bcprobe.gui.text import text_width
from bcprobe.rng import generator
from bcprobe.tasks import HELD_OUT_TASKS, TASKS, TRAINING_TASKS, get_task
from bcprobe.types import ACTIONS, CANVAS_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH

every_task = pytest.mark.parametrize("name", TASKS)
SECTIONS = (
    "Description", "Instruction", "Actions", "Observation", "Success", "Settings", "Latents",
)  # fmt: skip


def test_nine_tasks_train_and_one_is_held_out() -> None:
    assert len(TRAINING_TASKS) == 9
    assert HELD_OUT_TASKS == ("shape_matching",)
    assert set(TASKS) == {*TRAINING_TASKS, *HELD_OUT_TASKS}


@every_task
def test_a_task_says_what_it_is(name: str) -> None:
    task = get_task(name)
    assert task.name == name
    assert all(f"{section}:" in (type(task).__doc__ or "") for section in SECTIONS)
    assert list(task.settings) == ["easy", "default", "hard"]
    names = [button.name for button in task.buttons]
    assert len(set(names)) == len(names)
    assert {"Undo", "Done"} <= set(names)
    assert all(button.action in ACTIONS for button in task.buttons)


@every_task
@pytest.mark.parametrize("layout", LAYOUTS)
def test_buttons_stand_apart_inside_the_screen_with_their_labels_whole(
    name: str, layout: str
) -> None:
    buttons = get_task(name).buttons
    places = arrange(LAYOUTS[layout], buttons)
    covered = np.zeros((SCREEN_HEIGHT, SCREEN_WIDTH), dtype=int)
    for rect, button in zip(places.buttons, buttons, strict=True):
        assert min(rect.x, rect.y) >= 0
        assert rect.x + rect.width <= SCREEN_WIDTH
        assert rect.y + rect.height <= SCREEN_HEIGHT
        assert text_width(button.label, "label") <= rect.width
        covered[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] += 1
    canvas = places.canvas
    covered[canvas.y : canvas.y + CANVAS_SIZE, canvas.x : canvas.x + CANVAS_SIZE] += 1
    assert covered.max() == 1


@every_task
@pytest.mark.parametrize("difficulty", ["easy", "default", "hard"])
def test_a_world_opens_unworked_and_draws_the_same_twice(name: str, difficulty: str) -> None:
    task = get_task(name)
    world, again = (task.sample(generator("world", name, 3), difficulty) for _ in range(2))
    state = task.open(world)
    assert state == task.open(again)
    assert task.score(world, state).score == 0
    assert not task.done(state)
    latents = task.latents(world, state)
    assert (latents.progress, latents.mistake) == (0, False)
    images = task.images(world)
    assert images.dtype == np.uint8
    assert images.shape[1:] == (CANVAS_SIZE, CANVAS_SIZE, 3)
    assert np.array_equal(images, task.images(again))
    assert task.draw(world, state).image < len(images)


@every_task
def test_worlds_of_other_seeds_look_different(name: str) -> None:
    task = get_task(name)
    first, second = (task.images(task.sample(generator("world", name, s)))[0] for s in (0, 1))
    assert (first != second).mean() > 0.02


@every_task
def test_undo_is_off_at_the_start_and_a_disabled_button_does_nothing(name: str) -> None:
    task = get_task(name)
    world = task.sample(generator("world", name, 0))
    state = task.open(world)
    states = dict(zip([b.name for b in task.buttons], task.states(world, state), strict=True))
    assert not states["Undo"].enabled
    for button, shown in states.items():
        if not shown.enabled:
            assert task.press(world, state, button) == state
