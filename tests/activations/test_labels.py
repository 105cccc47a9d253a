from __future__ import annotations

import pytest

from bcprobe.activations.labels import LATENTS, get_latent, label_table, rows_asked, targets
from bcprobe.episodes.clickers import ScriptClicker
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate, open_world, work
from bcprobe.rng import split_seed
from bcprobe.types import Click

TASK = "colored_dot_tracking"


@pytest.fixture(scope="module")
def scripted() -> Episode:
    """Right mark, next slice, wrong mark, another wrong mark, Undo twice, next slice, Done."""
    seed = split_seed("test", 0)
    simulator = open_world(TASK, seed)
    names = [button.name for button in simulator.task.buttons]
    canvas = simulator.arrangement.canvas

    def aim(target: str | tuple[int, int]) -> Click:
        if isinstance(target, str):
            rect = simulator.arrangement.buttons[names.index(target)]
            return Click(rect.x + rect.width // 2, rect.y + rect.height // 2)
        z, off = target
        x, y = simulator.world.centres[z].round().astype(int)
        return Click(int(canvas.x + (x + off) % 256), int(canvas.y + y))

    plan = ((0, 0), "+z", (1, 40), (1, 60), "Undo", "Undo", "+z", "Done")
    script = [aim(target) for target in plan]
    return work(ScriptClicker([script]), TASK, [seed], origin="script", max_steps=len(plan))[0]


def test_labels_describe_the_state_before_each_click(scripted: Episode) -> None:
    table = label_table([scripted])
    assert table["action"].tolist() == [
        "place", "navigate", "place", "place", "undo", "undo", "navigate", "done",
    ]  # fmt: skip
    assert table["previous_action"].tolist()[:4] == ["none", "place", "navigate", "place"]
    assert table.index[table["mistake"]].tolist() == [3, 4, 5]
    assert table.index[table["undo_next"]].tolist() == [4, 5]
    assert table.index[table["just_placed"]].tolist() == [1, 3, 4]
    assert table["position"].tolist() == [0, 0, 1, 1, 1, 1, 1, 2]
    assert table["progress"].iloc[1:].tolist() == pytest.approx([1 / 16] * 7)


def test_matched_steps_follow_a_right_or_the_first_mistaken_placement(scripted: Episode) -> None:
    table = label_table([scripted])
    rows = rows_asked(table, get_latent("mistake"), "matched")
    assert rows.nonzero()[0].tolist() == [1, 3]
    assert targets(table[rows], get_latent("mistake")).tolist() == [False, True]
    assert rows_asked(table, get_latent("mistake"), "all").all()


def test_every_latent_is_a_column_of_annotators_episodes() -> None:
    episodes = [generate(TASK, split_seed("test", i), max_steps=30) for i in range(2)]
    table = label_table(episodes)
    assert len(table) == sum(map(len, episodes))
    assert table["episode"].nunique() == 2
    for latent in LATENTS.values():
        assert len(targets(table, latent)) == len(table)
    assert not (table["previous_right"] & table["mistake"]).any()
    assert not (table["previous_right"] & table["previous_mistaken"]).any()
