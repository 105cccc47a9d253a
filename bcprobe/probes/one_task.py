"""One probe from names to numbers: layer by layer, with controls and a direction card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bcprobe.activations.cache import load_or_make
from bcprobe.activations.dataset import Activations, make_source
from bcprobe.activations.gather import gather_sources
from bcprobe.activations.labels import Question, ask, get_latent
from bcprobe.errors import InputError
from bcprobe.model.registry import DEFAULT_CHECKPOINT
from bcprobe.parallel import in_threads, one_thread
from bcprobe.probes.cards import make_card
from bcprobe.probes.controls import CONTROLS, run_controls
from bcprobe.probes.directions import fit_direction
from bcprobe.probes.linear import ProbeScore, read, read_question, score
from bcprobe.probes.result import Best, Draw, ProbeResult
from bcprobe.results import Score

Scores = dict[str, ProbeScore]


class Subject(Protocol):
    """What activations are of: a `Source`, or several as one."""

    @property
    def task(self) -> str:
        """The task, or what stands for several."""

    @property
    def episodes(self) -> int:
        """How many episodes."""

    @property
    def seed(self) -> int:
        """Seed of their worlds."""

    @property
    def key(self) -> str:
        """Name of the content."""

    def layer(self, site: str) -> int:
        """Blocks before a site."""


def run(
    latent: str = "mistake",
    checkpoint: str | Path = DEFAULT_CHECKPOINT,
    task: str = "colored_dot_tracking",
    sites: Sequence[str] | None = None,
    episodes: int = 200,
    seed: int = 0,
    layout: str = "original",
    out: Path | str | None = None,
    progress: bool = True,
    *,
    difficulty: str = "default",
    draw: Draw | None = None,
) -> ProbeResult:
    """Probe a checkpoint for a latent on annotators' episodes in unseen worlds.

    ``sites`` default to the residual stream at every layer. Activations come from the cache
    or are gathered by a process a core. With ``out``, `ProbeResult.write` is called. Raises
    `InputError` for unknown names, or episodes that hold one class only.
    """
    get_latent(latent)
    options: dict[str, Any] = {"seed": seed, "layout": layout, "difficulty": difficulty}
    source = make_source(checkpoint, task, episodes, sites=sites, **options)
    (activations,) = load_or_make([source], partial(gather_sources, progress=progress))
    chosen = tuple(dict.fromkeys(source.sites if sites is None else sites))
    with one_thread():
        result = analyse(activations, latent, source, chosen, str(checkpoint))
    if out is not None:
        result.write(out, draw)
    return result


def analyse(
    activations: Activations, latent: str, source: Subject, sites: Sequence[str], name: str
) -> ProbeResult:
    """Probes at every site, controls at the best; ``name`` is what the checkpoint is called."""
    known = get_latent(latent)
    questions = {way: ask(activations.labels, latent, way) for way in known.negatives}
    asked = questions[known.negatives[0]]
    probes = {way: probe_sites(one, activations.values, sites) for way, one in questions.items()}
    layers = {site: source.layer(site) for site in sites}
    best = choose(asked, activations, probes[asked.negatives], layers)
    untrained = _untrained(questions, activations, sites, best)
    controls = {}
    for way, one in questions.items():
        found = run_controls(one, activations, best.site, probes[way][best.site], source.seed)
        controls[way] = found | {"untrained": untrained[way][best.site]}
    features = asked.features(activations.at(best.site))
    direction = fit_direction(known.kind, features, asked.truth, latent)
    return ProbeResult(
        latent=known,
        checkpoint=name,
        task=source.task,
        episodes=source.episodes,
        steps=len(activations),
        chance=chance_of(asked),
        asked={way: _counts(one) for way, one in questions.items()},
        layers=layers,
        probes={way: _plain(scores) for way, scores in probes.items()},
        untrained={way: _plain(scores) for way, scores in untrained.items()},
        controls={way: _plain(scores) for way, scores in controls.items()},
        best=best,
        card=make_card(
            direction,
            latent=latent,
            site=best.site,
            layer=best.layer,
            checkpoint=name,
            checkpoint_hash=activations.hashes["checkpoint"],
            data_key=source.key,
            episodes_hash=activations.hashes["episodes"],
            task=source.task,
            episodes=source.episodes,
            negatives=asked.negatives,
            metric=known.metric,
            score=probes[asked.negatives][best.site].score.as_dict(),
            controls={n: controls[asked.negatives][n].score.as_dict() for n in CONTROLS},
        ),
        direction=direction,
    )


def choose(
    question: Question, activations: Activations, probes: Scores, layers: Mapping[str, int]
) -> Best:
    """The best site, chosen honestly.

    Probes cross-validated within the even episodes choose. The score is that of the odd
    ones, which had no part in the choice, each read by a probe fitted without it.
    """
    chosen = _best_of_half(question, activations, list(probes))
    if chosen is None:
        site = max(probes, key=lambda name: probes[name].score.estimate)
        return Best(site, layers[site], question.negatives, None)
    reading = probes[chosen].reading
    other = None if reading is None else score(reading.rows(question.groups % 2 == 1)).score
    return Best(chosen, layers[chosen], question.negatives, other)


def _best_of_half(question: Question, activations: Activations, sites: Sequence[str]) -> str | None:
    half = question.groups % 2 == 0

    def estimate(site: str) -> float:
        features = question.features(activations.at(site))[half]
        truth, groups = question.truth[half], question.groups[half]
        reading = read(question.latent.kind, features, truth, groups, folds=2)
        return score(reading, resamples=1).score.estimate

    try:
        estimates = dict(zip(sites, in_threads(estimate, sites), strict=True))
    except InputError:
        return None
    if any(np.isnan(value) for value in estimates.values()):
        return None
    return max(estimates, key=estimates.__getitem__)


def probe_sites(question: Question, values: Mapping[str, Any], sites: Sequence[str]) -> Scores:
    """Scores of the sites of ``values`` [step, d]."""
    found = in_threads(lambda site: read_question(question, values[site]), sites)
    return dict(zip(sites, found, strict=True))


def _untrained(
    questions: Mapping[str, Question], activations: Activations, sites: Sequence[str], best: Best
) -> dict[str, Scores]:
    """All sites for the leading negatives, the best site for the others."""
    return {
        way: probe_sites(
            asked, activations.untrained[0], sites if way == best.negatives else [best.site]
        )
        for way, asked in questions.items()
    }


def _counts(question: Question) -> dict[str, int]:
    steps = {"steps": len(question.truth)}
    binary = question.latent.kind == "binary"
    return {**steps, "positives": int(question.truth.astype(bool).sum())} if binary else steps


def _plain(scores: Scores) -> dict[str, Score]:
    return {name: found.score for name, found in scores.items()}


def chance_of(question: Question) -> float:
    """Score of a probe that knows nothing."""
    if question.latent.kind == "classes":
        return 1 / len(np.unique(question.truth))
    return 0.5 if question.latent.kind == "binary" else 0.0
