"""Directions of the mistake side by side: how each is fitted, and how far each moves the answer.

All are fitted at one token of the residual stream on pairs of worlds of their own, and moved by
coefficients in units of one norm: the distance of the task's two class means at that site. Each
effect is told as a percentile among random directions of the same norm, drawn evenly and with the
covariance of the activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.covariance import LedoitWolf
from torch import Tensor
from transformer_lens.tools.analysis.interchange import LearnedSubspace

from bcprobe.activations.sites import patch_at
from bcprobe.bootstrap import paired_draws
from bcprobe.errors import InputError, check_name
from bcprobe.interventions.maps import EVERY_LAYER, Answers, ratios, token_groups
from bcprobe.interventions.pairs import SIDES, Pair
from bcprobe.interventions.patch import Add, Bench, Change, Edit, Place, Placebo, SwapAlong
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import ClickTransformer
from bcprobe.parallel import in_processes
from bcprobe.probes.directions import fit_direction
from bcprobe.progress import track
from bcprobe.rng import generator

Floats = NDArray[np.float64]
KINDS = ("logistic", "mean_difference", "lda")
#: Where the pairs that a direction is fitted on come from.
SOURCES = ("within", "pooled", "others")
TOKENS = ("placed", "cls", "undo")
#: Doses, in units of the distance between the task's class means at the site.
COEFFICIENTS = (1.0, 2.0)
RANDOM = 100
#: Passes over the pairs, and step size, of distributed alignment search.
EPOCHS, RATE = 12, 0.03
COLUMNS = (
    "task", "tokens", "layer", "operation", "kind", "source", "coefficient", "start", "metric",
    "estimate", "lower", "upper", "percentile_norm", "percentile_covariance", "n",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Tokens (one of `TOKENS`) of the residual stream before block ``layer``, or after the last.

    `EVERY_LAYER` is the stream before every block but the first, each with a direction of its own.
    """

    tokens: str
    layer: int

    def layers(self, config: ClickTransformerConfig) -> range:
        """Blocks before each of its hooks."""
        every = self.layer == EVERY_LAYER
        return range(1, config.n_layers) if every else range(self.layer, self.layer + 1)

    def hooks(self, config: ClickTransformerConfig) -> list[str]:
        """Names of the hooks."""
        return [hook_of(layer, config) for layer in self.layers(config)]

    def positions(self, config: ClickTransformerConfig, pair: Pair, side: int) -> tuple[int, ...]:
        """Positions of its tokens; the placed patch is the side's own."""
        if self.tokens == "placed":
            return (patch_at(config, *pair.placed[side]),)
        return token_groups(config, pair)[check_name("tokens", self.tokens, TOKENS)]


def hook_of(layer: int, config: ClickTransformerConfig) -> str:
    """Hook of the residual stream after so many blocks."""
    last = layer == config.n_layers
    return f"blocks.{layer - last}.hook_resid_{'post' if last else 'pre'}"


@dataclass(frozen=True, eq=False)
class Material:
    """What pairs hold at every layer: ``values`` [pair, side, layer, token, d] by `TOKENS`."""

    task: str
    values: NDArray[np.float32]

    def rows(self, tokens: str, layer: int) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
        """Features [row, d], whether a mistake stands, and the pair of each row."""
        x = self.values[:, :, layer, TOKENS.index(tokens)].astype(float)
        count = len(x)
        truth = np.tile([False, True], count)
        return x.reshape(2 * count, -1), truth, np.repeat(np.arange(count), 2)


def gather(model: ClickTransformer, pairs: Sequence[Pair], workers: int | None = None) -> Material:
    """The residual stream of both sides just after the placement, at every layer."""
    job = partial(_gathered, model)
    here = model.device.type != "cpu"
    found = list(map(job, pairs) if here else in_processes(job, list(pairs), workers))
    return Material(pairs[0].task, np.stack(found))


def _gathered(model: ClickTransformer, pair: Pair) -> NDArray[np.float32]:
    config = model.config
    layers = range(config.n_layers + 1)
    bench = Bench(model, pair, [hook_of(layer, config) for layer in layers])
    found = np.empty((2, len(layers), len(TOKENS), config.d_model), dtype=np.float32)
    for side in range(2):
        for number, tokens in enumerate(TOKENS):
            at = list(Site(tokens, 0).positions(config, pair, side))
            for layer in layers:
                kept = bench.kept[hook_of(layer, config), 0][side, at]
                found[side, layer, number] = kept.mean(0).cpu().numpy()
    return found


def fit(features: Floats, truth: NDArray[np.bool_], kind: str) -> Floats:
    """Unit direction [d] of a kind, pointing to mistakes.

    ``logistic``: the probe's (`bcprobe.probes.directions`); ``mean_difference``: of the class
    means; ``lda``: that difference whitened by the covariance within classes (Ledoit and Wolf's
    shrinkage). Raises `InputError` for another kind, or where the classes do not differ.
    """
    check_name("kind", kind, KINDS)
    difference = features[truth].mean(0) - features[~truth].mean(0)
    if not np.linalg.norm(difference) > 0:
        raise InputError("the two sides do not differ at this site; choose another")
    if kind == "logistic":
        found = fit_direction("binary", features, truth, "mistake").directions[0]
    elif kind == "lda":
        found = np.linalg.solve(LedoitWolf().fit(_centred(features, truth)).covariance_, difference)
    else:
        found = difference
    return found / np.linalg.norm(found)


def _centred(features: Floats, truth: NDArray[np.bool_]) -> Floats:
    """Features less their class's mean."""
    means = np.where(truth[:, None], features[truth].mean(0), features[~truth].mean(0))
    return features - means


def random_directions(features: Floats, count: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Unit directions [count, d]: even over the sphere, and with the features' covariance."""
    rng = generator("random directions", seed)
    drawn = rng.normal(size=(2, count, features.shape[1]))
    root = np.real(sqrtm(LedoitWolf().fit(features).covariance_))
    even, shaped = drawn[0], drawn[1] @ root
    return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (even, shaped))  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class Tried:
    """A change to try: its names, and the vector or basis [d, rank] at each of a site's hooks."""

    names: dict[str, Any]
    change: str
    values: tuple[Floats, ...]
    reference: Floats | None = None

    def at(self, number: int, sign: float, device: torch.device) -> Change:
        """The change at one of the hooks; ``sign`` -1 takes away what is added."""
        value = torch.tensor(self.values[number], dtype=torch.float32, device=device)
        if self.change == "add":
            return Add(sign * value)
        if self.change == "placebo":
            reference = torch.tensor(self.reference, dtype=torch.float32, device=device)
            return Placebo(value, reference)
        return SwapAlong(value)


def compare(
    model: ClickTransformer,
    task: str,
    site: Site,
    train: Mapping[str, Material],
    pairs: Sequence[Pair],
    *,
    learned: Mapping[str, Floats] | None = None,
    random: int = RANDOM,
    seed: int = 0,
    workers: int | None = None,
) -> pd.DataFrame:
    """Every kind of direction from every source at one site of one task: a row each (`COLUMNS`).

    ``train`` are the materials to fit on, by task (the task itself among them); ``pairs`` the
    task's pairs to test on; ``learned`` bases [d, rank] by name, swapped beside the directions.
    ``operation`` ``add`` moves the wrong side by minus, the right side by plus ``coefficient``
    times the norm; ``swap`` takes the component from the twin. ``percentile_norm`` and
    ``percentile_covariance`` say how many of the ``random`` directions move the answer less far
    towards the twin's (0-100); rows of kind ``random_norm`` and ``random_covariance`` hold their
    median and the 2.5 and 97.5 % quantiles over directions. Other intervals: bootstrap over pairs.
    """
    tried = list(_tried(model.config, task, site, train, learned or {}, random, seed))
    job = partial(_moved, model, site, tuple(tried))
    here = model.device.type != "cpu"
    found = list(map(job, pairs) if here else in_processes(job, list(pairs), workers))
    change, whole, chances = (np.stack(part) for part in zip(*found, strict=True))
    rows = [
        row
        for side, start in enumerate(SIDES)
        for row in _rows(
            [one.names for one in tried],
            change[:, side],
            whole[:, side],
            chances[:, side],
            {"task": task, "tokens": site.tokens, "layer": site.layer, "start": start},
        )
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _tried(
    config: ClickTransformerConfig,
    task: str,
    site: Site,
    train: Mapping[str, Material],
    learned: Mapping[str, Floats],
    random: int,
    seed: int,
) -> Iterator[Tried]:
    layers = site.layers(config)
    own = [train[task].rows(site.tokens, layer)[:2] for layer in layers]
    norms = [float(np.linalg.norm(x[y].mean(0) - x[~y].mean(0))) for x, y in own]
    chosen = {
        "within": [task],
        "pooled": list(train),
        "others": [name for name in train if name != task],
    }
    for source in SOURCES if len(train) > 1 else ("within",):
        tasks = chosen[source]
        parts = [_together(train, tasks, site.tokens, layer) for layer in layers]
        for kind in KINDS:
            yield from _doses([fit(*part, kind) for part in parts], norms, kind, source)
    clouds = [
        random_directions(x, random, seed + layer)
        for (x, _), layer in zip(own, layers, strict=True)
    ]
    for number, kind in enumerate(("random_norm", "random_covariance")):
        for draw in range(random):
            yield from _doses([cloud[number][draw] for cloud in clouds], norms, kind, "")
    for name, basis in learned.items():
        kind, _, source = name.partition("/")
        names: dict[str, Any] = {"operation": "swap", "source": source, "coefficient": 1.0}
        yield Tried({**names, "kind": kind}, "swap", (basis,))
        placebo = np.linalg.qr(generator("placebo", seed).normal(size=basis.shape))[0]
        yield Tried({**names, "kind": f"{kind} placebo"}, "placebo", (placebo,), basis)


def _together(
    train: Mapping[str, Material], tasks: Sequence[str], tokens: str, layer: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Features and truth of several tasks' pairs."""
    rows = [train[name].rows(tokens, layer) for name in tasks]
    return np.concatenate([x for x, _, _ in rows]), np.concatenate([y for _, y, _ in rows])


def _doses(
    units: Sequence[Floats], norms: Sequence[float], kind: str, source: str
) -> Iterator[Tried]:
    """A direction at each hook added at every coefficient and, at one hook, swapped along."""
    for coefficient in COEFFICIENTS:
        names: dict[str, Any] = {
            "operation": "add",
            "kind": kind,
            "source": source,
            "coefficient": coefficient,
        }
        moves = [coefficient * norm * unit for norm, unit in zip(norms, units, strict=True)]
        yield Tried({**names, "coefficient": coefficient}, "add", tuple(moves))
    if len(units) == 1:
        names = {"operation": "swap", "kind": kind, "source": source, "coefficient": 1.0}
        yield Tried(names, "swap", (units[0][:, None],))


def _moved(
    model: ClickTransformer, site: Site, tried: Sequence[Tried], pair: Pair
) -> tuple[Floats, Floats, Floats]:
    """Change [side, tried] and whole difference [side] in nats, P(Undo) [side, tried]."""
    hooks = site.hooks(model.config)
    bench = Bench(model, pair, hooks)
    answers = Answers(bench)
    plain = answers.read(bench.plain(answers.targets))[:, 0]
    change, chances = [], []
    for side, sign in ((0, 1.0), (1, -1.0)):
        places = [Place(hook, 0, site.positions(model.config, pair, side)) for hook in hooks]
        edits = [
            Edit(tuple((place, one.at(n, sign, model.device)) for n, place in enumerate(places)))
            for one in tried
        ]
        found = answers.read(bench.run(side, edits, answers.targets)[0])[:, 0]
        change.append(found[:, 0] - plain[side, 0])
        chances.append(found[:, 1])
    return np.stack(change), plain[::-1, 0] - plain[:, 0], np.stack(chances)


def _rows(
    names: Sequence[dict[str, Any]],
    change: Floats,
    whole: Floats,
    chances: Floats,
    shown: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Rows of one side: change and P(Undo) [pair, tried], whole difference [pair]."""
    draws = paired_draws(len(change))
    table = pd.DataFrame(names)
    shares = ratios(change, np.broadcast_to(whole[:, None], change.shape), draws)
    undo = ratios(chances, np.ones_like(chances), draws)
    clouds: dict[tuple[str, float, str], Floats] = {}
    random = table["kind"].isin(["random_norm", "random_covariance"]).to_numpy()
    for key, part in table[random].groupby(["operation", "coefficient", "kind"], sort=False):
        at = part.index.to_numpy()
        clouds[key] = np.sort(shares[at, 0])
        for metric, values in (("effect", shares[at, 0]), ("p_undo", undo[at, 0])):
            low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
            yield {
                **shown, **names[at[0]], "metric": metric, "estimate": middle, "lower": low,
                "upper": high, "n": len(at),
            }  # fmt: skip
    for number in np.flatnonzero(~random).tolist():
        own = names[number]
        ranks = {}
        for name in ("norm", "covariance"):
            cloud = clouds.get((own["operation"], own["coefficient"], f"random_{name}"))
            if cloud is not None:
                below = np.searchsorted(cloud, shares[number, 0])
                ranks[f"percentile_{name}"] = 100 * below / len(cloud)
        for metric, scores in (("effect", shares), ("p_undo", undo)):
            estimate, lower, upper = scores[number]
            yield {
                **shown, **own, "metric": metric, "estimate": estimate, "lower": lower,
                "upper": upper, "n": len(change), **(ranks if metric == "effect" else {}),
            }  # fmt: skip


def align(
    model: ClickTransformer,
    site: Site,
    pairs: Sequence[Pair],
    rank: int,
    *,
    arbitrary: bool = False,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> Floats:
    """Orthonormal basis [d, rank] that distributed alignment search finds (Geiger et al. 2024).

    It is trained so that swapping the component in it gives the twin's log P(Undo) against the best
    other click. ``arbitrary`` is the control whose wanted answers are drawn at random, the twin's
    or one's own, for each pair (Arora et al. 2024). Raises `InputError` for a rank out of range
    or a site of every layer.
    """
    if site.layer == EVERY_LAYER or not 1 <= rank <= model.config.d_model:
        raise InputError(f"rank {rank} at layer {site.layer}: alignment needs one layer, rank 1 up")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        space = LearnedSubspace(model.config.d_model, rank).to(model.device)
    rng = generator("alignment", seed)
    benches = [Bench(model, pair, site.hooks(model.config)) for pair in pairs]
    answers = [Answers(bench) for bench in benches]
    wants = []
    for bench, answer in zip(benches, answers, strict=True):
        plain = answer.undo(bench.plain(answer.targets)[:, 0], 0)
        wants.append((plain.flip(0) if not arbitrary or rng.random() < 0.5 else plain, plain))
    optimiser = torch.optim.Adam(space.parameters(), lr=RATE)
    for _ in range(epochs):
        for number in rng.permutation(len(benches)):
            loss = _misfit(benches[number], answers[number], site, space, *wants[number])
            own = list(space.parameters())  # and none of the model's, whoever owns it
            for parameter, gradient in zip(own, torch.autograd.grad(loss, own), strict=True):
                parameter.grad = gradient
            optimiser.step()
    return space.basis.detach().double().cpu().numpy()


def _misfit(
    bench: Bench, answers: Answers, site: Site, space: Any, wanted: Tensor, plain: Tensor
) -> Tensor:
    """Squared distance from the wanted answers of both sides, in units of their difference."""
    (hook,) = site.hooks(bench.config)
    scale = (plain[1] - plain[0]).abs().clamp_min(0.5)
    found = wanted.new_zeros(())
    for side in range(2):
        places = site.positions(bench.config, bench.pair, side)
        edit = Edit(((Place(hook, 0, places), SwapAlong(space.basis)),))
        logs, _ = bench.run(side, [edit], answers.targets, learn=True)
        found = found + ((answers.undo(logs[0, 0], 0) - wanted[side]) / scale) ** 2
    return found


def bases(
    model: ClickTransformer,
    site: Site,
    own: Sequence[Pair],
    others: Sequence[Pair],
    *,
    ranks: Sequence[int] = (1, 2, 4),
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Floats]:
    """Learned bases by name, with the control of arbitrary labels and that of other tasks."""
    jobs = [(f"das {rank}/within", own, rank, False) for rank in ranks]
    jobs += [("das 1 arbitrary/within", own, 1, True)]
    if others:
        jobs += [("das 1/others", others, 1, False)]
    return {
        name: align(model, site, pairs, rank, arbitrary=arbitrary, seed=seed)
        for name, pairs, rank, arbitrary in track(jobs, "alignment", shown=progress)
    }
