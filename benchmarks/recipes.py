"""Recipes of training compared after equal frames, from the validation tables of their runs.

Runs compared were validated on the same unseen worlds (their number of clicks is checked).
Intervals are Wilson's over clicks: too narrow, as clicks of a world go together. A run is a
checkpoint's name or the folder of a run, finished or not, as `bcprobe train` makes it.

    bcprobe train --experiment nine-nano-coarse --frames 32768 --out runs/recipe-nine-nano-coarse
    bcprobe train --experiment nine-nano-adamw --frames 32768 --out runs/recipe-nine-nano-adamw
    python benchmarks/recipes.py --runs runs/recipe-nine-nano-coarse runs/recipe-nine-nano-adamw
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from report import add_outputs, give

from bcprobe.bootstrap import wilson
from bcprobe.errors import InputError
from bcprobe.model.registry import find_checkpoint
from bcprobe.results import read_table

#: Shares compared: column of the validation table, column of its clicks, name shown.
SHARES = (
    ("accuracy_navigate", "n_navigate", "navigation"),
    ("accuracy_place", "n_place", "placements"),
    ("accuracy_undo", "n_undo", "undo"),
)
#: What stands above the tables.
NOTE = (
    "Unseen worlds, after equal frames; one run each, each by `bcprobe train --experiment NAME`. "
    "What an experiment changes is in `bcprobe/experiments.py`."
)


def compare(names: list[str]) -> pd.DataFrame:
    """A row for each power of two of frames at which all runs were validated, and each run.

    And for the last number of frames that they share.
    """
    folders = [Path(name) if Path(name).is_dir() else find_checkpoint(name) for name in names]
    tables = [read_table(folder / "validation.parquet") for folder in folders]
    clicks = {tuple(table.iloc[-1][["n_place", "n_undo", "n_navigate"]]) for table in tables}
    if len(clicks) > 1:
        raise InputError("the runs were validated on different worlds")
    shared = set.intersection(*(set(table["frames"].astype(int)) for table in tables))
    shared = {frames for frames in shared if frames == max(shared) or frames & (frames - 1) == 0}
    parts = [table[table["frames"].isin(shared)] for table in tables]
    parts = [part.assign(run=name) for name, part in zip(names, parts, strict=True)]
    found = pd.concat(parts).sort_values(["frames", "run"], kind="stable")
    return found[["frames", "run", "loss", *(c for one in SHARES for c in one[:2])]]


def markdown(found: pd.DataFrame) -> str:
    lines = ["| frames | run | loss, nats | " + " | ".join(s[2] for s in SHARES) + " |"]
    lines.append("|---|---|---|" + "---|" * len(SHARES))
    for row in found.to_dict("records"):
        shares = []
        for share, count, _ in SHARES:
            n = int(row[count])
            score = wilson(round(row[share] * n), n)
            ends = f"[{100 * score.lower:.1f}, {100 * score.upper:.1f}]"
            shares.append(f"{100 * score.estimate:.1f} {ends} %")
        lines.append(
            f"| {row['frames']:,} | {row['run']} | {row['loss']:.3f} | {' | '.join(shares)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", nargs="+", action="append", required=True)
    add_outputs(parser)
    options = parser.parse_args()
    found = {" ".join(names): compare(names) for names in options.runs}
    command = "python benchmarks/recipes.py" + "".join(f" --runs {names}" for names in found)
    tables = "\n\n".join(f"## {names}\n\n{markdown(table)}" for names, table in found.items())
    text = f"# Recipes of training\n\n`{command}`\n\n{NOTE}\n\n{tables}\n"
    give({names: table.to_dict("records") for names, table in found.items()}, text, options)


if __name__ == "__main__":
    main()
