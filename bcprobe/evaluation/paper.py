"""What the paper reports of closed loops: references to stand beside, never our own numbers."""

from __future__ import annotations

import pandas as pd

SOURCE = "Chandok and Park 2026, arXiv 2606.07568: closed loop, other worlds than ours"
COLUMNS = ("task", "policy", "estimate", "source")
_NINE = (
    "colored_dot_tracking",
    "neuron_tracking",
    "cell_lineage_tracking",
    "multichannel_image_alignment",
    "animal_limb_tracking",
    "animal_behavioral_tracking",
    "3d_exploration_classification",
    "spectral_plume_finding",
    "road_network_construction",
)
#: Share of worlds worked to the end (0-1) by whom, by task; a task left out was not stated.
CLOSED_LOOP: dict[str, dict[str, float]] = {
    "Gemini 3 Flash": dict.fromkeys(_NINE, 0.0)
    | {
        "cell_lineage_tracking": 0.812,
        "animal_behavioral_tracking": 0.531,
        "3d_exploration_classification": 0.344,
    },
    "Qwen3-VL-32B": dict.fromkeys(_NINE, 0.0),
    "BC": {
        "colored_dot_tracking": 0.97,
        "animal_limb_tracking": 0.0,
        "animal_behavioral_tracking": 0.0,
    },
}


def closed_loop_references() -> pd.DataFrame:
    """`CLOSED_LOOP` as a table with `COLUMNS`."""
    rows = [
        (task, policy, estimate, SOURCE)
        for policy, found in CLOSED_LOOP.items()
        for task, estimate in found.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
