"""How a person, virtual annotators and a model fared in one world."""

from __future__ import annotations

from typing import Any

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import generate
from bcprobe.evaluation.metrics import mistakes

#: Annotators set beside a person.
ANNOTATORS = 5


def result(episode: Episode, who: str) -> dict[str, Any]:
    """How somebody fared, as a row of the comparison."""
    found = mistakes(episode.steps)
    times = [step.time_ms for step in episode.steps if step.time_ms is not None]
    return {
        "who": who,
        "score": episode.outcome.score,
        "success": episode.outcome.success,
        "done": episode.outcome.done,
        "steps": len(episode),
        "mistakes": len(found),
        "corrected": sum(one.cleared is not None for one in found),
        "seconds": times[-1] / 1000 if times else None,
    }


def annotator(
    task: str, world_seed: int, layout: str, difficulty: str, number: int
) -> dict[str, Any]:
    """How a virtual annotator fared in a world; ``careful`` 0-1 is how often it verifies."""
    episode = generate(
        task, world_seed, layout=layout, difficulty=difficulty, annotator_seed=number
    )
    careful = round(episode.persona["carefulness"], 2)
    return result(episode, f"annotator {number + 1}") | {"careful": careful}
