"""What Jupyter shows of a probe's result."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bcprobe.activations.dataset import Activations, make_source
from bcprobe.probes import html as sheet
from bcprobe.probes.one_task import analyse
from bcprobe.probes.result import ProbeResult


@pytest.fixture(scope="module")
def result(gathered: Activations, checkpoint: Path) -> ProbeResult:
    source = make_source(checkpoint, "colored_dot_tracking", 6)
    return analyse(gathered, "progress", source, list(gathered.values), "small")


def test_a_row_for_every_number(result: ProbeResult) -> None:
    page = result._repr_html_()
    table = result.table()
    assert page.count("<svg") == page.count("<circle") == len(table)
    first = table.iloc[0]
    assert f"{first.estimate:.3f} [{first.lower:.3f}, {first.upper:.3f}]" in page
    assert "<b>progress</b> (r2) from small, 6 episodes" in page
    assert result.best.site in page


def test_dots_stand_in_the_order_of_their_scores(result: ProbeResult) -> None:
    places = [float(x) for x in re.findall(r'circle cx="([\d.]+)"', sheet.to_html(result))]
    estimates = result.table()["estimate"].to_numpy(float)
    slope, offset = np.polyfit(estimates, places, 1)
    assert slope > 0
    np.testing.assert_allclose(places, slope * estimates + offset, atol=0.1)
    assert min(places) >= 0
    assert max(places) <= sheet.WIDTH
