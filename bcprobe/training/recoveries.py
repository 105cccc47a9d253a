"""Stored episodes to learn from: what an annotator would have done at every state visited.

Whoever worked them (a model, an annotator, both in turns), the clicks to learn are the
annotator's: its exact distribution at each state. This is what DAgger (Ross et al. 2011) asks
of an expert.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from bcprobe.annotators.policy import Annotator
from bcprobe.episodes.clickers import annotator_before
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import replay
from bcprobe.episodes.store import read_episodes
from bcprobe.errors import InputError
from bcprobe.training.shards import DataConfig, Recording, distributions_of


def visited_recordings(data: DataConfig, shard: int) -> Iterator[Recording]:
    """A shard's recordings of visited episodes, which take turns from shard to shard."""
    if not data.visits:
        return
    episodes = _stored(data.visited)
    for place in range(shard * data.visits, (shard + 1) * data.visits):
        yield relabelled(episodes[place % len(episodes)])


@lru_cache(maxsize=1)
def _stored(folder: str) -> list[Episode]:
    episodes = [episode for episode in read_episodes(folder) if len(episode)]
    if not episodes:
        raise InputError(f"'{folder}' holds no episode with a click")
    return episodes


def relabelled(episode: Episode) -> Recording:
    """What was shown and clicked in an episode, with the annotator's distributions at every frame.

    The annotator (of the episode's seed) has watched all clicks before. A frame's action is
    that of its likeliest target.
    """
    annotator: Annotator | None = None
    displays, options = [], []
    images = np.empty((0, 0, 0, 3), dtype=np.uint8)
    for simulator, step in replay(episode):
        annotator = annotator or annotator_before(simulator, episode.annotator_seed)
        images = simulator.images
        displays.append(simulator.display())
        options.append(annotator.aims(simulator.state))
        annotator.watch(simulator.state, step.click)
    if annotator is None:
        raise InputError("an episode without a click has nothing to learn from")
    distributions = distributions_of(options, episode.task, episode.layout)
    likeliest = [max(frame, key=lambda option: option[0])[1] for frame in options]
    return Recording(
        images=images,
        displays=tuple(displays),
        clicks=np.array([step.click for step in episode.steps], dtype=np.int64),
        actions=np.array([distributions.action(target) for target in likeliest], dtype=np.int8),
        right=np.zeros(len(episode), dtype=bool),
        targets=distributions,
    )
