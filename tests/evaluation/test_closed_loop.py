"""On their own: the annotator succeeds, chance does not, the model's loop is its full pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch

from bcprobe.episodes.clickers import RandomClicker, RepeatClicker
from bcprobe.episodes.embedding_cache import EmbeddingCache
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import frames, generate, open_world, work
from bcprobe.episodes.simulator import rollout
from bcprobe.evaluation.closed_loop import loop_rows
from bcprobe.evaluation.metrics import score_table
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator, split_seed
from bcprobe.types import Click

TASK = "colored_dot_tracking"
SEEDS = [split_seed("test", i) for i in range(12)]


def scores(episodes: list[Episode]) -> pd.DataFrame:
    return score_table(loop_rows(episodes, task=TASK)).set_index("metric")


def test_annotator_succeeds_and_mends_its_mistakes() -> None:
    found = scores([generate(TASK, seed) for seed in SEEDS])
    assert found.loc["success", "estimate"] == found.loc["done", "estimate"] == 1
    assert found.loc["success", "lower"] > 0.7
    assert found.loc["correction_rate", "estimate"] == 1
    assert found.loc["valid", "estimate"] == 1
    assert found.loc["needless_undo_rate", "estimate"] == 0
    assert 0 < found.loc["mistake_rate", "estimate"] < 0.3


def test_random_and_repeating_clickers_do_not() -> None:
    for clicker in (RandomClicker(generator("test")), RepeatClicker()):
        found = scores(work(clicker, TASK, SEEDS, origin="control", max_steps=60))
        assert found.loc["success", "estimate"] == 0
        assert found.loc["score", "estimate"] < 0.3


def test_model_in_the_loop_clicks_as_its_full_pass_says(tiny: ClickTransformer) -> None:
    episodes = work(ModelPolicy(tiny), TASK, SEEDS[:3], origin="model", max_steps=8)
    for episode in episodes:
        seen = torch.from_numpy(np.stack(list(frames(episode)))).permute(0, 3, 1, 2)[None]
        clicks = torch.tensor([step.click for step in episode.steps])[None]
        previous = torch.cat([torch.full((1, 1, 2), -1), clicks[:, :-1]], dim=1)
        with torch.inference_mode():
            assert torch.equal(tiny(seen, previous).argmax(), clicks)


class _Noting(ModelPolicy):
    """Presses Done in world 0 at once, and notes what the model wanted."""

    def act(self, live: Sequence[int]) -> list[Click]:
        wanted = super().act(live)
        self.noted = [*getattr(self, "noted", []), dict(zip(live, wanted, strict=True))]
        done = self.simulators[0].arrangement.buttons[-1]
        leave = Click(done.x + 9, done.y + 9)
        return [leave if i == 0 else Click(40 + 5 * len(self.noted), 90) for i in live]


def test_worlds_that_end_do_not_disturb_the_others(tiny: ClickTransformer) -> None:
    together = _Noting(tiny)
    rollout(together, [open_world(TASK, seed) for seed in SEEDS[:3]], 6)
    pair = _Noting(tiny)
    worlds = [open_world(TASK, seed) for seed in (SEEDS[0], SEEDS[2])]
    rollout(pair, worlds, 6)
    assert [sorted(noted) for noted in together.noted] == [[0, 1, 2], *[[1, 2]] * 5]
    assert [noted[2] for noted in together.noted] == [noted[1] for noted in pair.noted]


def test_draws_follow_the_seed(tiny: ClickTransformer) -> None:
    def clicks(seed: int) -> list[list[Click]]:
        worked = work(ModelPolicy(tiny, 1.0, seed), TASK, SEEDS[:2], origin="model", max_steps=5)
        return [[step.click for step in episode.steps] for episode in worked]

    assert clicks(1) == clicks(1)
    assert clicks(1) != clicks(2)


def test_one_frame_policy_forgets(tiny: ClickTransformer) -> None:
    policy = ModelPolicy(tiny, one_frame=True)
    episode = work(policy, TASK, SEEDS[:1], origin="model", max_steps=6)[0]
    seen = torch.from_numpy(np.stack(list(frames(episode)))).permute(0, 3, 1, 2)[:, None]
    clicks = torch.tensor([step.click for step in episode.steps])[:, None]
    previous = torch.cat([torch.full((1, 1, 2), -1), clicks[:-1]])
    with torch.inference_mode():
        assert torch.equal(tiny(seen, previous).argmax(), clicks)


def test_bad_temperature_is_refused(tiny: ClickTransformer) -> None:
    with pytest.raises(ValueError, match="temperature"):
        ModelPolicy(tiny, -1.0)


@pytest.mark.parametrize("one_frame", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_saves_work_changes_no_click(
    tiny: ClickTransformer, temperature: float, one_frame: bool
) -> None:
    plain = ModelPolicy(tiny, temperature, one_frame=one_frame)
    embeddings, reach = EmbeddingCache(tiny.encoder.see, tiny.device), tiny.config.reach
    brief = ModelPolicy(tiny, temperature, one_frame=one_frame, embeddings=embeddings, reach=reach)
    first, second = (
        [episode.steps for episode in work(policy, TASK, SEEDS[:3], origin="m", max_steps=25)]
        for policy in (plain, brief)
    )
    assert first == second
