"""What a probe run found, as a table, as JSON and as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.activations.labels import Latent
from bcprobe.files import atomic_file
from bcprobe.probes.cards import Card, write_card
from bcprobe.probes.controls import CONTROLS
from bcprobe.probes.directions import Direction
from bcprobe.results import Score, write_table

#: Called with the table, the folder and the name to write a figure under.
Draw = Callable[[pd.DataFrame, Path, str], object]
COLUMNS = (
    "site", "layer", "negatives", "kind", "metric", "chance", "estimate", "lower", "upper", "n",
)  # fmt: skip


@dataclass(frozen=True)
class Best:
    """The site chosen on every second episode, and its score on the others.

    ``score`` is None where the episodes were too few to be halved; then all of them chose.
    """

    site: str
    layer: int
    negatives: str
    score: Score | None

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "site": self.site,
            "layer": self.layer,
            "negatives": self.negatives,
            "chosen_on": "all episodes" if self.score is None else "episodes 0, 2, 4...",
            "scored_on": None if self.score is None else "episodes 1, 3, 5...",
            "score": None if self.score is None else self.score.as_dict(),
        }


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """How well a latent reads from each site, and what that is worth.

    ``asked``: negatives -> how many steps the probes are asked about and, for binary
    latents, how many of them are ``positives``.
    ``probes`` and ``untrained``: negatives -> site -> score. ``controls``: negatives ->
    name -> score, at the best site.
    """

    latent: Latent
    checkpoint: str
    task: str
    episodes: int
    steps: int
    chance: float
    asked: dict[str, dict[str, int]]
    layers: dict[str, int]
    probes: dict[str, dict[str, Score]]
    untrained: dict[str, dict[str, Score]]
    controls: dict[str, dict[str, Score]]
    best: Best
    card: Card
    direction: Direction = field(repr=False)

    @property
    def metric(self) -> str:
        """Name of the score."""
        return self.latent.metric

    def table(self) -> pd.DataFrame:
        """Tidy table, one row per number; see `COLUMNS`.

        ``kind`` is ``probe``, a control, or ``control_task`` (whose difference from the
        probe is the selectivity). Controls that read no site have an empty one.
        """
        rows = [
            self._row("probe", negatives, site, number)
            for negatives, scores in self.probes.items()
            for site, number in scores.items()
        ]
        for negatives, scores in self.controls.items():
            for kind, number in scores.items():
                site = "" if kind in ("pixels", "previous_action") else self.best.site
                shown = self.untrained[negatives] if kind == "untrained" else {site: number}
                rows += [self._row(kind, negatives, *item) for item in shown.items()]
        return pd.DataFrame(rows, columns=COLUMNS).astype({"layer": "Int64"})

    def _row(self, kind: str, negatives: str, site: str, number: Score) -> tuple[Any, ...]:
        chance = 0.0 if kind == "selectivity" else self.chance
        where = (site, self.layers.get(site), negatives, kind, self.metric, chance)
        return (*where, number.estimate, number.lower, number.upper, number.n)

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        from bcprobe.probes.html import to_html

        return to_html(self)

    def as_dict(self) -> dict[str, Any]:
        """JSON form; every number is ``{estimate, lower, upper, n}``."""
        by_negatives = {
            negatives: {name: scores[name].as_dict() for name in CONTROLS}
            for negatives, scores in self.controls.items()
        }
        return {
            "latent": self.latent.name,
            "checkpoint": self.checkpoint,
            "task": self.task,
            "metric": self.metric,
            "chance": self.chance,
            "episodes": self.episodes,
            "steps": self.steps,
            "asked": self.asked,
            "negatives": {
                negatives: {site: number.as_dict() for site, number in scores.items()}
                for negatives, scores in self.probes.items()
            },
            "controls": by_negatives[self.best.negatives],
            "controls_by_negatives": by_negatives,
            "best": self.best.as_dict(),
            "card": self.card.as_dict(),
        }

    def write(self, folder: Path | str, draw: Draw | None = None) -> Path:
        """Write the table, the JSON document and the card; ``draw(table, folder, name)`` too."""
        folder, name = Path(folder), f"{self.latent.name}_probe"
        write_table(self.table(), folder / f"{name}.parquet")
        with atomic_file(folder / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n")
        write_card(folder, self.card, self.direction.directions)
        if draw is not None:
            draw(self.table(), folder, name)
        return folder
