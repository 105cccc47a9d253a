"""Labels that nobody built in: probed like any other, in one task and in several."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from bcprobe.activations.dataset import Activations, combine
from bcprobe.errors import InputError
from bcprobe.probes.protocol import probe

SITES = [f"blocks.{i}.hook_resid_post" for i in range(2)]
TASKS = ("colored_dot_tracking", "neuron_tracking")


def with_own(planted: Activations) -> Activations:
    """Labels of each kind, all of which stand in the second site alone."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=len(planted))
    noise = rng.normal(size=(2, len(planted), 6)).astype(np.float32)
    noise[1, :, 2] += 3 * hidden
    data = Activations(dict(zip(SITES, noise, strict=True)), planted.labels)
    kinds = np.array(["low", "high"])[(hidden > 0).astype(int)]
    return data.assign(hidden=hidden, positive=hidden > 0, word=kinds)


@pytest.mark.parametrize(
    ("label", "metric"), [("hidden", "r2"), ("positive", "auc"), ("word", "balanced_accuracy")]
)
def test_a_label_of_ones_own_is_read_where_it_stands(
    planted: Activations, label: str, metric: str
) -> None:
    data = with_own(planted)
    result = probe(data, label)
    assert (result.metric, result.best.site) == (metric, SITES[1])
    found = result.table(kind="probe", token="cls").set_index("site")["estimate"]
    assert found[SITES[1]] > 0.75
    assert found[SITES[1]] > found[SITES[0]] + 0.2
    features, truth, groups = data.arrays(label, SITES[1], None)
    assert len(features) == len(truth) == len(groups) == len(data)
    assert "hidden" not in planted.labels


def test_it_is_probed_over_several_tasks_too(planted: Activations) -> None:
    one = with_own(planted)
    parts: Mapping[str, Activations] = {
        task: Activations(one.values, one.labels.assign(task=task)) for task in TASKS
    }
    result = probe(combine(parts), "positive")
    schemes = set(result.table()["scheme"])
    assert {"within", "pooled", "left_out", "matrix", "cosine"} <= schemes
    assert result.score.estimate > 0.9


def test_labels_that_cannot_be_are_refused(planted: Activations) -> None:
    steps = len(planted)
    with pytest.raises(InputError, match="'mistake' is built in"):
        planted.assign(mistake=np.ones(steps))
    with pytest.raises(InputError, match=rf"'own' has shape \[3\]; there are {steps} steps"):
        planted.assign(own=[1, 2, 3])
    with pytest.raises(InputError, match=f"'own' is missing at 1 of {steps} steps"):
        planted.assign(own=np.r_[np.nan, np.zeros(steps - 1)])
    with pytest.raises(InputError, match="unknown latent 'hiden'; did you mean 'hidden'"):
        probe(with_own(planted), "hiden")
    with pytest.raises(InputError, match="one number only"):
        planted.assign(own=np.zeros(steps)).arrays("own", SITES[1], None)
