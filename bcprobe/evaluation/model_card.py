"""The README of a checkpoint: what it saw, what it cost, how good it is, where it fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bcprobe.evaluation.suite import Evaluation
from bcprobe.files import atomic_file
from bcprobe.model.registry import find_checkpoint, list_steps, read_card

#: Columns of the card's tables: heading -> where the score stands.
TEACHER_FORCED = {
    "valid": ("validity", "all"),
    "buttons": ("accuracy", "buttons"),
    "placed within 5 px": ("accuracy", "place_right"),
    "class": ("accuracy", "classify_right"),
    "undo": ("accuracy", "undo"),
    "done": ("accuracy", "done"),
}
CLOSED_LOOP = ("done", "success", "score", "steps", "mistake_rate", "correction_rate")
#: Scores below these are named as failures.
EXPECTED = {"valid": 0.99, "buttons": 0.9, "placed within 5 px": 0.5, "undo": 0.8, "done": 0.9}
LEAST_SUCCESS = 0.5


def write_model_card(found: Evaluation) -> Path:
    """``README.md`` of the evaluated checkpoint's folder."""
    folder = find_checkpoint(found.checkpoint)
    text = model_card(folder.name, read_card(folder), list_steps(folder), found)
    with atomic_file(folder / "README.md") as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    return folder / "README.md"


def model_card(name: str, card: Mapping[str, Any], steps: list[int], found: Evaluation) -> str:
    """Text of a checkpoint's README, from its ``config.json`` and its evaluation."""
    scores = found.table()
    forced = scores[(scores["section"] == "teacher_forced") & (scores["policy"] == "model")]
    loops = scores[(scores["section"] == "closed_loop") & (scores["policy"] == "model")]
    return "\n".join(
        [
            f"# {name}\n",
            *_origin(card, steps),
            f"\n## Teacher-forced, {found.settings['episodes']} unseen worlds a task\n",
            *_forced_table(forced),
            *_loop_table(loops, found.settings["episodes"]),
            "\n## Known failures\n",
            *(list(_failures(forced, loops)) or ["None of the numbers above is below its goal."]),
            "",
        ]
    )


def _origin(card: Mapping[str, Any], steps: list[int]) -> Iterator[str]:
    model, known = card["model"], card["metadata"]
    plan = known["experiment"]
    data = plan["data"]
    shape = f"{model['n_layers']} layers of width {model['d_model']}, {model['head']} head"
    yield f"A ClickTransformer ({shape}, {model['context']} frames of context), weights in bf16.\n"
    seed, hard = data["seed"], data["difficulty"]
    yield f"- experiment `{plan['name']}`, data seed {seed}, difficulty {hard}"
    yield f"- tasks: {', '.join(data['tasks'])}; layouts: {', '.join(data['layouts'])}"
    yield f"- frames learned from: {known['frames']:,} in {known['step']:,} steps"
    code = f"; code at commit `{known['commit']}`" if known.get("commit") else ""
    yield f"- time: {known['seconds'] / 3600:.2f} h{code}"
    yield f"- saved steps (`NAME@FRAMES`): {', '.join(map(str, steps))}"
    yield "- the annotators' mistakes are in the data; no step of any test world was trained on"


def _forced_table(forced: pd.DataFrame) -> Iterator[str]:
    yield f"| task | {' | '.join(TEACHER_FORCED)} |"
    yield "|---" * (len(TEACHER_FORCED) + 1) + "|"
    for task, rows in forced.groupby("task", sort=False):
        found = [_cell(rows, metric, kind) for metric, kind in TEACHER_FORCED.values()]
        yield f"| {task} | {' | '.join(found)} |"


def _loop_table(loops: pd.DataFrame, worlds: int) -> Iterator[str]:
    if loops.empty:
        return
    yield f"\n## Closed loop, {worlds} unseen worlds a task\n"
    yield f"| task | T | {' | '.join(CLOSED_LOOP)} |"
    yield "|---" * (len(CLOSED_LOOP) + 2) + "|"
    for (task, temperature), rows in loops.groupby(["task", "temperature"], sort=False):
        found = [_cell(rows, metric, "") for metric in CLOSED_LOOP]
        yield f"| {task} | {temperature:g} | {' | '.join(found)} |"


def _failures(forced: pd.DataFrame, loops: pd.DataFrame) -> Iterator[str]:
    for task, rows in forced.groupby("task", sort=False):
        for heading, least in EXPECTED.items():
            chosen = _score(rows, *TEACHER_FORCED[heading])
            if chosen is not None and chosen.estimate < least:
                yield f"- {task}: {heading} {chosen.estimate:.3f}, below {least}"
    greedy = loops[loops["temperature"] == loops["temperature"].min()]
    for task, rows in greedy.groupby("task", sort=False):
        chosen = _score(rows, "success", "")
        if chosen is not None and chosen.estimate < LEAST_SUCCESS:
            yield f"- {task}: alone it succeeds in {chosen.estimate:.0%} of the worlds"


def _score(rows: pd.DataFrame, metric: str, kind: str) -> Any:
    chosen = rows[(rows["metric"] == metric) & (rows["kind"].fillna("") == kind)]
    return None if chosen.empty else next(chosen.itertuples())


def _cell(rows: pd.DataFrame, metric: str, kind: str) -> str:
    found = _score(rows, metric, kind)
    if found is None:
        return "-"
    return f"{found.estimate:.3f} [{found.lower:.3f}, {found.upper:.3f}]"
