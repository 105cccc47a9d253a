"""Who annotates: the habits an annotator keeps for one episode."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np


@dataclass(frozen=True)
class Habits:
    """How often the annotators of a task err.

    ``mistaken``: share of annotators (0-1) who make mistakes at all. ``error_rates``: range of
    their mistakes per placement (0-1); in the paper 10-30 % of the placements of a mistaken
    episode are wrong.
    """

    mistaken: float = 0.5
    error_rates: tuple[float, float] = (0.1, 0.3)


@dataclass(frozen=True)
class Manner:
    """How an annotator deals with mistakes, as chances (0-1); the usual one has none of this.

    ``unnoticed``: a mistake is never noticed and stands. ``second_thoughts``: a right mark is
    undone. ``place_again``: a mistake is corrected by placing again where that replaces it (limbs
    and mice). ``graded`` (0 or 1): mistakes begin just outside the tolerance instead of far off.
    See `bcprobe.annotators.manner`.
    """

    unnoticed: float = 0.0
    second_thoughts: float = 0.0
    place_again: float = 0.0
    graded: float = 0.0


USUAL = Manner()
#: Manners by name.
MANNERS = {
    "usual": USUAL,
    "graded": Manner(graded=1.0),
    "two_by_two": Manner(unnoticed=0.4, second_thoughts=0.06, place_again=0.5),
}


@dataclass(frozen=True)
class Persona:
    """Habits, drawn once per episode.

    ``error_rate``: chance (0-1) that a placement is a mistake. ``carefulness``: 0-1, how
    often it looks back, peeks and verifies at length. ``jitter``: standard deviation in px
    of a right placement. ``delay``: chance (0-1) that a mistake is checked for one to three
    clicks before it is undone. ``manner``: see `Manner`.
    """

    error_rate: float
    carefulness: float
    jitter: float
    delay: float
    manner: Manner = field(default=USUAL)

    def as_dict(self) -> dict[str, float]:
        """Plain form, as stored with an episode."""
        plain = asdict(self)
        manner = {name: value for name, value in plain.pop("manner").items() if value}
        return {**plain, **manner}


def draw_persona(habits: Habits, rng: np.random.Generator) -> Persona:
    """A persona at random."""
    mistaken, rate = rng.random() < habits.mistaken, rng.uniform(*habits.error_rates)
    return Persona(
        error_rate=float(rate) if mistaken else 0.0,
        carefulness=float(rng.uniform(0.2, 1.0)),
        jitter=float(rng.uniform(0.5, 1.3)),
        delay=float(rng.uniform(0.1, 0.3)),
    )
