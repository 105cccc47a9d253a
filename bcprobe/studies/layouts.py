"""Layouts: what a network that saw one layout does in the others, and after learning eight.

The checkpoint, which knows one layout, is fine-tuned on the eight training layouts and, as the
control for more training, on the one it knows; all are tested on all eleven.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.bootstrap import score_of
from bcprobe.errors import InputError
from bcprobe.gui.layouts import HELD_OUT_LAYOUTS, LAYOUTS, TRAINING_LAYOUTS
from bcprobe.model.registry import NINE_TASK_CHECKPOINT, find_checkpoint, read_card
from bcprobe.model.transformer import ClickTransformer
from bcprobe.studies.costs import RATES
from bcprobe.studies.directions import auc_rows, examples, fit
from bcprobe.studies.measure import (
    click_rows,
    config_of,
    draws_of,
    load,
    shape_of,
    trained,
    unseen,
)
from bcprobe.studies.study import Runs, Study, StudyRun
from bcprobe.training.config import Experiment
from bcprobe.training.shards import DataConfig

#: Frames of an episode, about.
EPISODE = 110
#: Clicks on buttons, by their action.
BUTTONS = ("navigate", "view", "select", "classify_right", "commit", "undo", "done")
COLUMNS = (
    "metric", "training", "layout", "group", "kind", "site", "estimate", "lower", "upper", "n",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """``frames`` of fine-tuning, ``episodes`` test worlds of each task in each layout, and those
    on which the mistake probe is ``fitted`` and tested. ``checkpoint`` knows one layout."""

    checkpoint: str = "dots-nano"
    tasks: tuple[str, ...] = ("colored_dot_tracking",)
    seeds: tuple[int, ...] = (0, 1, 2)
    layouts: tuple[str, ...] = tuple(LAYOUTS)
    frames: int = 1 << 15
    episodes: int = 12
    fitted: int = 12
    difficulty: str = "default"
    rows: int = 4
    row_length: int = 32
    rate: str = "cpu"


SETTINGS = {
    "tiny": Settings(
        seeds=(0,), layouts=("original", "left_panel", "light_split"), frames=64, episodes=2,
        fitted=2, difficulty="easy", rows=1, row_length=16,
    ),
    "cpu": Settings(),
    "gpu": Settings(
        NINE_TASK_CHECKPOINT,
        ("colored_dot_tracking", "neuron_tracking", "cell_lineage_tracking",
         "animal_limb_tracking", "3d_exploration_classification"),
        frames=1 << 17, episodes=20, fitted=20, rate="gpu", rows=16,
    ),
}  # fmt: skip


def runs(settings: Settings) -> Runs:
    """The checkpoint itself, and fine-tuned on one layout and on eight, once for each seed."""
    config, rate = shape_of(settings.checkpoint), RATES[settings.rate]
    named = asdict(settings)
    plain = {key: value for key, value in named.items() if key not in ("seeds", "rate", "frames")}
    plain |= {"model": config.as_dict(), "first": first_layout(settings.checkpoint)}
    looks = len(settings.layouts) * len(settings.tasks) * EPISODE
    looks *= settings.episodes + settings.fitted
    test = rate.inference(config, looks)
    start = StudyRun("as-it-is", {"training": "none", "seed": 0, **plain}, 0, rate.start + test)
    tuned = rate.training(config, settings.frames) + test
    runs = [
        StudyRun(
            f"{training}-seed-{seed}",
            {"training": training, "seed": seed, "frames": settings.frames, **plain},
            settings.frames,
            tuned,
        )
        for training in ("one", "eight")
        for seed in settings.seeds
    ]
    return start, *runs


def first_layout(checkpoint: str) -> str:
    """The one layout a checkpoint was trained on. Raises `InputError` if it saw several."""
    data = read_card(find_checkpoint(checkpoint))["metadata"].get("experiment", {}).get("data", {})
    seen = data.get("layouts", [])
    if len(seen) != 1:
        raise InputError(f"'{checkpoint}' was trained on {len(seen)} layouts; it must be one")
    return str(seen[0])


def experiment(parameters: Mapping[str, Any]) -> Experiment:
    """The fine-tuning of a run."""
    one = (parameters["first"],)
    return Experiment(
        name=f"layouts-{parameters['training']}",
        data=DataConfig(
            tuple(parameters["tasks"]),
            one if parameters["training"] == "one" else TRAINING_LAYOUTS,
            parameters["difficulty"],
            seed=1 + parameters["seed"],
            episodes=32,
        ),
        model=config_of(parameters),
        model_seed=parameters["seed"],
        frames=parameters["frames"],
        rows=parameters["rows"],
        row_length=parameters["row_length"],
        lr=7e-4,
        warmup=parameters["frames"] // 16,
        action_weights=(("undo", 6.0), ("done", 2.0)),
        first_save=parameters["frames"],
        validate_every=parameters["frames"],
        validation_episodes=1,
        start_from=parameters["checkpoint"],
    )


def work(parameters: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Rows of `click_rows` with ``layout``, and of the mistake probe (``metric`` is ``auc``)."""
    name: str | Path = parameters["checkpoint"]
    if parameters["training"] != "none":
        name = trained(experiment(parameters), folder / "run")
    model = load(name)
    shown = {"difficulty": parameters["difficulty"]}
    clicks = [
        click_rows(model, task, unseen(parameters["episodes"]), layout=layout, **shown).assign(
            layout=layout
        )
        for layout in parameters["layouts"]
        for task in parameters["tasks"]
    ]
    probes = pd.DataFrame(_probed(model, parameters))
    found = pd.concat([*clicks, probes], ignore_index=True)
    names = {"training": parameters["training"], "seed": parameters["seed"]}
    return found.assign(home=parameters["first"], **names)


def _probed(model: ClickTransformer, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The mistake direction of the first layout, read in other worlds of every layout."""
    shown = {"difficulty": parameters["difficulty"]}
    own, count = parameters["first"], parameters["fitted"]
    worlds, others = unseen(count), unseen(count, first=count)
    for task in parameters["tasks"]:
        at_home = examples(model, task, worlds, layout=own, **shown)
        if at_home is None:
            continue
        fitted = fit([at_home])
        for layout in parameters["layouts"]:
            tested = examples(model, task, others, layout=layout, **shown)
            yield from auc_rows(fitted, tested, task=task, layout=layout)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each number; ``metric`` says which.

    ``accuracy`` by ``training`` (``none``, ``one`` more, ``eight``), ``layout`` and ``kind`` of
    click, and over each ``group`` of layouts (``first``, ``trained``: the other seven,
    ``held_out``); ``auc`` of the mistake direction of the first layout, at each ``site``, the mean
    over seeds and tasks, of each layout and over each group.
    """
    rows = grouped(rows)
    probed = "metric" in rows
    clicks = _kinds(rows[rows["metric"].isna()] if probed else rows)
    made: list[dict[str, Any]] = []
    for by in (["layout", "group"], ["group"]):
        for names, own in clicks.groupby(["training", *by, "kind"], sort=False):
            values = draws_of(own).ratio(own, "hits", "n")
            named = dict(zip(("training", *by, "kind"), names, strict=True))
            found = score_of(values, int(own["n"].sum()), own["world"].nunique())
            made.append(found.row(metric="accuracy", **named))
    if probed:
        made += _aucs(rows[rows["metric"] == "auc"])
    return pd.DataFrame(made, columns=list(COLUMNS))


def grouped(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the ``group`` of their layout."""
    pairs = zip(rows["layout"], rows["home"], strict=True)
    return rows.assign(group=[group_of(layout, home) for layout, home in pairs])


def group_of(layout: str, first: str) -> str:
    """What a layout is to a network that knew the ``first`` one."""
    if layout == first:
        return "first"
    return "held_out" if layout in HELD_OUT_LAYOUTS else "trained"


def _kinds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with those of all buttons together, and worlds named by task."""
    buttons = rows[rows["kind"].isin(BUTTONS)].assign(kind="buttons")
    both = pd.concat([rows, buttons], ignore_index=True)
    return both.assign(world=both["task"] + " " + both["world"].astype(int).astype(str))


def _aucs(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Means over seeds and tasks of each layout, and over the layouts of each group.

    Their intervals are means of intervals, too wide if anything.
    """
    each = list(_means(rows, ["training", "layout", "group", "site"]))
    yield from each
    yield from _means(pd.DataFrame(each), ["training", "group", "site"])


def _means(rows: pd.DataFrame, by: list[str]) -> Iterator[dict[str, Any]]:
    for names, own in rows.groupby(by, sort=False):
        ends = own[["estimate", "lower", "upper"]].mean()
        named = dict(zip(by, names, strict=True))
        yield {**named, "metric": "auc", **ends, "n": int(own["n"].sum())}


STUDY = Study("layouts", SETTINGS, runs, work, summarise)
