"""Tables of the figures about what is inside: probes and interventions."""

from __future__ import annotations

import pandas as pd

from bcprobe.probes.run import run
from bcprobe.probes.steering import intervene
from bcprobe.tables.evaluation import POINTER, TASK


def mistake_probe() -> pd.DataFrame:
    """The mistake probe of dots-nano, layer by layer, with its controls."""
    return run("mistake", POINTER, TASK).table()


def steering() -> pd.DataFrame:
    """Edits of dots-nano along the mistake direction."""
    return intervene(POINTER, [TASK]).table()
