"""Probes of one set of steps: layer by layer, with controls at the best layer and a direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bcprobe.activations.dataset import Activations
from bcprobe.activations.labels import Question, ask, get_latent
from bcprobe.errors import InputError
from bcprobe.parallel import in_threads
from bcprobe.probes.controls import run_controls
from bcprobe.probes.directions import Direction, fit_direction
from bcprobe.probes.linear import ProbeScore, cross_predict, mean_of, score, score_question
from bcprobe.probes.result import Best, score_row
from bcprobe.results import Score

Scores = dict[str, ProbeScore]


@dataclass(frozen=True, eq=False)
class Analysis:
    """Probes and controls of one set of steps.

    ``questions``: negatives -> the steps evaluated. ``probes`` and ``untrained``: negatives ->
    site -> score, with the leading negatives at every site, with others at the best. ``controls``:
    negatives -> name -> score, at the best site.
    """

    questions: dict[str, Question]
    probes: dict[str, Scores]
    untrained: dict[str, Scores]
    controls: dict[str, Scores]
    best: Best
    direction: Direction

    @property
    def leading(self) -> Question:
        """The steps evaluated with the leading negatives."""
        return self.questions[self.best.negatives]

    def rows(self, **names: Any) -> Iterator[dict[str, Any]]:
        """Rows of the result's table: the controls, with all negatives."""
        for negatives, question in self.questions.items():
            own = {**names, "negatives": negatives, "metric": question.latent.metric}
            chance = chance_of(self.leading)
            for kind, found in self.controls[negatives].items():
                site = "" if kind in ("pixels", "previous_action") else self.best.site
                shown = self.untrained[negatives] if kind == "untrained" else {site: found}
                for where, one in shown.items():
                    level = 0.0 if kind == "selectivity" else chance
                    yield score_row(one.score, kind=kind, site=where, chance=level, **own)

    def control_scores(self) -> dict[str, Score]:
        """The controls of the leading negatives, by name."""
        return {name: found.score for name, found in self.controls[self.best.negatives].items()}


def analyse(
    activations: Activations,
    label: str,
    sites: Sequence[str],
    layers: Mapping[str, int],
    seed: int = 0,
) -> Analysis:
    """Probes at every site, controls at the best; ``layers`` are those of the sites."""
    known = get_latent(label, activations.labels)
    questions = {way: ask(activations.labels, label, way) for way in known.negatives}
    leading = questions[known.negatives[0]]
    probes = {leading.negatives: probe_sites(leading, activations.values, sites)}
    best = choose(leading, activations, probes[leading.negatives], layers)
    for way in known.negatives[1:]:
        probes[way] = probe_sites(questions[way], activations.values, [best.site])
    untrained = _untrained(questions, activations, sites, best)
    controls = {}
    for way, one in questions.items():
        controls[way] = run_controls(one, activations, best.site, probes[way][best.site], seed)
        if best.site in untrained[way]:
            controls[way]["untrained"] = untrained[way][best.site]
    features = leading.features(activations.values[best.site])
    direction = fit_direction(known.kind, features, leading.truth, label)
    return Analysis(questions, probes, untrained, controls, best, direction)


def choose(
    question: Question, activations: Activations, probes: Scores, layers: Mapping[str, int]
) -> Best:
    """The best site, chosen honestly.

    Probes cross-validated within the even episodes choose. The score is that of the odd
    ones, which had no part in the choice, each predicted by a probe fitted without it.
    """
    chosen = _best_of_half(question, activations, list(probes))
    if chosen is None:
        site = max(probes, key=lambda name: probes[name].score.estimate)
        return Best(site, layers[site], question.negatives, None)
    predictions = probes[chosen].predictions
    odd = question.groups % 2 == 1
    other = None if predictions is None else score(predictions.rows(odd)).score
    return Best(chosen, layers[chosen], question.negatives, other)


def _best_of_half(question: Question, activations: Activations, sites: Sequence[str]) -> str | None:
    half = question.groups % 2 == 0

    def estimate(site: str) -> float:
        features = question.features(activations.values[site])[half]
        truth, groups = question.truth[half], question.groups[half]
        predictions = cross_predict(question.latent.kind, features, truth, groups, folds=2)
        return score(predictions, resamples=1).score.estimate

    try:
        estimates = dict(zip(sites, in_threads(estimate, sites), strict=True))
    except InputError:
        return None
    if any(np.isnan(value) for value in estimates.values()):
        return None
    return max(estimates, key=estimates.__getitem__)


def probe_sites(question: Question, values: Mapping[str, Any], sites: Sequence[str]) -> Scores:
    """Scores of the sites of ``values`` [step, d]."""
    found = in_threads(lambda site: score_question(question, values[site]), sites)
    return dict(zip(sites, found, strict=True))


def _untrained(
    questions: Mapping[str, Question], activations: Activations, sites: Sequence[str], best: Best
) -> dict[str, Scores]:
    """The mean over all untrained models at the best site.

    Of one task, the first model at all sites too, with the leading negatives.
    """
    models = activations.untrained
    found: dict[str, Scores] = {way: {} for way in questions}
    if models:
        for way, question in questions.items():
            if way == best.negatives and len(activations.tasks) == 1:
                found[way] = probe_sites(question, models[0], [s for s in sites if s in models[0]])
            several = [probe_sites(question, one, [best.site])[best.site] for one in models]
            found[way][best.site] = mean_of(several)
    return found


def counts_of(question: Question) -> dict[str, int]:
    """How many steps are evaluated and, for binary labels, how many are positive."""
    steps = {"steps": len(question.truth)}
    binary = question.latent.kind == "binary"
    return {**steps, "positives": int(question.truth.astype(bool).sum())} if binary else steps


def chance_of(question: Question) -> float:
    """Score of a probe that knows nothing."""
    if question.latent.kind == "classes":
        return 1 / len(np.unique(question.truth))
    return 0.5 if question.latent.kind == "binary" else 0.0
