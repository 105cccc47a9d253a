"""The dose response shows the site that moves most, with the unedited look at dose 0."""

from __future__ import annotations

import pandas as pd
import pytest

from bcprobe.figures import steering
from bcprobe.probes.steering import COLUMNS


def made(site: str, layer: int, gain: float) -> list[dict[str, object]]:
    rows = []
    for start, base in (("right", 0.1), ("wrong", 0.6)):
        edits = [("none", "", 0.0), ("ablate", "probe", 0.0), ("swap", "probe", 0.0)]
        edits += [("swap", "all", 0.0)]
        edits += [("add", d, a) for d in ("probe", "random") for a in (-2.0, -1.0, 1.0, 2.0)]
        for operation, direction, alpha in edits:
            p = base + gain * alpha * (direction == "probe")
            where = {"site": site, "layer": layer, "start": start, "metric": "p_undo", "n": 9}
            edit = {"operation": operation, "direction": direction, "alpha": alpha}
            rows.append({**where, **edit, "estimate": p, "lower": p - 0.01, "upper": p + 0.01})
    return rows


def test_the_strongest_site_is_shown() -> None:
    table = pd.DataFrame(made("a", 1, 0.01) + made("b", 2, 0.04), columns=list(COLUMNS))
    figure = steering.plot(table)
    dose = figure.axes[0].lines[0]
    assert dose.get_xdata().tolist() == [-2, -1, 0, 1, 2]
    assert dose.get_ydata() == pytest.approx([0.02, 0.06, 0.1, 0.14, 0.18])
    assert figure.axes[1].lines[0].get_xdata().tolist() == [1, 2]
