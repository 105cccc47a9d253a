"""The route from mark to Undo: path patching from tokens and heads to what the head reads.

The sender's cell is swapped; what then arrives at the receiver, and nothing else, is put into the
unedited pass (Wang et al. 2022; Goldowsky-Dill et al. 2023). The effect is what of the twins'
difference goes from the sender through the receiver: by any way between them, or, ``direct``, past
all attention and MLPs between, which are frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.bootstrap import paired_draws
from bcprobe.errors import InputError
from bcprobe.interventions.maps import (
    Answers,
    MapCell,
    edit_of,
    ratios,
    reaches,
    sites_of,
)
from bcprobe.interventions.pairs import SIDES, Pair
from bcprobe.interventions.patch import CELLS, FREEZE, Bench, Change, Edit, Place, Put
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import ClickTransformer
from bcprobe.parallel import in_processes
from bcprobe.progress import Progress

#: What the pointer head reads of the last layer, as cells of the answering frame.
READ = {"query": "cls", "keys": "patches", "undo key": "undo"}
COLUMNS = (
    "task", "start", "sender", "receiver", "direct", "later", "estimate", "lower", "upper", "n",
)  # fmt: skip


@dataclass(frozen=True)
class Edge:
    """From one cell to a later one; ``sender`` and ``receiver`` are what a figure calls them."""

    sender: str
    receiver: str
    source: MapCell
    target: MapCell
    direct: bool = False


def head_reads(config: ClickTransformerConfig, lag: int = 0) -> dict[str, MapCell]:
    """Cells that the head reads of a frame: its query ([cls]) and its keys (the patches)."""
    return {
        name: MapCell("resid", config.n_layers, tokens, lag)
        for name, tokens in READ.items()
        if config.head != "independent" or name == "query"
    }


def trace(
    model: ClickTransformer,
    pairs: Sequence[Pair],
    edges: Sequence[Edge],
    *,
    workers: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """What goes along each edge, as a share of the twins' difference: a row (`COLUMNS`) each.

    The difference is that of log P(Undo) against the best other click, as in
    `bcprobe.interventions.maps.patch`, of the answer at ``later``. Raises `InputError` for no
    pair, or a receiver that its sender cannot reach.
    """
    if not pairs:
        raise InputError("no pair to trace; `twins` makes some")
    for edge in edges:
        _check(edge, model.config)
    job = partial(_traced, model, tuple(edges))
    found = []
    with Progress(len(pairs), f"paths, {pairs[0].task}", shown=progress) as bar:
        here = model.device.type != "cpu"
        for one in map(job, pairs) if here else in_processes(job, list(pairs), workers):
            found.append(one)
            bar.advance()
    change, whole = (np.stack(part) for part in zip(*found, strict=True))
    draws = paired_draws(len(pairs))
    rows = []
    for side, start in enumerate(SIDES):
        for later in range(whole.shape[2]):
            above, below = change[:, side, :, later], whole[:, side, later, None]
            scores = ratios(above, np.broadcast_to(below, above.shape), draws)
            for edge, (estimate, lower, upper) in zip(edges, scores, strict=True):
                if reaches(model.config, edge.target, later):
                    rows.append(
                        (pairs[0].task, start, edge.sender, edge.receiver, edge.direct, later,
                         estimate, lower, upper, len(pairs))
                    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _check(edge: Edge, config: ClickTransformerConfig) -> None:
    known = ("resid", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern")
    if edge.target.component not in known or edge.source.component not in (*known, "memory"):
        raise InputError(f"no path from '{edge.source.component}' to '{edge.target.component}'")
    before = edge.source.lag, edge.source.layer
    if before > (edge.target.lag, edge.target.layer):
        raise InputError(
            f"'{edge.receiver}' (layer {edge.target.layer}, lag {edge.target.lag}) comes before "
            f"'{edge.sender}' (layer {edge.source.layer}, lag {edge.source.lag})"
        )


def _traced(
    model: ClickTransformer, edges: Sequence[Edge], pair: Pair
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Change [side, edge, lag] and whole difference [side, lag], in nats."""
    config = model.config
    senders = [_sender(edge, config, pair) for edge in edges]
    receivers = [edit_of(edge.target, config, pair, FREEZE).parts for edge in edges]
    bench = Bench(model, pair, sites_of(config, [*senders, *map(Edit, receivers)]))
    answers = Answers(bench)
    plain = answers.read(bench.plain(answers.targets))[..., 0]
    keep = list(dict.fromkeys((place.site, place.lag) for own in receivers for place, _ in own))
    change = []
    for side in range(2):
        _, arrived = bench.run(side, senders, answers.targets, keep)
        second = [
            Edit(tuple((place, Put(seen[place.site, place.lag])) for place, _ in own))
            for own, seen in zip(receivers, arrived, strict=True)
        ]
        found = answers.read(bench.run(side, second, answers.targets)[0])[..., 0]
        change.append(found - plain[side])
    return np.stack(change), plain[::-1] - plain


def _sender(edge: Edge, config: ClickTransformerConfig, pair: Pair) -> Edit:
    """The sender's swap; all attention and MLPs between frozen if the edge is direct."""
    edit = edit_of(edge.source, config, pair)
    parts = tuple(part for part in edit.parts if part[0].site != CELLS)
    if not edge.direct:
        return Edit(parts)
    every = tuple(range(config.tokens_per_frame))
    source, target = edge.source, edge.target
    frozen: list[tuple[Place, Change]] = []
    for block in range(source.layer, min(target.layer + 1, config.n_layers)):
        after_attention = block > source.layer or source.component == "resid"
        if after_attention and source.lag == target.lag:
            frozen.append((Place(f"blocks.{block}.hook_attn_out", source.lag, every), FREEZE))
        if block > source.layer or source.component not in ("mlp_out",):
            frozen.append((Place(f"blocks.{block}.hook_mlp_out", source.lag, every), FREEZE))
    return Edit((*parts, *frozen))


def route(config: ClickTransformerConfig, mover: int) -> list[Edge]:
    """Edges from the mark to Undo by way of the placed patch and block ``mover``.

    ``mover`` is the block whose attention takes the mistake from the placed patch to the tokens
    that the head reads: the one after the placed patch's last strong layer
    (`bcprobe.interventions.maps.Patching.layer_of`).
    """
    mover = min(mover, config.n_layers - 1)
    mark, click = MapCell("resid", 0, "placed"), MapCell("resid", 0, "previous")
    held = MapCell("resid", mover, "placed")
    query, keys = (
        MapCell("resid", config.n_layers, "cls"),
        MapCell("resid", config.n_layers, "patches"),
    )
    undo = MapCell("resid", config.n_layers, "undo")
    edges = [
        Edge("mark's patch", "placed patch", mark, held),
        Edge("previous click", "placed patch", click, held),
        *(
            Edge(f"MLP {block}", "placed patch", MapCell("mlp_out", block, "placed"), held)
            for block in range(mover)
        ),
        Edge("placed patch", "query", held, query),
        Edge("placed patch", "keys", held, keys),
        Edge("placed patch", "Undo's key", held, undo),
        *(
            Edge(f"head {mover}.{head}", name, MapCell("z", mover, "all", 0, head), cell)
            for head in range(config.n_heads)
            for name, cell in (("query", query), ("Undo's key", undo))
        ),
        *(
            Edge("placed patch", f"head {mover}.{head}", held, MapCell("z", mover, "all", 0, head))
            for head in range(config.n_heads)
        ),
        Edge("query", "answer", query, query),
        Edge("keys", "answer", keys, keys),
        Edge("Undo's key", "answer", undo, undo),
    ]
    return [edge for edge in edges if config.head != "independent" or "ey" not in edge.receiver]
