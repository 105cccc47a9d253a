"""What Jupyter shows of a probe's result."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from bcprobe.activations.dataset import Activations
from bcprobe.probes import result as sheet
from bcprobe.probes.protocol import probe
from bcprobe.probes.result import ProbeResult, short_site


@pytest.fixture(scope="module")
def result(gathered: Activations) -> ProbeResult:
    return probe(replace(gathered, checkpoint="small"), "progress")


def test_a_row_for_every_number(result: ProbeResult) -> None:
    page = result._repr_html_()
    table = result.table()
    assert page.count("<svg") == page.count("<circle") == len(table)
    first = table.iloc[0]
    assert f"{first.estimate:.3f} [{first.lower:.3f}, {first.upper:.3f}]" in page
    assert "<b>progress</b> (r2) from small, 6 episodes" in page
    assert short_site(result.best.site) in page
    assert "prefers-color-scheme:dark" in page


def test_dots_stand_in_the_order_of_their_scores(result: ProbeResult) -> None:
    places = [float(x) for x in re.findall(r' cx="([\d.]+)"', sheet.to_html(result))]
    estimates = result.table()["estimate"].to_numpy(float)
    slope, offset = np.polyfit(estimates, places, 1)
    assert slope > 0
    np.testing.assert_allclose(places, slope * estimates + offset, atol=0.1)
    assert min(places) >= 0
    assert max(places) <= sheet.WIDTH
