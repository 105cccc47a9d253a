"""Directions in a model's activations along which a latent grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcprobe.bootstrap import Floats
from bcprobe.probes.linear import C, make_probe
from bcprobe.probes.logistic import fit_logistics


@dataclass(frozen=True, eq=False)
class Direction:
    """A probe fitted on all rows, written in the activations' own units.

    ``directions`` [class, dim] have unit length (one row for binary and number latents) and
    point to more of what ``classes`` names; ``separation`` is the distance between the two
    sides' means along them (for numbers: above and below the median), ``spread`` the
    standard deviation and ``centre`` the mean of the projections.
    """

    directions: Floats
    classes: tuple[str, ...]
    separation: Floats
    spread: Floats
    centre: Floats


def fit_direction(
    kind: str, features: NDArray[np.floating[Any]], truth: NDArray[np.generic], name: str
) -> Direction:
    """The direction(s) along which the probe of all rows reads the latent ``name``."""
    features = np.asarray(features, dtype=float)
    directions = units(_weights(kind, features, truth))
    projections = features @ directions.T  # (step, class)
    classes = tuple(map(str, np.unique(truth))) if kind == "classes" else (name,)
    sides = _sides(kind, truth, classes)
    gaps = [p[s].mean() - p[~s].mean() for p, s in zip(projections.T, sides, strict=True)]
    spread, centre = projections.std(0), projections.mean(0)
    return Direction(directions, classes, np.array(gaps), spread, centre)


def units(weights: Floats) -> Floats:
    """Weights [row, d] at unit length; zeros stay."""
    norms = np.linalg.norm(weights, axis=1, keepdims=True)
    return weights / np.where(norms > 0, norms, 1)


def drawn_directions(
    kind: str,
    features: NDArray[np.floating[Any]],
    truth: NDArray[np.generic],
    counts: NDArray[np.floating[Any]],
) -> Floats:
    """Unit directions [draw, d] of probes that count the rows ``counts`` [row, draw] times.

    For binary and number latents; nan where a draw holds one class only.
    """
    found = np.full((counts.shape[1], features.shape[1]), np.nan)
    if kind == "number":
        rows = [np.repeat(np.arange(len(truth)), draw) for draw in counts.T.astype(np.int64)]
        found[:] = [_weights(kind, features[own], truth[own])[0] for own in rows]
    else:
        known = [counts[truth.astype(bool) == side].any(0) for side in (True, False)]
        both = known[0] & known[1]
        found[both] = fit_logistics(features, truth, counts[:, both], C).weights
    return units(found)


def _weights(kind: str, features: NDArray[np.floating[Any]], truth: NDArray[np.generic]) -> Floats:
    """Weights [class, d] of the probe of all rows, in the activations' own units."""
    if kind == "binary":
        return fit_logistics(features, truth, np.ones((len(truth), 1)), C).weights
    scaler, model = (step for _, step in make_probe(kind).fit(features, truth).steps)
    weights = np.atleast_2d(model.coef_) / scaler.scale_
    return (
        np.concatenate([-weights, weights]) if kind == "classes" and len(weights) == 1 else weights
    )


def _sides(
    kind: str, truth: NDArray[np.generic], classes: tuple[str, ...]
) -> list[NDArray[np.bool_]]:
    if kind == "classes":
        return [truth == name for name in classes]
    if kind == "binary":
        return [truth.astype(bool)]
    values = truth.astype(float)
    above = values > np.median(values)
    return [above if above.any() else values >= np.median(values)]
