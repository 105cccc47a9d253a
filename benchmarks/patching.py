"""Swaps between twins: edits in batches from where they begin, against one whole pass for each.

    python benchmarks/patching.py [CHECKPOINT] [PAIRS]

Both give the same answers, which is checked. The plain loop shows the model all frames that can
reach an answer, anew for every edit, with a hook on the edited tokens.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch

from bcprobe.interventions.maps import cells, edit_of, sites_of
from bcprobe.interventions.pairs import Pair, twins
from bcprobe.interventions.patch import CELLS, Bench, Edit
from bcprobe.interventions.targets import ClickTargets
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.transformer import ClickTransformer

TASK, LOOPED = "colored_dot_tracking", 20


def plain_loop(model: ClickTransformer, pair: Pair, edits: list[Edit]) -> list[float]:
    """P(Undo) of the wrong side under each edit, a whole forward pass at a time."""
    sides = [[*pair.history(side, model.config.reach - 1), *pair.after(side)] for side in (0, 1)]
    inputs = []
    for shown in sides:
        pixels = torch.from_numpy(np.stack([screen for screen, _ in shown]))[None]
        clicks = torch.tensor([[tuple(click) for _, click in shown]])
        inputs.append((pixels.permute(0, 1, 4, 2, 3), clicks))
    names = [*sites_of(model.config, edits), CELLS]
    with torch.inference_mode():
        _, kept = model.run_with_cache(*inputs[0], names_filter=names)
        return [_one(model, pair, inputs[1], edit, kept) for edit in edits]


def _one(model: ClickTransformer, pair: Pair, shown: Any, edit: Edit, kept: Any) -> float:
    tokens = model.config.tokens_per_frame

    def swapping(places: Any) -> Any:
        def hook(x: torch.Tensor, hook: Any) -> torch.Tensor:
            x = x.clone()
            for place in places:
                if place.site == CELLS:
                    x[:, -1, list(place.tokens)] = kept[hook.name][:, -1, list(place.tokens)]
                else:
                    at = [x.shape[1] - tokens + token for token in place.tokens]
                    x[:, at] = kept[hook.name][:, at]
            return x

        return hook

    sites = dict.fromkeys(place.site for place, _ in edit.parts)
    hooks = [
        (site, swapping([place for place, _ in edit.parts if place.site == site])) for site in sites
    ]
    heat = model.run_with_hooks(*shown, fwd_hooks=hooks).heat_map()[0, -1]
    r = pair.button("Undo")
    return float(heat[r.y : r.y + r.height, r.x : r.x + r.width].sum())


def main(checkpoint: str = "nine-nano-longer", count: str = "4") -> None:
    """Print seconds a pair of both ways, their ratio, and how far their answers are apart."""
    torch.set_num_threads(1)
    model = load_checkpoint(checkpoint).requires_grad_(False)
    seconds, apart = [], 0.0
    for pair in twins(TASK, int(count)):
        edits = [edit_of(cell, model.config, pair) for cell in cells(model.config)]
        start = time.process_time()
        bench = Bench(model, pair, sites_of(model.config, edits))
        found = bench.run(1, edits, ClickTargets(model, [pair.button("Undo")]))[0][:, 0, 0].exp()
        ours = time.process_time() - start
        start = time.process_time()
        every = len(edits) // LOOPED
        looped = plain_loop(model, pair, edits[::every])
        loop = (time.process_time() - start) * len(edits) / len(looped)
        apart = max(apart, float((found[::every] - torch.tensor(looped)).abs().max()))
        seconds.append((ours, loop))
    ours, loop = np.median(np.array(seconds), axis=0)
    print(f"{checkpoint}, {len(edits)} edits of one side of a pair, seconds of one core:")
    print(f"batched {ours:.2f}, plain loop {loop:.1f}, ratio {loop / ours:.1f}; apart {apart:.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
