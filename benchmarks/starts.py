"""What a run learned after equal frames, by where its weights began: from validation tables.

Both runs were validated on the same unseen worlds (their number of clicks is checked). Intervals
are Wilson's over clicks, which is too narrow where clicks of a world go together.

    python benchmarks/starts.py --out benchmarks/starts.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from bcprobe.errors import InputError
from bcprobe.files import atomic_file
from bcprobe.model.registry import find_checkpoint
from bcprobe.results import read_table, wilson

#: Shares compared: column of the validation table, column of its clicks, name shown.
SHARES = (("accuracy_place", "n_place", "placements"), ("accuracy_undo", "n_undo", "undo"))


def compare(names: list[str]) -> pd.DataFrame:
    """A row for each number of frames at which all runs were validated, and each run."""
    tables = [read_table(find_checkpoint(name) / "validation.parquet") for name in names]
    clicks = {tuple(table.iloc[-1][["n_place", "n_undo", "n_navigate"]]) for table in tables}
    if len(clicks) > 1:
        raise InputError("the runs were validated on different worlds")
    shared = set.intersection(*(set(table["frames"]) for table in tables))
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
    parser.add_argument("--runs", nargs="+", default=["nine-nano", "nine-nano-from-dots"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    found = compare(options.runs)
    if options.json:
        print(json.dumps(found.to_dict("records")))
        return
    command = f"python benchmarks/starts.py --runs {' '.join(options.runs)}"
    text = (
        f"# Where weights begin\n\n`{command}`\n\nNine tasks, unseen worlds, after equal frames of "
        f"the nine; what the start had seen before is not counted.\n\n{markdown(found)}\n"
    )
    print(text)
    if options.out:
        with atomic_file(options.out) as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    main()
