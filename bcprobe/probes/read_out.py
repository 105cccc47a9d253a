"""What probes read along an episode, click by click."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bcprobe.activations.extract import collect
from bcprobe.episodes.episode import Episode
from bcprobe.errors import InputError
from bcprobe.model.transformer import ClickTransformer
from bcprobe.probes.cards import ProbeCard, read_probe_card
from bcprobe.probes.result import ProbeResult

#: A probe to read along the episode: its result, or the folder of a direction card.
Probe = ProbeResult | Path | str


def read_out(
    episode: Episode, model: ClickTransformer, probes: Sequence[Probe]
) -> dict[str, NDArray[np.float64]]:
    """What probes read at each click [step], by name, from one pass of the model.

    0 is the mean over a probe's data, 1 the distance between its two sides' means.

    Raises `InputError` if a folder holds no direction card, or one for a model of another
    width.
    """
    known = [_direction(probe) for probe in probes]
    if not known:
        return {}
    seen = collect(model, [episode], sorted({card.site for card, _ in known}))
    values: dict[str, NDArray[np.float64]] = {}
    for card, directions in known:
        found = seen.at(card.site).astype(float)
        if found.shape[1] != directions.shape[1]:
            raise InputError(
                f"the direction of '{card.latent}' has {directions.shape[1]} numbers; "
                f"'{card.site}' of this model has {found.shape[1]}"
            )
        for row, name in enumerate(card.classes):
            scale = card.separation[row] or 1.0
            values[f"{name}, layer {card.layer}"] = (
                found @ directions[row] - card.centre[row]
            ) / scale
    return values


def _direction(probe: Probe) -> tuple[ProbeCard, NDArray[np.float64]]:
    if isinstance(probe, ProbeResult):
        return probe.card, probe.fitted.directions
    return read_probe_card(probe)
