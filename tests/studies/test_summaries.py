"""Tables from made rows: what was put in comes out, with intervals."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from bcprobe.bootstrap import exact, score_of, wilson
from bcprobe.results import Score
from bcprobe.studies import dagger, layouts, power_law, scaling, transfer
from bcprobe.studies.measure import draws_of, loop_scores

SIZES = np.array([1e4, 5e4, 3e5, 1e6])
FRAMES = 2.0 ** np.arange(10, 18)


def law(size: float, frames: float) -> float:
    """Loss whose floor is 2, which falls with the root of the size and of the data."""
    return 2.0 + 0.3 * (size / 1e5) ** -0.5 + 1.2 * (frames / 2**13) ** -0.5


def scaling_rows(noise: float = 0.02) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for size, frames, seed, world in product(SIZES, FRAMES, (0, 1), range(12)):
        loss = law(size, frames) * (1 + noise * rng.normal())
        hits = 100 / loss
        for kind, n in (("navigate", 70), ("place_right", 20), ("undo", 5), ("done", 5)):
            rows.append(
                {
                    "task": "dots", "world": world, "kind": kind, "n": n, "hits": n * hits / 100,
                    "nll": n * loss, "annotator_nll": n * 1.5 if frames == FRAMES[-1] else np.nan,
                    "frames": frames, "flops": size * frames, "parameters": size, "width": 8,
                    "seed": seed,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_a_power_law_is_found_again() -> None:
    size, data = (part.ravel() for part in np.meshgrid(SIZES, FRAMES))
    loss = np.array([law(*pair) for pair in zip(size, data, strict=True)])
    floor, a, alpha, b, beta = power_law.fit(size, data, loss)
    assert (floor, alpha, beta) == pytest.approx((2.0, 0.5, 0.5), abs=1e-3)
    middle = power_law.geometric_mean(size), power_law.geometric_mean(data)
    assert a + b + floor == pytest.approx(law(*middle), abs=1e-3)
    assert np.isnan(power_law.fit(size[:4], data[:4], loss[:4])).all()


def test_frames_to_a_loss_lie_between_the_steps_around_it() -> None:
    curve = np.array([4.0, 3.0, 2.0, 2.5])
    frames = np.array([100.0, 200.0, 400.0, 800.0])
    assert power_law.frames_to(3.0, frames, curve) == pytest.approx(200)
    assert 200 < power_law.frames_to(2.5, frames, curve) < 400
    assert np.isnan(power_law.frames_to(1.0, frames, curve))
    assert power_law.frames_to(5.0, frames, curve) == 100
    assert power_law.at_loss(2.5, curve, np.array([0.0, 0.2, 0.4, 0.6])) == pytest.approx(0.3)
    needed = np.array([1000.0, 1000 / 3.0])
    assert power_law.factor_per_ten(np.array([1e5, 1e6]), needed) == pytest.approx(3.0)


def test_the_scaling_table_holds_the_law_behind_the_rows() -> None:
    table = scaling.summarise(scaling_rows())
    fit = table[table["metric"] == "fit"].set_index("name")
    for name, value in (("L_inf", 2.0), ("alpha", 0.5), ("beta", 0.5)):
        assert fit.loc[name, "lower"] - 0.05 < value < fit.loc[name, "upper"] + 0.05
    needed = table[table["metric"] == "frames_to_loss"].sort_values("parameters")["estimate"]
    assert (np.diff(needed) < 0).all()
    factor = table[table["metric"] == "fewer_frames"].iloc[0]
    assert 1 < factor["lower"] <= factor["upper"]
    assert table.loc[table["metric"] == "annotator_loss", "estimate"].item() == pytest.approx(1.5)
    same = table[(table["metric"] == "accuracy_at_loss") & (table["name"] == "undo")]
    assert same["estimate"].max() - same["estimate"].min() < 0.05


def test_seeds_and_worlds_are_both_drawn() -> None:
    grid = list(product((0, 1), range(8)))
    rows = pd.DataFrame(grid, columns=["seed", "world"]).assign(n=1.0)
    same = rows.assign(hits=0.5)
    draws = draws_of(rows)
    assert score_of(draws.ratio(same, "hits", "n"), 16).upper == pytest.approx(0.5)
    apart = rows.assign(hits=rows["seed"].astype(float))
    score = score_of(draws.ratio(apart, "hits", "n"), 16)
    assert (score.estimate, score.lower, score.upper) == pytest.approx((0.5, 0, 1))


def score(rows: pd.DataFrame, metric: str) -> Score:
    made = {one["metric"]: one for one in loop_scores(rows, draws_of(rows))}[metric]
    return Score(*(made[name] for name in ("estimate", "lower", "upper", "n")))


def loops(success: float, **names: object) -> pd.DataFrame:
    worlds = range(10)
    done = [float(world < 10 * success) for world in worlds]
    rows = {"world": worlds, "success": done, "done": 1.0, "score": done, "steps": 9.0}
    return pd.DataFrame(rows).assign(task="shape_matching", **names)


def test_runs_that_share_worlds_count_them_once() -> None:
    """Three seeds that succeed in the same worlds know no more of worlds than one."""
    alike = pd.concat([loops(0.3, seed=seed) for seed in (0, 1, 2)])
    wide = {seeds: score(alike[alike["seed"] < seeds], "success") for seeds in (1, 3)}
    assert wide[3].lower == pytest.approx(wide[1].lower, abs=0.1)
    assert wide[3].upper == pytest.approx(wide[1].upper, abs=0.1)
    kind = wilson(9, 30)
    assert wide[3].upper - wide[3].lower > 1.3 * (kind.upper - kind.lower)


def test_a_share_of_all_or_none_counts_worlds() -> None:
    never = pd.concat([loops(0.0, seed=seed) for seed in (0, 1, 2)])
    assert score(never, "success").upper == pytest.approx(exact(0, 10)[1])
    assert score(never, "done").lower == pytest.approx(exact(10, 10)[0])


def test_transfer_success_is_a_share_of_seeds_and_worlds() -> None:
    parts = [loops(0.3, start="scratch", episodes=50, seed=seed) for seed in (0, 1, 2)]
    inside = {"metric": "auc", "site": "blocks.0.hook_resid_post", "when": "before"}
    scores = {"estimate": 0.7, "lower": 0.6, "upper": 0.8, "n": 40}
    table = transfer.summarise(pd.concat([*parts, pd.DataFrame([{**inside, **scores}])]))
    success = table[table["metric"] == "success"].iloc[0]
    assert (success["estimate"], success["n"]) == (pytest.approx(0.3), 30)
    assert 0.0 <= success["lower"] < 0.3 < success["upper"] <= 0.7
    assert table[table["metric"] == "auc"]["estimate"].tolist() == [0.7]


def test_layout_groups_follow_the_layout_known_first() -> None:
    assert layouts.group_of("original", "original") == "first"
    assert layouts.group_of("original", "retro") == "trained"
    assert layouts.group_of("retro_top", "original") == "held_out"


def test_a_group_of_layouts_is_the_mean_of_its_layouts() -> None:
    rows = [
        {"metric": "auc", "training": "none", "layout": layout, "home": "original", "seed": seed,
         "site": "s", "estimate": value + 0.1 * seed, "lower": value, "upper": 1.0, "n": 5}
        for layout, value in (("original", 0.8), ("retro", 0.6), ("split", 0.2))
        for seed in (0, 1)
    ]  # fmt: skip
    found = pd.DataFrame(layouts._aucs(layouts.grouped(pd.DataFrame(rows))))
    each = found[found["layout"].notna()].set_index("layout")["estimate"]
    assert each.to_dict() == pytest.approx({"original": 0.85, "retro": 0.65, "split": 0.25})
    groups = found[found["layout"].isna()].set_index("group")
    assert groups["estimate"].to_dict() == pytest.approx({"first": 0.85, "trained": 0.45})
    assert groups.loc["trained", ["lower", "upper", "n"]].tolist() == pytest.approx([0.4, 1.0, 20])


def test_what_a_direction_changes_is_added_less_subtracted() -> None:
    rows = [
        {"metric": "p_undo", "when": when, "site": "s", "direction": "mistake", "alpha": alpha,
         "side": "wrong", "estimate": 0.5 + factor * alpha, "n": 7}
        for when, factor in (("before", 0.1), ("after", -0.2))
        for alpha in (-1.0, 0.0, 1.0)
    ]  # fmt: skip
    found = pd.DataFrame(transfer._changes(pd.DataFrame(rows)))
    assert dict(zip(found["when"], found["estimate"], strict=True)) == pytest.approx(
        {"before": 0.2, "after": -0.4}
    )
    assert found["n"].tolist() == [7, 7]


def test_dagger_sorts_tasks_from_the_worst(tmp_path) -> None:
    order = {"b": 0.1, "a": 0.1, "c": 0.0}
    parts = [loops(value).assign(task=task, method=dagger.CHOICE) for task, value in order.items()]
    tested = loops(0.0).assign(task="a", method="none")
    pd.concat([*parts, tested]).to_parquet(tmp_path / "rows.parquet")
    assert dagger.worst_tasks(tmp_path) == ["c", "b", "a"]
