"""bcprobe: worlds, annotators, transformers that predict clicks, and probes of what they know.

``import bcprobe as bp``; every name of `__all__` is looked up when it is first used.

Models: `load`, `checkpoints`, `train`, `evaluate`. Worlds and episodes: `tasks`, `episode`,
`episodes`, `twins`, `pair`, `counterfactual`, `rollout`. Inside: `activations`, `probe`, `patch`,
`explore`, `TokenAdapter` (for TransformerLens's tools). Many runs and pictures: `study`, `figure`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bcprobe.lazy import resolve

if TYPE_CHECKING:
    from bcprobe.activations.gather import activations as activations
    from bcprobe.episodes.counterfactual import counterfactual as counterfactual
    from bcprobe.episodes.generate import episode as episode
    from bcprobe.episodes.generate import episodes as episodes
    from bcprobe.evaluation.rollouts import rollout as rollout
    from bcprobe.evaluation.suite import evaluate as evaluate
    from bcprobe.explore import explore as explore
    from bcprobe.interventions.maps import patch as patch
    from bcprobe.interventions.pairs import pair as pair
    from bcprobe.interventions.pairs import twins as twins
    from bcprobe.model.adapter import TokenAdapter as TokenAdapter
    from bcprobe.model.checkpoint import load_checkpoint
    from bcprobe.model.registry import checkpoints as checkpoints
    from bcprobe.probes.protocol import probe as probe
    from bcprobe.tasks import tasks as tasks
    from bcprobe.training.loop import train as train

    load = load_checkpoint

__version__ = "0.1.0"

#: Public names and where they stand. Rooms of the same name are called: see `bcprobe.lazy`.
_NAMES = {
    "InputError": "bcprobe.errors:InputError",
    "TokenAdapter": "bcprobe.model.adapter:TokenAdapter",
    "activations": "bcprobe.activations.gather:activations",
    "counterfactual": "bcprobe.episodes.counterfactual:counterfactual",
    "checkpoints": "bcprobe.model.registry:checkpoints",
    "episode": "bcprobe.episodes.generate:episode",
    "episodes": "bcprobe.episodes.generate:episodes",
    "evaluate": "bcprobe.evaluation.suite:evaluate",
    "explore": "bcprobe.explore:explore",
    "load": "bcprobe.model.checkpoint:load_checkpoint",
    "patch": "bcprobe.interventions.maps:patch",
    "pair": "bcprobe.interventions.pairs:pair",
    "probe": "bcprobe.probes.protocol:probe",
    "rollout": "bcprobe.evaluation.rollouts:rollout",
    "tasks": "bcprobe.tasks:tasks",
    "train": "bcprobe.training.loop:train",
    "twins": "bcprobe.interventions.pairs:twins",
}
#: Names that a submodule has too: the module itself is what the name stands for, and is called.
_ROOMS = {name: f"bcprobe.{name}" for name in ("activations", "episodes", "explore", "tasks")}

__all__ = ["__version__", *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        __import__(_ROOMS[name])
        return sys.modules[_ROOMS[name]]
    if name not in _NAMES:
        raise AttributeError(f"module 'bcprobe' has no attribute '{name}'")
    found = resolve(_NAMES[name])
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
