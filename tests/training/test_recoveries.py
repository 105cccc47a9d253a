"""Learning from visited states: labels, soft targets, limited worlds, a start from weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bcprobe.annotators.clicks import mixture
from bcprobe.episodes.clickers import RandomClicker
from bcprobe.episodes.record import generate, work
from bcprobe.episodes.store import write_episodes
from bcprobe.errors import InputError
from bcprobe.evaluation.teacher_forced import annotator_nll
from bcprobe.experiments import tiny
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator
from bcprobe.tasks import TASKS
from bcprobe.training.batch import DeviceSums, PackedRecordings, dense, frame_buffer
from bcprobe.training.loop import train
from bcprobe.training.recording import TargetDistributions
from bcprobe.training.recoveries import relabelled, visited_recordings
from bcprobe.training.shards import DataConfig, make_shard, shard_keys
from bcprobe.training.targets import make_targets
from bcprobe.types import ACTIONS

TASK = "colored_dot_tracking"


def heat_map(targets: TargetDistributions, frame: int) -> np.ndarray:
    """What is to be learned at a frame, every kind of click weighing alike: [360, 480]."""
    options = targets.weighted(frame, np.ones(len(ACTIONS)))
    return mixture(options, targets.arrangement, targets.names).heat_map()


def test_an_annotators_own_episode_is_labelled_with_its_own_distribution() -> None:
    episode = next(e for e in (generate(TASK, seed) for seed in range(50)) if _undoes(e))
    found = relabelled(episode)
    assert found.targets is not None
    own = [-np.log(heat_map(found.targets, t)[y, x]) for t, (x, y) in enumerate(found.clicks)]
    assert own == pytest.approx(list(annotator_nll(episode)))


def _undoes(episode) -> bool:
    return any(step.undo_next for step in episode.steps)


def test_soft_episodes_are_the_same_with_the_distribution_each_click_was_drawn_from() -> None:
    data = DataConfig(tasks=(TASK, "animal_limb_tracking"), episodes=4, personas=2)
    hard, soft = (make_shard(replace(data, soft=one), 0) for one in (False, True))
    for clicked, known, key in zip(hard, soft, shard_keys(data, 0), strict=True):
        assert clicked.targets is None
        assert known.targets is not None
        assert np.array_equal(clicked.clicks, known.clicks)
        own = [-np.log(heat_map(known.targets, t)[y, x]) for t, (x, y) in enumerate(known.clicks)]
        episode = generate(key.task, key.world_seed, annotator_seed=key.annotator_seed)
        assert own == pytest.approx(list(annotator_nll(episode)))


def test_every_state_of_a_random_clicker_gets_a_label() -> None:
    clicker = RandomClicker(generator("random", 1))
    episode = work(clicker, TASK, [3], origin="random", max_steps=40)[0]
    found = relabelled(episode)
    assert found.targets is not None
    sums = [heat_map(found.targets, t).sum() for t in range(len(found))]
    assert sums == pytest.approx([1.0] * len(episode))
    assert not set(found.actions) & {ACTIONS.index("idle")}
    assert found.clicks.tolist() == [list(step.click) for step in episode.steps]


@pytest.mark.parametrize("head", ["pointer", "independent"])
def test_cross_entropy_of_one_click_is_its_nll_and_of_several_their_mean(head: str) -> None:
    torch.manual_seed(0)
    model = ClickTransformer(replace(tiny().model, head=head))
    frames = torch.randint(0, 255, (1, 2, 3, 360, 480), dtype=torch.uint8)
    clicks = model(frames, torch.tensor([[[-1, -1], [5, 5]]]))
    places = torch.tensor([[[100, 50], [479, 359]], [[7, 300], [200, 200]]])
    heat = torch.zeros(1, 2, 360, 480)
    for x, y in places.transpose(0, 1).reshape(-1, 2).tolist()[:2]:
        heat[0, 0, y, x] += 0.5
    heat[0, 1, 200, 200] = 1.0
    nll = [-clicks.click_log_prob(places[i][None])[0] for i in (0, 1)]
    expected = torch.stack([(nll[0][0] + nll[1][0]) / 2, nll[1][1]])
    sums = summed(heat, model.config.cell)
    torch.testing.assert_close(clicks.cross_entropy(*sums)[0], expected)


def summed(heat: torch.Tensor, cell: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps [..., 360, 480] summed over cells' height and width."""
    return heat.unflatten(-2, (-1, cell[1])).sum(-2), heat.unflatten(-1, (-1, cell[0])).sum(-1)


@pytest.mark.parametrize("task", TASKS)
def test_what_is_learned_is_the_annotators_distribution_summed_over_cells(task: str) -> None:
    made = next(make_shard(DataConfig(tasks=(task,), episodes=1, soft=True), 0))
    assert made.targets is not None
    index = np.arange(min(40, len(made)))[None]
    batch = PackedRecordings([made], make_targets([made], cell=(40, 30))).fill(
        index, frame_buffer(*index.shape)
    )
    heat = torch.from_numpy(np.stack([heat_map(made.targets, int(t)) for t in index[0]]))[None]
    for found, wanted in zip((batch.across, batch.down), summed(heat, (40, 30)), strict=True):
        assert found is not None
        torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=0)


def test_a_device_lays_out_the_same_distributions() -> None:
    made = next(make_shard(DataConfig(episodes=1, soft=True), 0))
    sums = make_targets([made], cell=(40, 30)).across
    assert sums is not None
    index = np.random.default_rng(0).integers(len(made), size=(2, 20))
    found = DeviceSums(sums, torch.device("cpu")).dense(index)
    assert np.array_equal(found.numpy(), dense(sums, index))


def test_a_tape_of_both_kinds_has_a_distribution_for_every_frame() -> None:
    plain = next(make_shard(DataConfig(difficulty="easy", episodes=1), 0))
    recordings = [plain, relabelled(generate(TASK, 5, difficulty="easy"))]
    sequence = PackedRecordings(recordings, make_targets(recordings))
    index = np.array([[0, 1, len(plain), len(plain) + 1]])
    batch = sequence.fill(index, frame_buffer(1, 4))
    x, y = plain.clicks[1]
    for found in (batch.across, batch.down):
        assert found is not None
        assert found.sum((-1, -2)).numpy() == pytest.approx(1.0)
        assert found[0, 1, y, x] == 1
        assert found[0, 2].max() < 1
    assert (
        PackedRecordings([plain], make_targets([plain]))
        .fill(index[:, :2], frame_buffer(1, 2))
        .across
        is None
    )


def test_weights_on_actions_weigh_the_parts_of_a_distribution() -> None:
    made = next(make_shard(DataConfig(episodes=1, soft=True), 0))
    heavy = replace(tiny(), action_weights=(("done", 5.0),)).weights
    index = np.arange(len(made))[None]
    plain, weighed = (
        PackedRecordings([made], make_targets([made], w)).fill(index, frame_buffer(*index.shape))
        for w in (None, heavy)
    )
    assert plain.across is not None
    assert weighed.across is not None
    assert made.targets is not None
    done = made.targets.arrangement.buttons[made.targets.names.index("Done")]
    counted = np.ones((360, 480))
    counted[done.y : done.y + done.height, done.x : done.x + done.width] = 5.0
    expected = plain.across.numpy() * counted
    np.testing.assert_allclose(
        weighed.across.numpy() * weighed.weight.numpy()[..., None, None], expected, atol=1e-6
    )
    assert 1.0 < weighed.weight.max() <= 5.0
    assert plain.weight.numpy() == pytest.approx(1.0)


def test_limited_worlds_come_again() -> None:
    data = DataConfig(episodes=4, worlds=3)
    first, second, third = (shard_keys(data, number) for number in range(3))
    seeds = [key.world_seed for key in (*first, *second, *third)]
    assert len(set(seeds)) == 3
    assert seeds[:3] == seeds[3:6]
    assert shard_keys(DataConfig(episodes=4), 0)[:3] == first[:3]
    with pytest.raises(InputError, match="worlds"):
        DataConfig(worlds=-1)


def test_visited_episodes_take_turns_beside_new_ones(tmp_path: Path) -> None:
    episodes = [generate(TASK, seed, difficulty="easy") for seed in range(3)]
    write_episodes(episodes, tmp_path)
    data = DataConfig(difficulty="easy", episodes=4, visited=str(tmp_path), share=0.5)
    shards = [list(visited_recordings(data, number)) for number in range(2)]
    assert [len(made) for shard in shards for made in shard] == [
        len(episodes[i]) for i in (0, 1, 2, 0)
    ]
    assert len(list(make_shard(data, 0))) == 2
    write_episodes([], tmp_path / "none")
    with pytest.raises(InputError, match="no episode"):
        list(visited_recordings(replace(data, visited=str(tmp_path / "none")), 0))


def test_a_run_starts_from_a_checkpoint_and_learns_from_visited_states(
    whole: Path, quick, tmp_path: Path
) -> None:
    clicker = RandomClicker(generator("random", 2))
    made = work(clicker, TASK, [1, 2], origin="random", difficulty="easy", max_steps=20)
    write_episodes(made, tmp_path / "seen")
    data = replace(quick.data, visited=str(tmp_path / "seen"))
    plan = replace(quick, data=data, start_from=str(whole), frames=16, lr=0.0, weight_decay=0.0)
    options = {"threads": 1, "progress": False, "device": "cpu"}
    folder = train(plan, tmp_path / "run", **options)
    start, end = load_checkpoint(whole), load_checkpoint(folder)
    for name, value in start.state_dict().items():
        torch.testing.assert_close(end.state_dict()[name], value)
    wide = replace(plan, model=replace(plan.model, n_heads=4))
    for bad, why in ((wide, "another shape"), (replace(plan, start_from="tinny"), "unknown")):
        with pytest.raises(InputError, match=rf"starts from checkpoint.*{why}"):
            train(bad, tmp_path / "bad", **options)
        assert not (tmp_path / "bad").exists()


def test_a_run_saved_before_these_settings_goes_on(whole: Path, quick, tmp_path: Path) -> None:
    import json
    import shutil

    old = shutil.copytree(whole, tmp_path / "old")
    plain = json.loads((old / "experiment.json").read_text())
    del plain["start_from"], plain["data"]["worlds"], plain["data"]["visited"]
    del plain["data"]["share"]
    (old / "experiment.json").write_text(json.dumps(plain))
    assert train(quick, old, resume=True, threads=1, progress=False, device="cpu") == old
