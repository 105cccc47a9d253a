"""Where the mistake is: swaps between the two sides of pairs, cell by cell of a map.

A cell is a component at a layer, at a group of tokens, of the frame at a lag. What a swap does is
told as a share of the difference between the two sides: 0 where nothing changes, 1 where the
answer becomes the other side's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bcprobe.activations import sites
from bcprobe.activations.sites import patch_at, token_positions
from bcprobe.bootstrap import paired_draws
from bcprobe.errors import InputError, check_name
from bcprobe.gui.layouts import Rect
from bcprobe.interventions.pairs import SIDES, Pair
from bcprobe.interventions.patch import (
    CELLS,
    FREEZE,
    SWAP,
    Bench,
    Change,
    Edit,
    Place,
    foil,
)
from bcprobe.interventions.targets import ClickTargets, around
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import ClickTransformer
from bcprobe.parallel import in_processes
from bcprobe.progress import Progress

#: Component -> its hook in a block. `resid` is the stream before a block or after the last;
#: ``memory`` the keys and values that only later frames read.
COMPONENTS = {
    "resid": "hook_resid_pre",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "z": "attn.hook_z",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "pattern": "attn.hook_pattern",
    "memory": "attn.hook_k",
}
PER_HEAD = ("z", "q", "k", "v", "pattern")
TOKENS_OF_ANY_FRAME = tuple(name for name in sites.TOKENS if name != "placed")
TOKENS = ("cls", "placed", "undo", "previous", "others", "patches", "registers", "all")
#: Every layer at once, where a component is edited in all of them.
EVERY_LAYER = -1
#: Share of the strongest layer's effect that counts as strong.
STRONG = 0.8
COLUMNS = (
    "task", "start", "component", "layer", "head", "tokens", "lag", "later", "metric",
    "estimate", "lower", "upper", "n",
)  # fmt: skip


@dataclass(frozen=True)
class MapCell:
    """One cell of a map.

    ``layer``: of ``resid``, the blocks before it (0 to all); of other components, the block,
    from 0; `EVERY_LAYER` for all blocks together (``memory`` only). ``tokens`` is one of
    `TOKENS`; ``head`` None is all heads; ``lag`` counts frames since the placement.
    """

    component: str
    layer: int
    tokens: str
    lag: int = 0
    head: int | None = None


def token_groups(config: ClickTransformerConfig, pair: Pair) -> dict[str, tuple[int, ...]]:
    """Positions in a frame of each group of `TOKENS` that the model has.

    ``placed`` are the patches under the placement on either side, ``undo`` those under the Undo
    button, ``others`` all patches that are not ``placed``, ``previous`` the token of the previous
    click.
    """
    placed = {patch_at(config, *click) for click in pair.placed}
    r, (width, height) = pair.button("Undo"), config.patch
    xs = (*range(r.x, r.x + r.width, width), r.x + r.width - 1)
    ys = (*range(r.y, r.y + r.height, height), r.y + r.height - 1)
    known = {name: token_positions(config, name) for name in TOKENS_OF_ANY_FRAME}
    groups = {
        **known,
        "placed": tuple(sorted(placed)),
        "undo": tuple(sorted({patch_at(config, x, y) for x in xs for y in ys})),
        "others": tuple(patch for patch in known["patches"] if patch not in placed),
    }
    return {name: tokens for name, tokens in groups.items() if tokens}


def edit_of(
    cell: MapCell, config: ClickTransformerConfig, pair: Pair, change: Change = SWAP
) -> Edit:
    """The edit that a cell stands for."""
    tokens = token_groups(config, pair)[cell.tokens]
    if cell.component == "memory":
        return _memory(cell, config, tokens, change)
    last = cell.component == "resid" and cell.layer == config.n_layers
    hook = "hook_resid_post" if last else COMPONENTS[cell.component]
    site = f"blocks.{cell.layer - last}.{hook}"
    parts = [(Place(site, cell.lag, tokens, cell.head), change)]
    patches = tuple(token for token in tokens if token < config.n_patches)
    if cell.component == "resid" and config.cell_channels and patches and change is SWAP:
        parts.append((Place(CELLS, cell.lag, patches), change))
    return Edit(tuple(parts))


def _memory(
    cell: MapCell, config: ClickTransformerConfig, tokens: tuple[int, ...], change: Change
) -> Edit:
    """Keys and values of some tokens, of a layer or all; those of the others stay as they were."""
    every = cell.layer == EVERY_LAYER
    edited = range(config.n_layers) if every else (cell.layer,)
    rest = tuple(token for token in range(config.tokens_per_frame) if token not in tokens)
    parts: list[tuple[Place, Change]] = []
    for block in range(min(edited), config.n_layers):
        for hook in ("attn.hook_k", "attn.hook_v"):
            site = f"blocks.{block}.{hook}"
            if block in edited:
                parts.append((Place(site, cell.lag, tokens), change))
            kept = rest if block in edited else (*tokens, *rest)
            parts.append((Place(site, cell.lag, kept), FREEZE))
    return Edit(tuple(parts))


def reaches(config: ClickTransformerConfig, cell: MapCell, later: int) -> bool:
    """Whether the answer at lag ``later`` can depend on a cell at all."""
    if later < cell.lag or (cell.component == "memory" and later == cell.lag):
        return False
    if cell.component in ("k", "v", "memory"):
        return True
    after = cell.layer + (cell.component != "resid")  # blocks before what the cell leads to
    if after < config.n_layers:
        return True
    read = (
        {"cls", "all"} if config.head == "independent" else set(TOKENS) - {"previous", "registers"}
    )
    return later == cell.lag and cell.tokens in read


def cells(
    config: ClickTransformerConfig,
    lags: int = 1,
    *,
    components: Sequence[str] = ("resid", "attn_out", "mlp_out"),
    tokens: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    at: Sequence[int] | None = None,
    heads: bool = True,
) -> list[MapCell]:
    """Cells of a map over frames at ``lags`` lags (or those in ``at``), which can reach an answer.

    ``tokens`` default to the groups the model has, ``layers`` to all. Components of attention are
    taken a head at a time where ``heads``. Raises `InputError` for a name or a number that
    there is not, or if no cell can reach an answer.
    """
    known = [name for name in TOKENS if name != "registers" or config.n_registers]
    for name in components:
        check_name("component", name, COMPONENTS)
    for name in tokens or ():
        check_name("token group", name, TOKENS)
        if name not in known:
            raise InputError(f"the model has no {name}; its token groups: {', '.join(known)}")
    for lag in at or ():
        if not 0 <= lag < lags:
            raise InputError(f"no lag {lag}: the pairs have {lags} frames after the placement")
    for layer in layers or ():
        if not 0 <= layer <= config.n_layers:
            raise InputError(f"no layer {layer}; the model has 0 to {config.n_layers}")
    wanted = [
        MapCell(name, layer, group, lag, head)
        for name in components
        for layer in _layers(config, name, layers)
        for head in (range(config.n_heads) if heads and name in PER_HEAD else (None,))
        for lag in (range(lags) if at is None else at)
        for group in (known if tokens is None else tokens)
    ]
    found = [one for one in wanted if any(reaches(config, one, k) for k in range(lags))]
    if not found:
        raise InputError(
            f"no answer can be reached from {', '.join(components)} at {', '.join(tokens or known)}"
            f" of layer {', '.join(map(str, layers or [])) or 'any'}: nothing reads it within "
            f"{lags} frame{'s' if lags > 1 else ''} after the placement"
        )
    return found


def _layers(
    config: ClickTransformerConfig, component: str, layers: Sequence[int] | None
) -> list[int]:
    own = range(config.n_layers + (component == "resid"))
    chosen = [layer for layer in own if layers is None or layer in layers]
    every = component == "memory" and layers is None
    return [*chosen, EVERY_LAYER] if every else chosen


def sites_of(config: ClickTransformerConfig, edits: Sequence[Edit]) -> list[str]:
    """Hooks that edits swap or freeze."""
    return list(dict.fromkeys(place.site for edit in edits for place, _ in edit.parts))


class Answers:
    """What is asked of each answer: the log-probabilities of some click targets.

    Undo, Done, the right place (where the right side's placement landed), and at each lag the
    `foil`: the best other click. ``extra`` are further rectangles by name.
    """

    def __init__(self, bench: Bench, extra: Mapping[str, Rect] | None = None) -> None:
        pair = bench.pair
        opened = pair.opened(0)
        buttons = [pair.button(b.name) for b in opened.task.buttons if b.name != "Undo"]
        x, y = pair.placed[0]
        hit = [rect for rect in buttons if rect.contains(x, y)]
        rects = {
            "p_undo": pair.button("Undo"),
            "p_done": pair.button("Done"),
            "p_right_place": hit[0] if hit else around(x, y),
            **(extra or {}),
        }
        self.names = (*rects, "p_other")
        foils = [foil(bench, lag, buttons) for lag in range(bench.lags)]
        self.targets = ClickTargets(bench.model, [*rects.values(), *foils])

    def undo(self, log_probs: torch.Tensor, lag: int) -> torch.Tensor:
        """log P(Undo) - log P(foil) of an answer's log-probabilities [..., rectangle], in nats."""
        return log_probs[..., 0] - log_probs[..., len(self.names) - 1 + lag]

    def read(self, log_probs: torch.Tensor) -> NDArray[np.float64]:
        """[..., lag, 1 + name] of [..., lag, rectangle]: log P(Undo) - log P(foil), then names'.

        Those are probabilities, ``p_other`` that of the foil.
        """
        found = log_probs.detach().double().cpu().numpy()
        count = len(self.names) - 1
        own = np.stack([found[..., lag, count + lag] for lag in range(found.shape[-2])], axis=-1)
        difference = (found[..., 0] - own)[..., None]
        return np.concatenate(
            [difference, np.exp(found[..., :count]), np.exp(own)[..., None]], axis=-1
        )


@dataclass(frozen=True, eq=False)
class Patching:
    """What swaps did in each pair.

    ``plain`` [pair, side, lag, 1 + target] are the unedited answers, ``edited``
    [pair, side, cell, lag, 1 + target] those of the side under each cell's swap; first log P(Undo)
    against the best other click, in nats, then probabilities of the targets ``names``. An answer
    that a cell cannot reach is nan.
    """

    task: str
    pairs: tuple[Pair, ...]
    cells: tuple[MapCell, ...]
    names: tuple[str, ...]
    plain: NDArray[np.float64]
    edited: NDArray[np.float64]

    def effects(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Change and whole difference, in nats: [pair, side, cell, lag] and [pair, side, lag]."""
        own = self.plain[..., 0]
        return self.edited[..., 0] - own[:, :, None], own[:, ::-1] - own

    def layer_of(self, tokens: str) -> int:
        """Where a token group of the first frame holds the mistake: the last strong layer.

        The last layer whose swap of the residual stream, on both sides together, has at least
        `STRONG` of the effect of the strongest. Raises `InputError` for a map without it.
        """
        change, whole = self.effects()
        shares = {
            cell.layer: float(change[:, :, number, 0].sum(0) @ (1 / whole[:, :, 0].sum(0)))
            for number, cell in enumerate(self.cells)
            if (cell.component, cell.tokens, cell.lag) == ("resid", tokens, 0)
        }
        if not shares:
            raise InputError(f"the map has no residual stream at '{tokens}'; patch it first")
        return max(at for at, share in shares.items() if share >= STRONG * max(shares.values()))

    def table(self) -> pd.DataFrame:
        """One row (`COLUMNS`) for each cell, side, answer and metric.

        ``start`` is the side edited; ``lag`` the frame edited and ``later`` the one that answers.
        ``effect`` is the change of log P(Undo) against the best other click as a share of the
        difference of the sides (sums over pairs), and has no row where the sides do not differ; the
        others are probabilities, and those of component ``none`` the unedited ones. Intervals:
        bootstrap over pairs.
        """
        draws = paired_draws(len(self.pairs))
        change, whole = self.effects()
        rows: list[dict[str, Any]] = []
        names = [
            {
                "component": one.component,
                "layer": one.layer,
                "head": np.nan if one.head is None else one.head,
                "tokens": one.tokens,
                "lag": one.lag,
            }
            for one in self.cells
        ]
        plain_names = {"component": "none", "layer": np.nan, "head": np.nan, "tokens": "", "lag": 0}
        for side, start in enumerate(SIDES):
            for later in range(self.plain.shape[2]):
                shown = {"task": self.task, "start": start, "later": later}
                below = np.broadcast_to(
                    whole[:, side, later, None], change[:, side, :, later].shape
                )
                scores = ratios(change[:, side, :, later], below, draws)
                rows += _rows(names, scores, len(self.pairs), metric="effect", **shown)
                for number, metric in enumerate(self.names, start=1):
                    values = self.edited[:, side, :, later, number]
                    scores = ratios(values, np.ones_like(values), draws)
                    rows += _rows(names, scores, len(self.pairs), metric=metric, **shown)
                    values = self.plain[:, side, None, later, number]
                    scores = ratios(values, np.ones_like(values), draws)
                    rows += _rows([plain_names], scores, len(self.pairs), metric=metric, **shown)
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        return table[table["estimate"].notna()].reset_index(drop=True)

    def plot(self) -> Any:
        """The map as a figure."""
        from bcprobe.figures.causes import plot_patching

        return plot_patching(self.table())

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        table = self.table()
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        return {"task": self.task, "pairs": len(self.pairs), "scores": rows}


def ratios(
    above: NDArray[np.float64], below: NDArray[np.float64], draws: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ratio of sums over pairs [pair, cell], and its bootstrap interval: [cell, 3].

    nan where the interval of the sum below holds 0: a share of no difference means nothing. The
    interval of a single pair is nan.
    """
    resampled = draws @ below
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    known = (low > 0) | (high < 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = above.sum(0) / below.sum(0)
        lower, upper = np.quantile((draws @ above) / resampled, [0.025, 0.975], axis=0)
    if len(above) == 1:
        lower = upper = np.full_like(estimate, np.nan)
    return np.where(known[:, None], np.stack([estimate, lower, upper], axis=1), np.nan)


def _rows(
    names: Sequence[Mapping[str, Any]], scores: NDArray[np.float64], n: int, **shown: Any
) -> Iterator[dict[str, Any]]:
    for own, (estimate, lower, upper) in zip(names, scores, strict=True):
        yield {**own, **shown, "estimate": estimate, "lower": lower, "upper": upper, "n": n}


def patch(
    model: ClickTransformer,
    pairs: Sequence[Pair],
    *,
    components: Sequence[str] = ("resid", "attn_out", "mlp_out"),
    tokens: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    lags: Sequence[int] | None = None,
    heads: bool = True,
    targets: Mapping[str, Rect] | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Patching:
    """Swap between the two sides of each pair, cell by cell; see `cells` for what is swapped.

    ``pairs`` are of one task; ``lags`` the frames to edit (default: all after the placement),
    ``targets`` further click targets by name. On a CPU pairs are spread over the cores. Raises
    `InputError` for pairs of several tasks, or names and numbers that there are not.
    """
    options: dict[str, Any] = {"components": components, "tokens": tokens, "layers": layers}

    def wanted(count: int) -> list[MapCell]:
        return cells(model.config, count, at=lags, heads=heads, **options)

    return over_pairs(
        pairs, wanted, partial(_patched, model, dict(targets or {})),
        here=model.device.type != "cpu", workers=workers, label="patching", progress=progress,
    )  # fmt: skip


#: What is found of a pair: names of the targets, plain and edited answers.
Found = tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]


def over_pairs(
    pairs: Sequence[Pair],
    wanted: Callable[[int], list[MapCell]],
    work: Callable[[list[MapCell], int, Pair], Found],
    *,
    here: bool,
    workers: int | None,
    label: str,
    progress: bool,
) -> Patching:
    """Cells worked for each pair of one task, in this process (``here``) or spread over cores.

    ``wanted(lags)`` are the cells, ``work(cells, lags, pair)`` answers for them. Raises
    `InputError` for no pair, or pairs of several tasks.
    """
    pairs = tuple(pairs)
    if not pairs:
        raise InputError("no pair to patch; `twins` makes some")
    for pair in pairs:
        if not isinstance(pair, Pair):
            raise InputError(f"patch takes pairs (`twins`, `pair_of`), not {type(pair).__name__}")
    tasks = sorted({pair.task for pair in pairs})
    if len(tasks) > 1:
        raise InputError(f"pairs of {len(tasks)} tasks ({', '.join(tasks)}); patch one at a time")
    count = min(pair.lags for pair in pairs)
    chosen = wanted(count)
    job = partial(work, chosen, count)
    found = []
    with Progress(len(pairs), f"{label}, {tasks[0]}", shown=progress) as bar:
        for one in map(job, pairs) if here else in_processes(job, pairs, workers):
            found.append(one)
            bar.advance()
    plain, edited = (np.stack([one[i] for one in found]) for i in (1, 2))
    return Patching(tasks[0], pairs, tuple(chosen), found[0][0], plain, edited)


def _patched(
    model: ClickTransformer,
    extra: Mapping[str, Rect],
    wanted: Sequence[MapCell],
    lags: int,
    pair: Pair,
) -> Found:
    """Names of the targets, plain [side, lag, value] and edited [side, cell, lag, value]."""
    edits = [edit_of(cell, model.config, pair) for cell in wanted]
    pair = replace(pair, checks=pair.checks[: lags - 1])
    bench = Bench(model, pair, sites_of(model.config, edits))
    answers = Answers(bench, extra)
    plain = answers.read(bench.plain(answers.targets))
    edited = np.stack([answers.read(bench.run(side, edits, answers.targets)[0]) for side in (0, 1)])
    for number, cell in enumerate(wanted):
        for later in range(lags):
            if not reaches(model.config, cell, later):
                edited[:, number, later] = np.nan
    return answers.names, plain, edited
