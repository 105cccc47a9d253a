"""Curves over the distance of the truth: fitted where they rise, and left alone where not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bcprobe.activations.dataset import Activations
from bcprobe.errors import InputError
from bcprobe.probes import psychometric as module
from bcprobe.probes.psychometric import SHIFTS, Seen, fit_curve, psychometric

SITE = "blocks.2.hook_resid_post"


def test_threshold_and_slope_of_a_known_curve() -> None:
    shifts = np.array(SHIFTS)
    rates = 0.05 + 0.9 / (1 + np.exp(-(shifts - 8) / 1.5))
    found = fit_curve(shifts, rates)
    assert found is not None
    assert found[0] == pytest.approx(8, abs=0.05)
    assert found[1] == pytest.approx(0.9 / 6, rel=0.05)
    assert fit_curve(shifts, np.full(len(shifts), 0.4)) is None


@pytest.fixture
def table(planted: Activations, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A model that says Undo, and holds the planted direction, from 9 px on."""

    def look(job: module._Job) -> list[Seen]:
        rng = np.random.default_rng(job.world % (1 << 32))
        found = []
        for shift in job.shifts:
            features = rng.normal(size=12)
            features[5] += 4 * (shift >= 9)
            found.append(Seen(job.task, job.world, shift, shift > 5, 0.9 * (shift >= 9), features))
        return found

    monkeypatch.setattr(module, "look_at", look)
    return psychometric(planted, "x", SITE, worlds=24, workers=1, progress=False)


def test_curves_rise_where_the_model_notices(table: pd.DataFrame) -> None:
    rates = table[table["what"] == "rate"].pivot_table(
        index="shift", columns="detector", values="estimate"
    )
    assert rates["p_undo"].tolist() == [0, 0, 0, 0.9, 0.9, 0.9, 0.9]
    assert (rates["probe"].loc[:6] < 0.3).all()
    assert (rates["probe"].loc[9:] > 0.8).all()
    ends = table[table["what"] == "threshold"].set_index("detector")
    assert ends.loc["p_undo", "estimate"] == pytest.approx(7.5, abs=1.6)
    assert ends.loc["probe", "lower"] <= ends.loc["probe", "estimate"] <= ends.loc["probe", "upper"]
    assert ends.loc["mistake", "estimate"] < ends.loc["p_undo", "estimate"]
    assert table[["estimate", "lower", "upper"]].notna().all().all()


def test_a_task_whose_truth_does_not_move_is_refused(planted: Activations) -> None:
    labels = planted.labels.assign(task="3d_exploration_classification")
    still = Activations(planted.values, labels)
    with pytest.raises(InputError, match="no task with a truth that moves"):
        psychometric(still, "x", SITE, progress=False)
