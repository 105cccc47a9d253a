"""The README of a checkpoint: what it saw, what it cost, how good it is, where it fails."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.evaluation.suite import Evaluation
from bcprobe.evaluation.summary import percent, tables
from bcprobe.files import atomic_file
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import find_checkpoint, list_steps, read_card

#: A file beside a checkpoint that tells how its run went.
TRAINING = "TRAINING.md"
#: Columns of the teacher-forced table: heading -> metric and kind of click.
TEACHER_FORCED = {
    "valid": ("validity", "all"),
    "buttons": ("accuracy", "buttons"),
    "placed within 5 px": ("accuracy", "place_right"),
    "class": ("accuracy", "classify_right"),
    "navigate": ("accuracy", "navigate"),
    "view": ("accuracy", "view"),
    "select": ("accuracy", "select"),
    "commit": ("accuracy", "commit"),
    "undo": ("accuracy", "undo"),
    "done": ("accuracy", "done"),
}
#: Columns of the closed-loop table: heading -> metric.
CLOSED_LOOP = {
    "ended": "done",
    "score": "score",
    "valid clicks": "valid",
    "mistakes corrected": "correction_rate",
}
#: Shares below these are named as failures.
EXPECTED = {
    "valid": 0.99,
    "buttons": 0.9,
    "placed within 5 px": 0.5,
    "class": 0.5,
    "undo": 0.8,
    "done": 0.9,
}
LEAST_SUCCESS = 0.5
VERDICTS = {
    "denoising": "errs less than its data only below T = 1, by leaving rare clicks out",
    "more": "errs more than its data at every temperature",
    "unclear": "is not shown to err less than its data",
}


def write_model_card(found: Evaluation) -> Path:
    """``README.md`` of the evaluated checkpoint's folder."""
    folder = find_checkpoint(found.checkpoint)
    parameters = sum(weights.numel() for weights in load_checkpoint(folder).parameters())
    card, steps = read_card(folder), list_steps(folder)
    described = (folder / TRAINING).is_file()
    text = model_card(folder.name, card, steps, parameters, found, described=described)
    with atomic_file(folder / "README.md") as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    return folder / "README.md"


def model_card(
    name: str,
    card: Mapping[str, Any],
    steps: Sequence[int],
    parameters: int,
    found: Evaluation,
    *,
    described: bool = False,
) -> str:
    """Text of a checkpoint's README, from its ``config.json`` and its evaluation.

    ``described``: how the run went stands in a file `TRAINING` beside it.
    """
    scores = found.table()
    model = scores[scores["policy"] == "model"]
    forced = model[model["section"] == "teacher_forced"]
    loops = model[model["section"] == "closed_loop"]
    worlds = found.settings["episodes"]
    return "\n".join(
        [
            f"# {name}\n",
            *_origin(card, steps, parameters, described),
            f"\n## How good it is, {worlds} unseen worlds a task\n",
            "Percent with 95 % intervals: bootstrap over episodes, Wilson for shares of worlds.",
            *_forced_table(forced),
            *_other_tables(scores),
            *_loop_table(loops),
            "\n## Known failures\n",
            *(list(_failures(found, forced, loops)) or ["No score is below its goal."]),
            "",
        ]
    )


def _origin(
    card: Mapping[str, Any], steps: Sequence[int], parameters: int, described: bool
) -> Iterator[str]:
    model, known = card["model"], card["metadata"]
    experiment = known["experiment"]
    data = experiment["data"]
    shape = f"{model['n_layers']} layers of width {model['d_model']}, {model['head']} head"
    yield (
        f"A ClickTransformer of {parameters / 1e6:.2f} M parameters ({shape}, "
        f"{model['context']} frames of context), weights in bf16.\n"
    )
    worlds = f"data seed {data['seed']}, {data['difficulty']} worlds"
    yield f"- experiment `{experiment['name']}`, {worlds}"
    yield f"- tasks: {', '.join(data['tasks'])}; layouts: {', '.join(data['layouts'])}"
    start = experiment.get("start_from")
    after = f", after those of `{start}`" if start else ""
    yield f"- frames learned from: {known['frames']:,} in {known['step']:,} steps{after}"
    taught = "distributions" if data.get("soft") else "clicks"
    weights = _weighted(experiment["action_weights"])
    optimizer = f"{experiment['optimizer']}, rate {experiment['lr']:g}"
    yield f"- taught the annotators' {taught}; {weights}; {optimizer}"
    how = f"; how it was run: `{TRAINING}`" if described else ""
    code = f"; code at commit `{known['commit']}`" if known.get("commit") else ""
    yield f"- time: {known['seconds'] / 3600:.2f} h{code}{how}"
    yield f"- saved steps (`NAME@FRAMES`): {', '.join(map(str, steps))}"
    yield "- the annotators' mistakes are in the data; no step of any test world was trained on"


def _weighted(weights: Sequence[Sequence[Any]]) -> str:
    heavy = ", ".join(f"{action} {weight:g} times" for action, weight in weights)
    return f"clicks count alike, but {heavy}" if heavy else "clicks count alike"


def _forced_table(forced: pd.DataFrame) -> Iterator[str]:
    """Kinds of click that occur nowhere have no column."""
    cells = {
        str(task): [_cell(rows, *names) for names in TEACHER_FORCED.values()]
        for task, rows in forced.groupby("task", sort=False)
    }
    if not cells:
        return
    seen = [any(row[i] != "-" for row in cells.values()) for i in range(len(TEACHER_FORCED))]
    heads = [head for head, kept in zip(TEACHER_FORCED, seen, strict=True) if kept]
    rows = [
        [task, *(cell for cell, kept in zip(row, seen, strict=True) if kept)]
        for task, row in cells.items()
    ]
    yield from _markdown("Teacher-forced: % right", ["task", *heads], rows)


def _other_tables(scores: pd.DataFrame) -> Iterator[str]:
    for title, columns, rows in tables(scores[scores["section"] != "teacher_forced"]):
        yield from _markdown(title, columns, rows)


def _loop_table(loops: pd.DataFrame) -> Iterator[str]:
    """How the model's own episodes at the lowest temperature went."""
    if loops.empty:
        return
    coldest = loops["temperature"].min()
    own = loops[loops["temperature"] == coldest].groupby("task", sort=False)
    rows = [
        [str(task), *(_cell(found, m, "") for m in CLOSED_LOOP.values()), _clicks(found)]
        for task, found in own
    ]
    columns = ["task", *CLOSED_LOOP, "clicks"]
    yield from _markdown(f"Closed loop at T={coldest:g}: %, and clicks an episode", columns, rows)


def _clicks(rows: pd.DataFrame) -> str:
    found = _score(rows, "steps", "")
    if math.isnan(found.lower):
        return f"{found.estimate:.0f}"
    return f"{found.estimate:.0f} {math.floor(found.lower)}-{math.ceil(found.upper)}"


def _markdown(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"\n### {title}\n"
    for line in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(line)} |"


def _failures(found: Evaluation, forced: pd.DataFrame, loops: pd.DataFrame) -> Iterator[str]:
    """A line for each task that has any."""
    verdicts = found.as_dict()["mistakes_than_data"]
    coldest = loops[loops["temperature"] == loops["temperature"].min()]
    for task in dict.fromkeys([*forced["task"], *loops["task"]]):
        said = [
            *_below(forced[forced["task"] == task]),
            *_closed_loop(coldest[coldest["task"] == task]),
            *([VERDICTS[verdicts[task]]] if verdicts.get(task) in VERDICTS else []),
        ]
        if said:
            yield f"- {task}: {'; '.join(said)}"


def _below(rows: pd.DataFrame) -> Iterator[str]:
    low = [
        f"{heading} {100 * score.estimate:.0f}"
        for heading, least in EXPECTED.items()
        if (score := _score(rows, *TEACHER_FORCED[heading])) is not None and score.estimate < least
    ]
    if low:
        yield f"teacher-forced % {', '.join(low)}"


def _closed_loop(rows: pd.DataFrame) -> Iterator[str]:
    success, done = _score(rows, "success", ""), _score(rows, "done", "")
    if success is not None and success.estimate < LEAST_SUCCESS:
        yield (
            f"in closed loop at T = {success.temperature:g} it succeeds in "
            f"{success.estimate:.0%} of the worlds and ends {done.estimate:.0%}"
        )


def _score(rows: pd.DataFrame, metric: str, kind: str) -> Any:
    chosen = rows[(rows["metric"] == metric) & (rows["kind"].fillna("") == kind)]
    return None if chosen.empty else next(chosen.itertuples())


def _cell(rows: pd.DataFrame, metric: str, kind: str) -> str:
    found = _score(rows, metric, kind)
    return "-" if found is None or math.isnan(found.estimate) else percent(found)
