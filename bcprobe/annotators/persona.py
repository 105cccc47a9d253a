"""Who annotates: the habits an annotator keeps for one episode."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

#: Share of annotators who make mistakes, and their range of mistakes per placement. In the
#: paper 10-30 % of the placements of a mistaken episode are wrong.
MISTAKEN_SHARE = 0.32
ERROR_RATES = (0.07, 0.20)


@dataclass(frozen=True)
class Persona:
    """Habits, drawn once per episode.

    ``error_rate``: chance (0-1) that a placement is a mistake. ``carefulness``: 0-1, how
    often it looks back, peeks and verifies at length. ``jitter``: standard deviation in px
    of a right placement. ``delay``: chance (0-1) that a mistake is checked for one to three
    clicks before it is undone.
    """

    error_rate: float
    carefulness: float
    jitter: float
    delay: float

    def as_dict(self) -> dict[str, float]:
        """Plain form, as stored with an episode."""
        return asdict(self)


def draw_persona(rng: np.random.Generator) -> Persona:
    """A persona at random."""
    mistaken, rate = rng.random() < MISTAKEN_SHARE, rng.uniform(*ERROR_RATES)
    return Persona(
        error_rate=float(rate) if mistaken else 0.0,
        carefulness=float(rng.uniform(0.2, 1.0)),
        jitter=float(rng.uniform(0.5, 1.3)),
        delay=float(rng.uniform(0.1, 0.3)),
    )
