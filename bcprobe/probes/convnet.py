"""A small convolutional network on the crop around the mark: pixels that are worth beating.

Mean colours of patches cannot show whether a ring lies on a dot. This baseline sees the `SIDE` px
around the last placement in the frame after it and in the one before, and is fitted on as many rows
as the probe, on the same folds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.activations.labels import Question
from bcprobe.bootstrap import Ints
from bcprobe.parallel import in_processes
from bcprobe.probes.linear import HeldOut, split
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Click

#: Side of the crop in px; epochs and rows of a batch of the fit.
SIDE, EPOCHS, BATCH = 48, 12, 64
_Job = tuple[str, str, str, int, list[tuple[int, int]], list[tuple[int, int, int]]]


def crops(labels: pd.DataFrame, rows: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Crops of some steps: uint8 [row, SIDE, SIDE, 6], the frame and the one before it.

    ``labels`` is the whole label table, whose clicks are made again; ``rows`` bool [step].
    """
    jobs: list[_Job] = []
    for _, own in labels.assign(row=rows).groupby("episode", sort=False):
        wanted = own[own["row"]]
        first = own.iloc[0]
        places = [(int(r.step), int(r.placed_x), int(r.placed_y)) for r in wanted.itertuples()]
        clicks = list(zip(own["click_x"].tolist(), own["click_y"].tolist(), strict=True))
        names = (str(first["task"]), str(first["layout"]), str(first["difficulty"]))
        if places:
            jobs.append((*names, int(first["world_seed"]), clicks, places))
    return np.concatenate(list(in_processes(_crops_of, jobs)))


def _crops_of(job: _Job) -> NDArray[np.uint8]:
    from bcprobe.episodes.record import open_world

    task, layout, difficulty, seed, clicks, places = job
    simulator = open_world(task, seed, layout, difficulty)
    shown: dict[int, NDArray[np.uint8]] = {}
    wanted = {step for step, _, _ in places}
    for step, click in enumerate(clicks):
        if step in wanted or step + 1 in wanted:
            shown[step] = simulator.screen()
        simulator.click(Click(*click))
    return np.stack(
        [
            np.concatenate([_cut(shown[t], x, y), _cut(shown[max(t - 1, 0)], x, y)], axis=-1)
            for t, x, y in places
        ]
    )


def _cut(frame: NDArray[np.uint8], x: int, y: int) -> NDArray[np.uint8]:
    """The crop around a point, moved inside the screen at its rim: [SIDE, SIDE, 3]."""
    left = int(np.clip(x - SIDE // 2, 0, SCREEN_WIDTH - SIDE))
    top = int(np.clip(y - SIDE // 2, 0, SCREEN_HEIGHT - SIDE))
    return frame[top : top + SIDE, left : left + SIDE]


def convnet(question: Question, seen: NDArray[np.uint8], seed: int = 0) -> HeldOut:
    """Out-of-fold scores of networks fitted on ``seen`` uint8 [row, SIDE, SIDE, 6]."""
    truth, groups = question.truth.astype(bool), question.groups
    scores, folds = np.empty(len(truth)), np.empty(len(truth), dtype=np.int64)
    for number, (train, test) in enumerate(split(groups)):
        scores[test] = _fit(seen, truth, train, seed)(seen[test])
        folds[test] = number
    return HeldOut("binary", question.truth, scores, groups, folds)


def _fit(seen: NDArray[np.uint8], truth: NDArray[np.bool_], train: Ints, seed: int) -> Any:
    """A network fitted on some rows; takes crops and gives log odds [row]."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(6, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * (SIDE // 8) ** 2, 1),
        )  # fmt: skip
        weight = torch.tensor(float((~truth[train]).sum() / max(1, truth[train].sum())))
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
        steps = EPOCHS * max(1, len(train) // BATCH)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        rng = np.random.default_rng(seed)
        for _ in range(EPOCHS):
            for rows in _batches(rng.permutation(train)):
                said = model(_tensor(seen[rows]))[:, 0]
                wanted = torch.from_numpy(truth[rows].astype(np.float32))
                loss = F.binary_cross_entropy_with_logits(said, wanted, pos_weight=weight)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
    model.eval()

    def predict(own: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return model(_tensor(own))[:, 0].numpy()

    return predict


def _batches(order: Ints) -> Iterator[Ints]:
    """Rows a batch; a last one of a single row joins the one before (batch norm needs two)."""
    count = max(1, len(order) // BATCH)
    yield from np.array_split(order, count)


def _tensor(seen: NDArray[np.uint8]) -> Any:
    import torch

    return torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 127.5 - 1
