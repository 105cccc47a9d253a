from __future__ import annotations

from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import work
from bcprobe.evaluation.rollouts import rollout
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import split_seed

TASK = "3d_exploration_classification"


def test_a_rollout_is_the_model_at_work_on_test_worlds(tiny: ClickTransformer) -> None:
    options = {"max_steps": 12, "progress": False}
    found = rollout(tiny, [TASK, "colored_dot_tracking"], 2, temperature=1.0, seed=3, **options)
    worlds = [split_seed("test", number) for number in range(2)]
    expected = work(ModelPolicy(tiny, 1.0, 3), TASK, worlds, origin="model", max_steps=12)
    assert found[:2] == expected
    assert [episode.task for episode in found] == [TASK] * 2 + ["colored_dot_tracking"] * 2
