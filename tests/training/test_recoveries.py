"""Learning from visited states: labels, soft targets, limited worlds, a start from weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bcprobe.annotators.clicks import Press, mixture
from bcprobe.episodes.clickers import RandomClicker
from bcprobe.episodes.record import generate, open_world, work
from bcprobe.episodes.simulator import Simulator, rollout
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
from bcprobe.training.recording import EpisodeKey, TargetDistributions, record
from bcprobe.training.recoveries import (
    DISTURBANCES,
    OFF,
    DisturbedAnnotator,
    record_disturbed,
    relabelled,
)
from bcprobe.training.shards import DataConfig, make_shard, shard_keys
from bcprobe.training.targets import make_targets
from bcprobe.types import ACTIONS, Click

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
    shards = [list(make_shard(data, number)) for number in range(2)]
    assert [len(made) for shard in shards for made in shard[:2]] == [
        len(episodes[i]) for i in (0, 1, 2, 0)
    ]
    new = list(make_shard(replace(data, visited=""), 0))
    assert [len(made) for made in shards[0][2:]] == [len(made) for made in new[2:]]
    write_episodes([], tmp_path / "none")
    with pytest.raises(InputError, match="no episode"):
        list(make_shard(replace(data, visited=str(tmp_path / "none")), 0))


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


def disturbed(task: str, seed: int, *kinds: str) -> tuple[DisturbedAnnotator, Simulator]:
    """A world of that seed worked to the end."""
    simulator = open_world(task, seed)
    clicker = DisturbedAnnotator(seed, kinds or DISTURBANCES)
    rollout(clicker, [simulator])
    return clicker, simulator


@pytest.mark.parametrize("task", TASKS)
def test_annotators_recover_from_whatever_was_done_to_their_worlds(task: str) -> None:
    made = [disturbed(task, seed) for seed in range(4)]
    assert sum(any(clicker.disturbed) for clicker, _ in made) >= 2
    for clicker, simulator in made:
        outcome = simulator.task.score(simulator.world, simulator.state)
        assert outcome.done
        assert outcome.success
        assert len(clicker.choices) == len(clicker.disturbed) == len(simulator.history)


def test_disturbed_episodes_are_the_same_again_and_show_what_happened() -> None:
    key = EpisodeKey(TASK, "original", "default", 5, 5, disturbances=DISTURBANCES)
    first, again = record_disturbed(key), record_disturbed(key)
    for name in ("images", "clicks", "actions", "right"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert first.displays == again.displays
    assert first.targets is not None
    assert again.targets is not None
    assert first.targets.options == again.targets.options
    clicker, simulator = disturbed(TASK, 5)
    assert first.clicks.tolist() == [list(step.click) for step in simulator.history]
    assert list(first.targets.options) == clicker.choices
    plain = record(replace(key, disturbances=()))
    assert plain.clicks.tolist() != first.clicks.tolist()


@pytest.mark.parametrize("task", ["colored_dot_tracking", "road_network_construction"])
def test_after_a_misplaced_click_the_target_is_mostly_undo(task: str) -> None:
    chances = []
    for clicker, t in clicks_not_its_own(task, "place"):
        before, *after = clicker.simulator.history[t : t + 2]
        if after and after[0].latents.mistake and not before.latents.mistake:
            choices = clicker.choices[t + 1]
            chances.append(sum(p for p, target in choices if target == Press("Undo")))
    assert len(chances) >= 3
    assert min(chances) >= 0.6  # the rest checks first: a persona's delay


def clicks_not_its_own(task: str, kind: str) -> list[tuple[DisturbedAnnotator, int]]:
    """Disturbed annotators and the places in the history where the click was not their own."""
    found = []
    for seed in range(6):
        clicker, _ = disturbed(task, seed, kind)
        found += [(clicker, t) for t, other in enumerate(clicker.disturbed) if other]
    assert len(found) >= 5
    return found


def test_wrong_buttons_are_enabled_ones_and_never_done() -> None:
    for clicker, t in clicks_not_its_own(TASK, "button"):
        assert clicker.simulator.history[t].widget in ("+z", "-z", "MIP", "Undo")


def test_repeated_clicks_are_the_last_ones() -> None:
    for clicker, t in clicks_not_its_own(TASK, "repeat"):
        assert clicker.simulator.history[t].click == clicker.simulator.history[t - 1].click


def test_misplaced_clicks_lie_off_by_graded_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    distances = []
    misplaced = DisturbedAnnotator._misplaced

    def note(self: DisturbedAnnotator, own: Click) -> Click:
        other = misplaced(self, own)
        distances.append(float(np.hypot(other.x - own.x, other.y - own.y)))
        return other

    monkeypatch.setattr(DisturbedAnnotator, "_misplaced", note)
    for clicker, t in clicks_not_its_own(TASK, "place"):
        assert clicker.simulator.history[t].action == "place"
    assert min(distances) >= OFF[0] - 1
    assert max(distances) <= OFF[1] + 1
    assert max(distances) > 4 * min(distances)


def test_classes_are_disturbed_by_another_class() -> None:
    for clicker, t in clicks_not_its_own("3d_exploration_classification", "place"):
        assert clicker.simulator.history[t].action == "classify"


def test_loops_place_and_undo() -> None:
    for clicker, t in clicks_not_its_own(TASK, "loop"):
        step = clicker.simulator.history[t]
        assert step.action in ("place", "undo")
        if step.action == "undo":
            assert clicker.simulator.history[t - 1].action == "place"


def test_a_skipped_step_is_followed_by_what_comes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    due: list[tuple[Click, Click]] = []
    following = DisturbedAnnotator._next

    def note(self: DisturbedAnnotator, own: Click) -> Click:
        other = following(self, own)
        due.append((own, other))
        return other

    monkeypatch.setattr(DisturbedAnnotator, "_next", note)
    made = {clicker.simulator.history[t].click for clicker, t in clicks_not_its_own(TASK, "skip")}
    assert made == {other for own, other in due if own != other}


def test_other_episodes_of_a_shard_stay_as_they_were() -> None:
    data = DataConfig(tasks=(TASK,), difficulty="easy", episodes=8)
    keys = shard_keys(replace(data, disturbed=0.5), 3)
    assert 0 < sum(bool(key.disturbances) for key in keys) < 8
    assert [replace(key, disturbances=()) for key in keys] == shard_keys(data, 3)
    mixed, plain = make_shard(replace(data, disturbed=0.5), 3), make_shard(data, 3)
    for key, one, other in zip(keys, mixed, plain, strict=True):
        assert (one.targets is not None) == bool(key.disturbances)
        if not key.disturbances:
            assert np.array_equal(one.clicks, other.clicks)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"disturbed": 1.5}, "share and disturbed must be within 0-1"),
        ({"disturbances": ("plce",)}, "unknown disturbance 'plce'; did you mean 'place'"),
        ({"disturbed": 0.5, "disturbances": ()}, "need a kind of disturbance"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict, why: str) -> None:
    with pytest.raises(InputError, match=why):
        DataConfig(**changes)


def test_a_task_without_an_annotator_cannot_be_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    from bcprobe.annotators import ANNOTATORS

    monkeypatch.delitem(ANNOTATORS, TASK)
    with pytest.raises(InputError, match=f"task '{TASK}' has no annotator"):
        replace(tiny(), data=replace(tiny().data, disturbed=0.5))
