"""The command line: what it prints, what it writes, and how it says no."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bcprobe import cli
from bcprobe.experiments import nano_of
from bcprobe.model.config import get_preset
from bcprobe.tasks import TRAINING_TASKS


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``bcprobe ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["bcprobe", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.fixture
def bcprobe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    return lambda *arguments: run(capsys, monkeypatch, *arguments)


def test_tasks_are_listed_with_buttons_and_layouts(bcprobe) -> None:
    code, out, _ = bcprobe("tasks", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["tasks"][0]["buttons"] == ["+z", "-z", "MIP", "Undo", "Done"]
    assert len(document["layouts"]) == 11
    assert sum(layout["held_out"] for layout in document["layouts"]) == 3
    assert "colored_dot_tracking" in bcprobe("tasks")[1]


@pytest.mark.parametrize("name", ["episode.html", "episode.gif"])
def test_show_writes_a_player(bcprobe, tmp_path: Path, name: str) -> None:
    code, out, _ = bcprobe("show", "--seed", 3, "--out", tmp_path / name, "--json")
    assert code == 0
    assert json.loads(out)["score"] == 1
    assert (tmp_path / name).stat().st_size > 50_000


def test_show_plays_a_mistake_and_a_model(bcprobe, tmp_path: Path) -> None:
    out = tmp_path / "episode.html"
    found = json.loads(bcprobe("show", "--mistake", "--out", out, "--json")[1])
    assert found["mistakes"] >= 1
    assert found["worked_by"] == "annotator"
    model = ("--checkpoint", "dots-nano", "--force")
    worked = json.loads(bcprobe("show", *model, "--out", out, "--json")[1])
    assert worked["worked_by"] == "dots-nano"
    assert worked["steps"] > 20


def test_version_and_help_by_their_usual_names(bcprobe) -> None:
    assert bcprobe("--version")[1].startswith("bcprobe 0.")
    assert bcprobe("-h")[1] == bcprobe("--help")[1]
    assert "--debug" in bcprobe("-h")[1]
    assert "--mistake" in bcprobe("show", "-h")[1]


def test_a_new_task_works(bcprobe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from bcprobe.annotators import ANNOTATORS
    from bcprobe.episodes.record import generate
    from bcprobe.tasks import TASKS

    for room in ("tasks", "annotators"):
        (tmp_path / room).mkdir()
    code, out, _ = bcprobe("new-task", "spot_counting", "--root", tmp_path)
    assert code == 0
    assert out.count("wrote ") == 2
    modules = {}
    for room in ("tasks", "annotators"):
        name = f"bcprobe.{room}.spot_counting"
        spec = importlib.util.spec_from_file_location(name, tmp_path / room / "spot_counting.py")
        modules[room] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, modules[room])
        spec.loader.exec_module(modules[room])
    monkeypatch.setitem(TASKS, "spot_counting", modules["tasks"].SpotCounting())
    monkeypatch.setitem(ANNOTATORS, "spot_counting", modules["annotators"].SpotCountingPolicy())
    episodes = [generate("spot_counting", seed) for seed in range(20)]
    assert all(one.outcome.success for one in episodes)
    assert any(step.latents.mistake for one in episodes for step in one.steps)
    again = bcprobe("new-task", "spot_counting", "--root", tmp_path)
    assert again[0] == 2


def test_generate_writes_episodes_that_read_back(bcprobe, tmp_path: Path) -> None:
    from bcprobe.episodes.record import frame_hash
    from bcprobe.episodes.store import read_episodes

    code, out, _ = bcprobe("generate", "--episodes", 2, "--out", tmp_path / "d", "--json")
    episodes = read_episodes(tmp_path / "d")
    assert code == 0
    assert json.loads(out)["steps"] == sum(map(len, episodes))
    assert frame_hash(episodes[1]) == episodes[1].frame_hash
    again = json.loads(bcprobe("stats", "--data", tmp_path / "d", "--json")[1])
    assert again["episodes"] == 2


def test_stats_sets_the_annotator_beside_people(bcprobe) -> None:
    document = json.loads(bcprobe("stats", "--episodes", 30, "--json")[1])
    steps = document["tasks"]["colored_dot_tracking"]["steps"]
    assert {"estimate", "lower", "upper", "n"} <= set(steps)
    assert steps["human_range"] == [71.0, 111.0]


def test_train_evaluate_and_list(bcprobe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runs" / "tiny"
    code, out, _ = bcprobe(
        "train", "--experiment", "tiny", "--out", folder, "--frames", 64, "--json"
    )
    assert code == 0
    assert json.loads(out)["out"] == str(folder)
    options = ("--episodes", 2, "--temperature", 0, "--section", "teacher_forced", "--json")
    document = json.loads(bcprobe("evaluate", "--checkpoint", folder, *options)[1])
    assert "teacher_forced" in json.dumps(document)
    monkeypatch.setenv("BCPROBE_CHECKPOINTS", str(folder.parent))
    listed = json.loads(bcprobe("checkpoints", "--json")[1])["checkpoints"]
    own = {c["name"]: c for c in listed}["tiny"]
    assert own["folder"] == str(folder)
    assert 64 in own["steps"]


def test_tasks_of_ones_choice_are_trained_without_an_experiment(bcprobe, tmp_path: Path) -> None:
    chosen = ("--task", "neuron_tracking", "--task", "colored_dot_tracking")
    code, out, _ = bcprobe("train", *chosen, "--out", tmp_path, "--frames", 128, "--json")
    assert code == 0
    assert json.loads(out)["experiment"] == "nano-of-tasks"
    plan = json.loads((tmp_path / "experiment.json").read_text())
    assert plan["data"]["tasks"] == ["neuron_tracking", "colored_dot_tracking"]
    assert nano_of(chosen[1::2]).model == get_preset("nano")
    assert [nano_of(names).frames for names in (["neuron_tracking"], TRAINING_TASKS)] == [
        1 << 19,
        9 << 18,
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "colored_dots"), ("unknown task", "colored_dot_tracking")),
        (("show", "--out", "episode.mp4"), (".html or .gif",)),
        (("show", "--layout", "orignal"), ("unknown layout", "original")),
        (("generate", "--out", "x", "--episodes", 0), ("--episodes is 0",)),
        (("stats", "--task", "dots"), ("unknown task",)),
        (("train", "--experiment", "dots-nan", "--out", "x"), ("unknown experiment", "dots-nano")),
        (("train", "--out", "x"), ("--experiment NAME, or --task NAME",)),
        (("train", "--experiment", "tiny", "--task", "all", "--out", "x"), ("or --task NAME",)),
        (("train", "--task", "neuron", "--out", "x"), ("unknown task", "neuron_tracking")),
        (("evaluate", "--checkpoint", "dots-nan"), ("unknown checkpoint",)),
        (("evaluate", "--section", "closed"), ("unknown section", "closed_loop")),
        (("probe", "--latent", "mistakes"), ("unknown latent", "mistake")),
        (("probe", "--episodes", 0), ("--episodes is 0",)),
        (("figure", "emergenc"), ("unknown figure", "emergence")),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    bcprobe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, words
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = bcprobe(*arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert all(word in err for word in words)
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(bcprobe) -> None:
    _, _, err = bcprobe("show", "nothing", "--debug")
    assert "Traceback" in err


def test_generate_takes_a_volume_of_your_own(bcprobe, tmp_path: Path) -> None:
    import numpy as np

    from bcprobe.episodes.record import frames
    from bcprobe.episodes.store import read_episodes
    from bcprobe.errors import InputError

    labels = np.zeros((12, 80, 80), dtype=np.uint16)
    labels[:, 20:60, 25:65] = 7
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", rng.integers(0, 255, labels.shape, dtype=np.uint8))
    np.savez(tmp_path / "labels.npz", labels)
    own = ("--images", tmp_path / "images.npz", "--labels", tmp_path / "labels.npz")
    code, _, err = bcprobe("generate", "--task", "neuron_tracking", *own, "--episodes", 2,
                           "--out", tmp_path / "d", "--json")  # fmt: skip
    assert code == 0, err
    episodes = read_episodes(tmp_path / "d")
    assert all(e.outcome.success and e.difficulty == "own data" for e in episodes)
    with pytest.raises(InputError, match="give its world"):
        next(frames(episodes[0]))
    for wrong in (own[:2], ("--task", "shape_matching", *own)):
        code, _, err = bcprobe("generate", *wrong, "--out", tmp_path / "no")
        assert (code, err.count("\n")) == (2, 1)
    assert not (tmp_path / "no").exists()


def test_no_verb_replaces_what_stands_there(bcprobe, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my own project")
    make = ("generate", "--task", "3d_exploration_classification", "--episodes", 1, "--out")
    for force in ((), ("--force",)):
        code, _, err = bcprobe(*make, tmp_path, *force)
        assert (code, err.count("\n")) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    data = tmp_path / "data"
    assert bcprobe(*make, data)[0] == 0
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    assert bcprobe(*make, data)[0] == 2
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before
    assert bcprobe(*make, data, "--seed", 9, "--force")[0] == 0
    assert {path.name: path.read_bytes() for path in data.iterdir()} != before


def test_stats_of_a_folder_honours_its_options_or_refuses_them(bcprobe, tmp_path: Path) -> None:
    tasks = ("--task", "3d_exploration_classification", "--task", "colored_dot_tracking")
    bcprobe("generate", *tasks, "--episodes", 2, "--out", tmp_path / "data")
    whole = json.loads(bcprobe("stats", "--data", tmp_path / "data", "--json")[1])
    one = json.loads(bcprobe("stats", "--data", tmp_path / "data", *tasks[:2], "--json")[1])
    assert (whole["episodes"], one["episodes"]) == (4, 2)
    assert bcprobe("stats", "--data", tmp_path / "data", "--task", "neuron_tracking")[0] == 2
    assert bcprobe("stats", "--data", tmp_path / "data", "--episodes", 3)[0] == 2


def test_people_stand_beside_annotators_on_their_worlds(bcprobe, tmp_path: Path) -> None:
    from dataclasses import replace

    from bcprobe.episodes.record import generate
    from bcprobe.episodes.store import write_episodes

    made = []
    for seed in (1, 2, 3):
        episode = generate("colored_dot_tracking", seed)
        times, now = [], 0.0
        for step in episode.steps:
            now += 1000.0 if step.action == "place" else 400.0
            times.append(now)
        steps = tuple(replace(s, time_ms=t) for s, t in zip(episode.steps, times, strict=True))
        made.append(replace(episode, origin="person", steps=steps))
    write_episodes(made, tmp_path / "p")
    document = json.loads(bcprobe("stats", "--data", tmp_path / "p", "--json")[1])
    own = document["tasks"]["colored_dot_tracking"]
    assert own["wait_place_ms"]["estimate"] == 1000.0
    assert own["wait_button_ms"]["estimate"] == 400.0
    beside = document["annotators"]["colored_dot_tracking"]
    assert beside["steps"]["estimate"] == own["steps"]["estimate"]  # the same worlds, clicked alike
    assert "wait_place_ms" not in beside
    assert document["paper_waits"] == {"wait_place_ms": 1289.0, "wait_button_ms": 598.0}
    assert "1289" in bcprobe("stats", "--data", tmp_path / "p")[1]


@pytest.mark.parametrize("verb", ["patch", "steer", "probe", "activations", "evaluate"])
@pytest.mark.parametrize("bad", [("--device", "cuda:99"), ("--threads", "0")])
def test_devices_and_threads_that_are_not_here(
    bcprobe, verb: str, bad: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, _, err = bcprobe(verb, "--checkpoint", "dots-nano", "--out", out, *bad)
    assert code == 2
    assert not out.exists()
    assert "Traceback" not in err


@pytest.mark.parametrize(("verb", "table"), [("patch", "patching"), ("steer", "directions")])
def test_a_file_of_somebody_else_is_never_replaced(
    bcprobe, verb: str, table: str, tmp_path: Path
) -> None:
    mine = tmp_path / f"{table}.parquet"
    mine.write_bytes(b"mine")
    for force in ((), ("--force",)):
        code, _, err = bcprobe(verb, "--checkpoint", "dots-nano", "--out", tmp_path, *force)
        assert code == 2
        assert mine.name in err
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "option", [("--device", "cpu"), ("--threads", "1"), ("--temperature", "1")]
)
def test_what_is_for_a_model_is_refused_without_one(
    bcprobe, option: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "episode.html"
    code, _, err = bcprobe("show", "--out", out, *option)
    assert code == 2
    assert "add --checkpoint" in err
    assert not out.exists()
