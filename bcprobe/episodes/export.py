"""Episodes for others: a dataset card beside the tables, and Minari datasets with pixels."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import replay
from bcprobe.episodes.store import EPISODES_FILE, EPISODES_SCHEMA, STEPS_FILE, STEPS_SCHEMA
from bcprobe.errors import InputError
from bcprobe.files import atomic_file

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


def write_minari(episodes: Sequence[Episode], dataset_id: str) -> str:
    """Name of the Minari dataset that now holds one task's episodes, screens included.

    Observations are uint8 [step + 1, 360, 480, 3], actions clicks (x, y), rewards gains in
    score. It goes where Minari keeps its datasets (``MINARI_DATASETS_PATH``). Raises
    `InputError` if Minari is not installed, the episodes are of several tasks, or the name
    is taken.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError:
        raise InputError("Minari is not installed: pip install 'bcprobe[minari]'") from None
    from bcprobe.episodes.gym import environment_id

    tasks = {episode.task for episode in episodes}
    if len(tasks) != 1:
        raise InputError(f"a Minari dataset holds one task, not {len(tasks)}: use --task")
    if dataset_id in minari.list_local_datasets():
        raise InputError(f"there is a Minari dataset '{dataset_id}' already: choose another name")
    buffers = [EpisodeBuffer(id=i, **_buffer(episode)) for i, episode in enumerate(episodes)]
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
    return dataset_id


def _buffer(episode: Episode) -> dict[str, Any]:
    screens, scores = [], []
    simulator = None
    for simulator, _ in replay(episode):
        screens.append(simulator.screen())
        scores.append(simulator.task.score(simulator.world, simulator.state).score)
    if simulator is None:
        raise InputError("an episode without clicks cannot be exported")
    screens.append(simulator.screen())
    scores.append(episode.outcome.score)
    ended = [False] * (len(episode) - 1)
    return {
        "seed": episode.world_seed,
        "observations": np.stack(screens),
        "actions": np.array([step.click for step in episode.steps]),
        "rewards": np.diff(scores).tolist(),
        "terminations": [*ended, episode.outcome.done],
        "truncations": [*ended, not episode.outcome.done],
    }
