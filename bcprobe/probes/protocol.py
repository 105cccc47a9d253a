"""The whole protocol, from activations or from names, to one result: `probe` and `run`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bcprobe.activations.dataset import Activations, combine, name_of
from bcprobe.activations.gather import activations
from bcprobe.activations.labels import get_latent
from bcprobe.episodes.record import OWN_DATA
from bcprobe.errors import InputError, check_name
from bcprobe.model.registry import DEFAULT_CHECKPOINT
from bcprobe.parallel import one_thread
from bcprobe.probes.added import baseline_rows
from bcprobe.probes.cards import make_probe_card
from bcprobe.probes.complexity import complexity_rows
from bcprobe.probes.convnet import convnet, crops
from bcprobe.probes.crossed import crossed_rows
from bcprobe.probes.linear import check_folds, score
from bcprobe.probes.many_tasks import (
    by_task,
    cosine_rows,
    one_task_rows,
    own_rows,
    roc_rows,
    rows_of_tasks,
    scheme_rows,
    schemes_of,
)
from bcprobe.probes.monitor import foretell_rows, monitor_rows
from bcprobe.probes.one_task import Analysis, analyse, chance_of, counts_of
from bcprobe.probes.refit import REFITS
from bcprobe.probes.result import POOLED, WITHIN, Draw, ProbeResult, score_row, table_of
from bcprobe.rng import split_seed
from bcprobe.types import ALL

#: Worlds that a model works closed loop, far from those the probes are fitted on.
FIRST_OWN = 1 << 31
#: Temperature at which it does: at 0 it errs too rarely.
OWN_TEMPERATURE = 1.0
#: How much is done: what a laptop does while one waits, or all of the protocol.
RIGORS = tuple(REFITS)
#: Untrained models looked at.
UNTRAINED = {"default": 1, "full": 5}


def probe(
    data: Activations,
    label: str = "mistake",
    *,
    sites: Sequence[str] | None = None,
    own: Activations | None = None,
    seed: int = 0,
    rigor: str = "default",
) -> ProbeResult:
    """Probes of ``data`` for a label, by the protocol: layers, schemes, controls, direction.

    ``data`` holds one task or several (column ``task`` of its labels); ``label`` is a built-in one
    or the name of one of your own, which `Activations.assign` adds. ``sites`` default to all
    that it has. ``own`` are activations on episodes that the model worked itself: the probe of all
    tasks is tested on them, its coming mistakes are foretold, and a monitor is calibrated
    (`bcprobe.probes.monitor`). ``seed`` draws shuffled labels and control tasks. ``rigor``
    is one of `RIGORS`: ``full`` refits more often and takes minutes. Raises `InputError` for
    unknown names, activations that are not finite, or episodes with one class only.
    """
    if not isinstance(data, Activations):
        raise InputError(
            f"probe takes labelled activations (`bp.activations(model)`), not {type(data).__name__}"
        )
    for one in (data, data if own is None else own):
        get_latent(label, one.labels)
    check_name("rigor", rigor, RIGORS)
    sites = tuple(dict.fromkeys(data.site(site) for site in sites or data.sites))
    check_finite({site: data.at(site) for site in sites})
    check_finite({name: values for name, values in data.values.items() if "@" in name})
    check_finite({f"untrained {site}": own[site] for own in data.untrained for site in own})
    check_finite({"pixels": data.pixels, "predictions": data.predictions})
    parts = data.parts()
    with one_thread():
        if len(parts) == 1:
            return _of_one(data, label, sites, next(iter(parts)), own, seed, rigor)
        return _of_several(data, parts, label, sites, own, seed, rigor)


def _of_one(
    data: Activations,
    label: str,
    sites: tuple[str, ...],
    task: str,
    own: Activations | None,
    seed: int,
    rigor: str,
) -> ProbeResult:
    layers = {site: data.layer(site) for site in sites}
    check_folds(data.ask(label))
    found = analyse(data, label, sites, layers, seed)
    names = names_read(data, sites, found.best.site, rigor)
    rows = list(one_task_rows(data, label, names, found.best.site, REFITS[rigor]))
    rows += found.rows(scheme=WITHIN, train_task=task, test_task=task)
    if label == "mistake":
        predicted = schemes_of({task: data}, label).get(get_latent(label).negatives[0])
        if predicted is not None:
            rows += baseline_rows(predicted, at_tokens(data, [found.best.site]))
        rows += crossed_rows({task: data}, at_tokens(data, [found.best.site]), REFITS[rigor])
    if rigor == "full" and get_latent(label, data.labels).kind == "binary":
        rows += full_rows(data, label, found.best.site, seed)
    skipped = {}
    if own is not None:
        rows += _of_own({task: data}, own, label, found.best.site)
        skipped = _own_skipped(own, label)
    return _result(data, label, (task,), found, rows, layers, skipped)


def _of_several(
    data: Activations,
    parts: Mapping[str, Activations],
    label: str,
    sites: tuple[str, ...],
    own: Activations | None,
    seed: int,
    rigor: str,
) -> ProbeResult:
    negatives = get_latent(label, data.labels).negatives[0]
    tasks, skipped = rows_of_tasks(parts, label, negatives)
    if len(tasks) < 2:
        task, reason = next(iter(skipped.items()))
        raise InputError(
            f"label '{label}' can be evaluated in {len(tasks)} of {len(parts)} tasks, and it takes "
            f"two; {task}: {reason}"
        )
    schemes = schemes_of(parts, label)
    layers = {site: data.layer(site) for site in sites}
    found = analyse(data, label, sites, layers, seed)
    best = found.best.site
    names = names_read(data, sites, best, rigor)
    rows = list(scheme_rows(schemes, names, best, REFITS[rigor]))
    rows += found.rows(scheme=POOLED, train_task=ALL, test_task=ALL)
    if label == "mistake":
        rows += baseline_rows(schemes[negatives], at_tokens(data, [best]))
    if rigor == "full" and get_latent(label, data.labels).kind == "binary":
        rows += full_rows(data, label, best, seed)
    rows += cosine_rows(parts, label, best)
    if label == "mistake":
        rows += crossed_rows(parts, at_tokens(data, [best]), REFITS[rigor])
    if get_latent(label, data.labels).kind == "binary":
        rows += roc_rows(schemes[negatives], best)
    if own is not None:
        rows += _of_own(parts, own, label, best)
        skipped |= _own_skipped(own, label)
    return _result(data, label, tuple(parts), found, rows, layers, skipped)


def full_rows(data: Activations, label: str, best: str, seed: int) -> Iterator[dict[str, Any]]:
    """What takes minutes: complexity of the probe of all rows, and a convolutional network."""
    question = data.ask(label)
    tasks = data.tasks
    where = {"train_task": ALL, "test_task": ALL}
    if len(tasks) == 1:
        where = {"train_task": tasks[0], "test_task": tasks[0]}
    features = question.features(data.values[best])
    others = {}
    if data.untrained:
        others["untrained"] = question.features(data.untrained[0][best])
    if data.pixels is not None:
        others["pixels"] = question.features(data.pixels)
    yield from complexity_rows(question, features, others, best, seed, **where)
    if set(data.labels["origin"]) == {"annotator"} and OWN_DATA not in set(
        data.labels["difficulty"]
    ):
        found = convnet(question, crops(data.labels, question.rows), seed)
        known = {task: question.labels["task"].to_numpy(str) == task for task in tasks}
        known = {t: rows for t, rows in known.items() if len(np.unique(question.truth[rows])) > 1}
        names: dict[str, Any] = {"kind": "pixels_cnn", "site": "", "negatives": question.negatives}
        scheme = WITHIN if len(tasks) == 1 else POOLED
        scores = {task: score(found.rows(rows)) for task, rows in known.items()}
        yield from by_task(scores, scheme, **names)
        if len(tasks) > 1:
            common = {"scheme": scheme, "metric": "auc", "chance": 0.5, **names, **where}
            yield score_row(score(found).score, **common)


def _of_own(
    parts: Mapping[str, Activations], own: Activations, label: str, best: str
) -> Iterator[dict[str, Any]]:
    """The probe on the model's own episodes, and its own mistakes before and while they stand."""
    yield from own_rows(parts, own.parts(), label, best)
    if label == "mistake":
        yield from foretell_rows(own.parts(), best)
        yield from monitor_rows(parts, own.parts(), best)


def _own_skipped(own: Activations, label: str) -> dict[str, str]:
    """Why the probe could not be tested on the model's own episodes of a task."""
    negatives = get_latent(label, own.labels).negatives[0]
    _, reasons = rows_of_tasks(own.parts(), label, negatives, fitted=False)
    return {f"own episodes of {task}": reason for task, reason in reasons.items()}


def at_tokens(data: Activations, sites: Sequence[str]) -> tuple[str, ...]:
    """Names (`name_of`) of the sites at [cls] and, where it was read, at the placed patch."""
    tokens = [token for token in ("cls", "placed") if token in data.tokens]
    return tuple(name_of(site, token) for token in tokens for site in sites)


def names_read(data: Activations, sites: Sequence[str], best: str, rigor: str) -> tuple[str, ...]:
    """Names read: every layer at [cls]; at the placed patch the best, or all in full."""
    placed = at_tokens(data, sites if rigor == "full" else [best])
    return tuple(dict.fromkeys([*sites, *placed]))


def _result(
    data: Activations,
    label: str,
    tasks: tuple[str, ...],
    found: Analysis,
    rows: Sequence[dict[str, Any]],
    layers: Mapping[str, int],
    skipped: dict[str, str],
) -> ProbeResult:
    leading, best = found.leading, found.best
    name = data.checkpoint or "a model"
    episodes = int(data.labels["episode"].nunique())
    card = make_probe_card(
        found.direction,
        latent=label,
        site=best.site,
        layer=best.layer,
        checkpoint=name,
        checkpoint_hash=data.hashes.get("checkpoint", ""),
        data_key=data.hashes.get("key", ""),
        episodes_hash=data.hashes.get("episodes", ""),
        task=tasks[0] if len(tasks) == 1 else ALL,
        episodes=episodes,
        negatives=leading.negatives,
        metric=leading.latent.metric,
        score=found.probes[leading.negatives][best.site].score.as_dict(),
        controls={n: score.as_dict() for n, score in found.control_scores().items()},
    )
    return ProbeResult(
        label=leading.latent,
        checkpoint=name,
        tasks=tasks,
        episodes=episodes,
        steps=len(data),
        chance=chance_of(leading),
        evaluated={way: counts_of(one) for way, one in found.questions.items()},
        best=best,
        card=card,
        fitted=found.direction,
        scores=table_of(rows, dict(layers)),
        skipped=skipped,
    )


def run(
    label: str = "mistake",
    checkpoint: str | Path = DEFAULT_CHECKPOINT,
    tasks: Sequence[str] | str = ("colored_dot_tracking",),
    sites: Sequence[str] | None = None,
    episodes: int = 200,
    seed: int = 0,
    layout: str = "original",
    own: int = 0,
    out: Path | str | None = None,
    progress: bool = True,
    *,
    difficulty: str = "default",
    manner: str = "usual",
    device: str = "auto",
    rigor: str = "default",
    draw: Draw | None = None,
) -> ProbeResult:
    """`probe` of a checkpoint on annotators' episodes in unseen worlds, ``episodes`` of each task.

    Activations come from the cache or are gathered; ``manner`` is the annotators'
    (`bcprobe.annotators.persona.MANNERS`). With ``own``, the probe of all tasks is also
    tested on so many episodes of each that the model works itself, at temperature 1. With ``out``,
    `ProbeResult.write` is called. Raises what `probe` raises, and `InputError` for counts out of
    range.
    """
    check_name("rigor", rigor, RIGORS)
    get_latent(label)
    tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    options: dict[str, Any] = {"seed": seed, "layout": layout, "difficulty": difficulty}
    data = activations(
        checkpoint,
        tasks,
        episodes,
        sites=sites,
        device=device,
        manner=manner,
        untrained=UNTRAINED[rigor],
        progress=progress,
        **options,
    )
    chosen = tuple(dict.fromkeys(data.sites if sites is None else sites))
    worked = None
    if own:
        worked = own_activations(checkpoint, tasks, own, chosen, seed, layout, difficulty)
    result = probe(data, label, sites=chosen, own=worked, seed=seed, rigor=rigor)
    if out is not None:
        result.write(out, draw)
    return result


def own_activations(
    checkpoint: str | Path,
    tasks: Sequence[str],
    episodes: int,
    sites: Sequence[str],
    seed: int = 0,
    layout: str = "original",
    difficulty: str = "default",
) -> Activations:
    """Activations on episodes that the model worked itself at temperature 1, mistakes and all."""
    from bcprobe.activations.extract import collect
    from bcprobe.episodes.model_policy import ModelPolicy
    from bcprobe.episodes.record import work
    from bcprobe.model.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint)
    worlds = [split_seed("test", FIRST_OWN + seed * episodes + i) for i in range(episodes)]
    found = {}
    for task in tasks:
        clicker = ModelPolicy(model, OWN_TEMPERATURE, seed)
        shown: dict[str, Any] = {"layout": layout, "difficulty": difficulty}
        made = work(clicker, task, worlds, origin="model", **shown)
        found[task] = collect(model, made, sites)
    return combine(found)


def check_finite(named: Mapping[str, Any]) -> None:
    """Raise `InputError` if one of some arrays or tables [step, k] is nan or infinite."""
    for name, values in named.items():
        if values is None:
            continue
        wrong = ~np.isfinite(np.asarray(values, dtype=np.float32)).all(axis=1)
        if wrong.any():
            raise InputError(
                f"activations at '{name}' are not finite in {int(wrong.sum())} of {len(values)} "
                "steps; gather them in float32, or look at the checkpoint"
            )
