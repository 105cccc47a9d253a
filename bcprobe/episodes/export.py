"""Episodes for others: a dataset card beside the tables, and Minari datasets with pixels."""

from __future__ import annotations

import re
import shutil
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bcprobe.episodes.episode import Episode, Step
from bcprobe.episodes.record import replay
from bcprobe.episodes.simulator import Simulator
from bcprobe.episodes.store import EPISODES_FILE, EPISODES_SCHEMA, STEPS_FILE, STEPS_SCHEMA
from bcprobe.errors import InputError
from bcprobe.files import atomic_file
from bcprobe.types import ACTIONS, PHASES

_CARD = """---
license: mit
task_categories: [imitation-learning]
tags: [behavioral-cloning, annotation, gui]
configs:
- config_name: episodes
  data_files: {episodes_file}
  default: true
- config_name: steps
  data_files: {steps_file}
---
# Annotation episodes

{count} episodes, {steps} clicks, made with bcprobe (generator version {version}). Clicks and
seeds are stored, never pixels: every screen (480 x 360 px RGB) is composed again from them,
byte for byte, by `bcprobe.episodes.record.frames`, and `frame_hash` is the SHA-256 over
them. Worlds and annotators are synthetic. {people}

| task | episodes | clicks | success | layouts | difficulty |
|---|---|---|---|---|---|
{rows}

    from bcprobe.episodes.store import read_episodes
    from bcprobe.episodes.record import frames
    episode = read_episodes("FOLDER")[0]
    screens = list(frames(episode))

`{episodes_file}`: one row an episode ({episode_columns}).
`{steps_file}`: one row a click; latents describe the state before it ({step_columns}).
"""


def write_card(episodes: Sequence[Episode], folder: Path | str) -> Path:
    """``README.md`` of a folder that `bcprobe.episodes.store.write_episodes` has filled."""
    tasks = list(dict.fromkeys(episode.task for episode in episodes))
    text = _CARD.format(
        count=len(episodes),
        people=_people(sum(episode.origin == "person" for episode in episodes)),
        steps=sum(map(len, episodes)),
        version=", ".join(sorted({str(episode.generator_version) for episode in episodes})),
        rows="\n".join(_row(task, [e for e in episodes if e.task == task]) for task in tasks),
        episodes_file=EPISODES_FILE,
        steps_file=STEPS_FILE,
        episode_columns=", ".join(EPISODES_SCHEMA.names),
        step_columns=", ".join(STEPS_SCHEMA.names),
    )
    with atomic_file(Path(folder) / "README.md") as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    return Path(folder) / "README.md"


def _people(count: int) -> str:
    if not count:
        return "Nobody's data is in here."
    return (
        f"People worked {count} of the episodes: `time_ms` says when each click was made, and "
        "`recording` in which viewport, on which kind of device, and by whom if a name was typed."
    )


def _row(task: str, episodes: Sequence[Episode]) -> str:
    success = sum(episode.outcome.success for episode in episodes) / len(episodes)
    layouts = _listed(episode.layout for episode in episodes)
    difficulty = _listed(episode.difficulty for episode in episodes)
    clicks = sum(map(len, episodes))
    return f"| {task} | {len(episodes)} | {clicks} | {success:.1%} | {layouts} | {difficulty} |"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(Counter(names))


#: What Minari takes as a name, and nothing that leads out of its store.
_MINARI_NAME = re.compile(r"([A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+-v[0-9]+")


def check_minari(dataset_id: str, tasks: Sequence[str]) -> None:
    """Raise `InputError` unless a Minari dataset of that name can be made of these tasks."""
    if not _MINARI_NAME.fullmatch(dataset_id):
        raise InputError(f"'{dataset_id}' is no Minari name; one is 'dots-v0' or 'mine/dots-v0'")
    try:
        import minari
    except ImportError:
        raise InputError("Minari is not installed: pip install 'bcprobe[minari]'") from None
    if len(set(tasks)) != 1:
        raise InputError(f"a Minari dataset holds one task, not {len(set(tasks))}: use --task")
    if dataset_id in minari.list_local_datasets():
        raise InputError(f"there is a Minari dataset '{dataset_id}' already: choose another name")


def write_minari(episodes: Sequence[Episode], dataset_id: str) -> str:
    """Name of the Minari dataset that now holds one task's episodes, screens included.

    Observations are uint8 [step + 1, 360, 480, 3], actions clicks (x, y), rewards gains in
    score; infos [step + 1] are the labels (`_labels`). It goes where Minari keeps its datasets
    (``MINARI_DATASETS_PATH``). Raises `InputError` as `check_minari`; what fails leaves nothing.
    """
    tasks = {episode.task for episode in episodes}
    check_minari(dataset_id, sorted(tasks))
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.storage import get_dataset_path

    from bcprobe.episodes.gym import environment_id

    store = Path(get_dataset_path())
    before = {path for path in store.rglob("*") if path.is_dir()} if store.is_dir() else set()
    buffers = [EpisodeBuffer(id=i, **_buffer(episode)) for i, episode in enumerate(episodes)]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is set to None", category=UserWarning)
            minari.create_dataset_from_buffers(
                dataset_id,
                buffers,
                env=environment_id(tasks.pop()),
                algorithm_name="bcprobe virtual annotator",
                description=f"{len(episodes)} annotation episodes",
                author="bcprobe",
                jpeg_encoding=False,
            )
    except BaseException:
        for part in (store / dataset_id, *(store / dataset_id).parents):
            if part.is_relative_to(store) and part != store and part not in before:
                shutil.rmtree(part, ignore_errors=True)
        raise
    return dataset_id


def _labels(simulator: Simulator, step: Step | None) -> dict[str, float]:
    """What is true before a click; of the last screen, which none follows, the click's are -1.

    ``phase`` and ``action`` are places in `bcprobe.types.PHASES` and `ACTIONS`.
    """
    now = simulator.task.latents(simulator.world, simulator.state)
    return {
        "mistake": now.mistake,
        "position": now.position,
        "progress": now.progress,
        "phase": -1 if step is None else PHASES.index(step.phase),
        "action": -1 if step is None else ACTIONS.index(step.action),
    }


def _buffer(episode: Episode) -> dict[str, Any]:
    screens, scores, labels = [], [], []
    simulator = None
    for simulator, step in replay(episode):
        labels.append(_labels(simulator, step))
        screens.append(simulator.screen())
        scores.append(simulator.task.score(simulator.world, simulator.state).score)
    if simulator is None:
        raise InputError("an episode without clicks cannot be exported")
    labels.append(_labels(simulator, None))
    screens.append(simulator.screen())
    scores.append(episode.outcome.score)
    ended = [False] * (len(episode) - 1)
    return {
        "seed": episode.world_seed,
        "observations": np.stack(screens),
        "actions": np.array([step.click for step in episode.steps]),
        "rewards": np.diff(scores).tolist(),
        "terminations": [*ended, episode.outcome.done],
        "infos": {name: np.array([one[name] for one in labels]) for name in labels[0]},
        "truncations": [*ended, not episode.outcome.done],
    }
