"""The tables figures are drawn from, made anew from checkpoints and episodes.

Each function of the modules here wires the rooms together for one figure and returns its
tidy table; `TABLES` names them all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from bcprobe.tables import at_work, causes, evaluation, lens, probing, screens, studies

#: What makes each figure's table, by the figure's name.
TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "annotator": evaluation.annotator,
    "at_work": at_work.at_work,
    "baselines": probing.mistake_probe,
    "circuit": causes.circuit,
    "closed_loop": evaluation.closed_loop,
    "cosines": probing.cosines,
    "dagger": partial(studies.study_table, "dagger"),
    "directions": causes.directions,
    "dots_mistake_probe": probing.dots_mistake_probe,
    "dots_psychometric": probing.dots_psychometric,
    "emergence": evaluation.emergence,
    "erasure": causes.erasure,
    "filmstrip": screens.filmstrip,
    "gallery": screens.gallery,
    "graded": probing.graded,
    "heads": evaluation.heads,
    "latents": probing.latents,
    "layouts": partial(studies.study_table, "layouts"),
    "lens": lens.lens,
    "mistakes": evaluation.mistakes,
    "mistake_probe": probing.mistake_probe,
    "overview": screens.gallery,
    "patching": causes.patching,
    "psychometric": probing.psychometric_curves,
    "patching_training": causes.patching_training,
    "probe_emergence": probing.probe_emergence,
    "recoveries": partial(studies.study_table, "recoveries"),
    "steered": causes.steered,
    "scaling": partial(studies.study_table, "scaling"),
    "transfer": partial(studies.study_table, "transfer"),
    "two_by_two": probing.two_by_two,
}
