"""Tables of the figures about what is inside: probes and interventions."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pandas as pd

from bcprobe.activations.gather import activations
from bcprobe.model.registry import (
    NINE_TASK_CHECKPOINT,
    NINE_TASK_SERIES,
    find_checkpoint,
    trained_tasks,
)
from bcprobe.probes.over_training import probe_series
from bcprobe.probes.protocol import probe, run
from bcprobe.probes.psychometric import psychometric
from bcprobe.probes.result import CROSSED, CROSSED_ALL, ProbeResult
from bcprobe.tables.evaluation import POINTER, TASK, series

#: Latents whose emergence is followed, and test episodes of each task at each saved step.
FOLLOWED = ("mistake", "phase", "position", "progress")
SERIES_EPISODES = {POINTER: 40, NINE_TASK_SERIES: 8}
OWN_EPISODES = 20
#: Checkpoints of dots by the manner of the annotators that they learned from.
GAP, TWO_BY_TWO = "dots-gap", "dots-two-by-two"
GRADED = "dots-graded-longer"
#: Test episodes that their probes are fitted on; worlds and distances (px) of the curves.
CROSSED_EPISODES, GRADED_WORLDS = 200, 40
FINE_SHIFTS = (0.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0, 24.0)
#: Test episodes of each task that probes of several tasks are fitted on.
ACROSS_EPISODES = 40


def mistake_probe() -> pd.DataFrame:
    """The mistake probe of the nine-task checkpoint over all its tasks, by the whole protocol.

    About a quarter of an hour of one core, half of it for the activations.
    """
    return _across("mistake").table()


def dots_mistake_probe() -> pd.DataFrame:
    """The mistake probe of dots-nano, layer by layer, with its controls, by the whole protocol."""
    return run("mistake", POINTER, TASK, rigor="full").table()


def cosines() -> pd.DataFrame:
    """Cosines between the tasks' mistake directions."""
    table = _across("mistake").table()
    return table[table["scheme"] == "cosine"].reset_index(drop=True)


def latents() -> pd.DataFrame:
    """Phase and position over all tasks, by layer and by task."""
    parts = [_across(name).table().assign(latent=name) for name in ("phase", "position")]
    return pd.concat(parts, ignore_index=True)


@lru_cache(maxsize=4)
def _across(latent: str) -> ProbeResult:
    named: dict[str, Any] = {"episodes": ACROSS_EPISODES}
    if latent == "mistake":
        named |= {"own": OWN_EPISODES, "rigor": "full"}
    return run(latent, NINE_TASK_CHECKPOINT, _tasks(), **named)


def _tasks() -> tuple[str, ...]:
    return trained_tasks(find_checkpoint(NINE_TASK_CHECKPOINT))


def psychometric_curves(name: str = NINE_TASK_CHECKPOINT, worlds: int = 10) -> pd.DataFrame:
    """Probe and P(Undo) of a checkpoint over the distance of the truth from the mark."""
    data = activations(name, episodes=ACROSS_EPISODES)
    return psychometric(data, name, probe(data).best.site, worlds=worlds)


def dots_psychometric() -> pd.DataFrame:
    """`psychometric_curves` of dots-nano."""
    return psychometric_curves(POINTER, 24)


def graded() -> pd.DataFrame:
    """`psychometric` of colored dots learned with mistakes far off, and with graded ones.

    A row's ``training`` names the checkpoint, ``manner`` the annotators that its probe was fitted
    on. All but dots-nano are not shipped: train the experiments of their names first.
    """
    sets = [(GAP, "usual"), (GAP, "graded"), (POINTER, "usual"), (GRADED, "graded")]
    return pd.concat([_curves_of(*one) for one in sets], ignore_index=True)


def _curves_of(name: str, manner: str) -> pd.DataFrame:
    data = activations(name, TASK, CROSSED_EPISODES, manner=manner, untrained=0)
    site = probe(data).best.site
    curves = psychometric(data, name, site, worlds=GRADED_WORLDS, shifts=FINE_SHIFTS)
    return curves.assign(training=name, manner=manner)


def two_by_two() -> pd.DataFrame:
    """Mistakes and Undos told apart, on annotators who overlook some and doubt some right marks.

    A row's ``training`` names the checkpoint: one that learned from such annotators, and one that
    learned from usual ones. They are not shipped: train the experiments of their names first.
    """
    parts = []
    for name in (TWO_BY_TWO, GAP):
        found = run("mistake", name, TASK, episodes=CROSSED_EPISODES, manner="two_by_two").table()
        parts.append(found[found["scheme"].isin([CROSSED, CROSSED_ALL])].assign(training=name))
    return pd.concat(parts, ignore_index=True)


def probe_emergence() -> pd.DataFrame:
    """Score of each latent's best layer at every saved step, beside accuracy by kind of click.

    Of both series with the pointer head: colored dots, and all tasks.
    """
    return pd.concat([_emerging(name) for name in SERIES_EPISODES], ignore_index=True)


def _emerging(name: str) -> pd.DataFrame:
    tasks = trained_tasks(find_checkpoint(name))
    probes = probe_series(FOLLOWED, name, tasks, SERIES_EPISODES[name])
    best = probes.loc[probes.groupby(["name", "frames"])["estimate"].idxmax()]
    skills = series(name).rename(columns={"skill": "name"})
    skills = skills[skills["metric"] == "accuracy"]
    both = pd.concat([best.assign(what="probe"), skills.assign(what="skill")], ignore_index=True)
    return both.assign(checkpoint=name, tasks=len(tasks))
