"""One colour code for figures, players, notebooks and the browser, safe for any colour vision.

Hex strings. Phases and series are Okabe and Ito's colours (the yellow darker, so that it shows on
white), tasks are Paul Tol's muted ones. Under simulated protanopia, deuteranopia and tritanopia
any two phases, and any two tasks, differ by at least 15 (CIE 1976 units).
"""

from __future__ import annotations

#: Colours of series by name.
COLOURS = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "yellow": "#F0C419",
    "black": "#000000",
    "grey": "#767676",
}
#: Intent behind a click (`bcprobe.types.PHASES`).
PHASE_COLOURS = {
    "explore": COLOURS["sky"],
    "annotate": COLOURS["green"],
    "verify": COLOURS["yellow"],
    "correct": COLOURS["vermillion"],
    "finish": COLOURS["purple"],
}
#: Tasks in the order of the paper; the held-out one is black.
TASK_COLOURS = {
    "colored_dot_tracking": "#332288",
    "neuron_tracking": "#88CCEE",
    "cell_lineage_tracking": "#44AA99",
    "multichannel_image_alignment": "#117733",
    "animal_limb_tracking": "#999933",
    "animal_behavioral_tracking": "#DDCC77",
    "3d_exploration_classification": "#CC6677",
    "spectral_plume_finding": "#882255",
    "road_network_construction": "#AA4499",
    "shape_matching": COLOURS["black"],
}
#: A standing mistake, and the click about to be made, on a screen or a timeline.
MISTAKE_COLOUR, CLICK_COLOUR = COLOURS["vermillion"], "#FFD84D"
