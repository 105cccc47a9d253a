"""What a person reads of probes, swaps and directions: few rows, their meaning, a conclusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from bcprobe.cli.console import number, print_table

if TYPE_CHECKING:
    import pandas as pd

    from bcprobe.probes.result import ProbeResult

#: What a probe's score is held against: as hard a question, without the trained network's inside.
BASELINES = ("untrained", "pixels", "pixels_cnn", "previous_action", "click_history", "p_undo")
#: What a one-task table has beside the probe of each layer, unless all is asked for.
BESIDE = (*BASELINES, "added_to_p_undo", "selectivity")
#: Token groups so large that to swap them says little of where.
LARGE = ("all", "patches", "others")
#: Kinds of directions that only say what chance does.
CONTROLS = "random|placebo|arbitrary"
ALL_ROWS = "--details: all rows"


def print_probe(found: ProbeResult, checkpoint: str, episodes: int, *, details: bool) -> None:
    """Scores with their controls; what was skipped is named below."""
    best = found.best
    where = f"{found.label.name} ({found.metric}, {best.negatives} negatives)"
    if len(found.tasks) > 1:
        where = f"{where} at {short(best.site)}"
    title = f"{where}, {checkpoint}, {episodes} episodes of each task"
    if details:
        _print_all(found, title)
    elif len(found.tasks) > 1:
        _print_tasks(found, title)
    else:
        _print_layers(found, title)
    for name, reason in found.skipped.items():
        typer.echo(f"{name} is skipped: {reason}")


def conclusion(found: ProbeResult) -> str:
    """The best layer with its score, and the highest baseline beside it, in one line."""
    best = found.best
    line = f"best: after layer {best.layer}, {best.negatives} negatives"
    if best.score is not None:
        line = f"{line}, {found.metric} {best.score} on episodes that did not choose it"
    known = {name: one for name, one in found.controls().items() if name in BASELINES}
    beside = found.baselines()
    alike = beside[beside["negatives"] == "errable"] if len(beside) else beside
    found_by = {row.kind: row.estimate for row in alike.itertuples()}
    if "probe" in found_by:  # compared with the probe on the same steps
        rest = {name: value for name, value in found_by.items() if name in BASELINES}
        highest = max(rest, key=rest.__getitem__, default="")
        shown = f", highest baseline {highest} {rest[highest]:.3f}" if rest else ""
        return f"{line}; errable negatives: probe {found_by['probe']:.3f}{shown}"
    if not known:
        return line
    highest = max(known, key=lambda name: known[name].estimate)
    return f"{line}; highest baseline: {highest} {known[highest].estimate:.3f}"


def _print_all(found: ProbeResult, title: str) -> None:
    """Every row of the result but the points of its curves."""
    table = found.table()
    table = table[table["scheme"] != "roc"]
    names = ["kind", "scheme", "test_task", "negatives", "site", "token", "metric"]
    names = [name for name in names if name == "kind" or _varies(table[name])]
    rows = [
        [*(short(str(getattr(row, name))) for name in names), number(row), row.n]
        for row in table.itertuples()
    ]
    columns = [name.replace("test_task", "task").replace("kind", "probe") for name in names]
    print_table([*columns, "score [95 %]", "n"], rows, title)


def _print_layers(found: ProbeResult, title: str) -> None:
    """The probe at each layer, then what it is held against."""
    table, best, score = found.table(), found.best, f"{found.metric} [95 %]"
    table = table[table["token"].isin(["", "cls"]) & (table["negatives"] == best.negatives)]
    probes = table[table["kind"] == "probe"].sort_values("layer")
    beside = table[table["kind"].isin(BESIDE) & table["site"].isin(["", best.site])]
    rows = [
        [row.kind, row.layer if row.site else "", number(row), row.n]
        for part in (probes, beside)
        for row in part[part["scheme"].isin(["within", "added"])].itertuples()
    ]
    print_table(["probe", "layer", score, "n"], rows, title)
    typer.echo(
        "layer: [cls] after so many blocks (none: sees no inside of the model); n: steps. "
        f"{ALL_ROWS}"
    )


def _print_tasks(found: ProbeResult, title: str) -> None:
    """A row per task with a column per scheme, then the controls of the pooled probe."""
    summary = found.summary()
    schemes = [name for name in summary.columns if name != "task"]
    rows = [
        [row["task"], *("" if row[name] != row[name] else number(row[name]) for name in schemes)]
        for _, row in summary.iterrows()
    ]
    print_table(["task", *(name.replace("_", " ") for name in schemes)], rows, title)
    typer.echo(
        "within: fitted and tested on one task; pooled: fitted on all; left out: fitted on the "
        f"other tasks. {ALL_ROWS}"
    )
    controls = [[name, number(score), score.n] for name, score in found.controls().items()]
    print_table(["control of the pooled probe", found.metric, "n"], controls)
    added = found.baselines()
    if len(added):
        shown = [[row.what, row.negatives, number(row), row.n] for row in added.itertuples()]
        print_table(["mean over tasks, within", "negatives", found.metric, "n"], shown)


def short(site: str) -> str:
    """Site as a table shows it: ``0.resid_pre`` for ``blocks.0.hook_resid_pre``."""
    return site.replace("blocks.", "").replace("hook_", "")


def print_patching(table: pd.DataFrame, title: str, *, details: bool) -> None:
    """The map of the first component, wrong side edited; with ``details`` all, with intervals."""
    effects = table[table["metric"] == "effect"]
    if not details:
        effects = _few(effects)
    if not len(effects):
        return
    for (name, start, later), part in effects.groupby(["component", "start", "later"], sort=False):
        layers = sorted(part["layer"].unique())
        keys = [key for key in ("tokens", "head", "lag") if key == "tokens" or _varies(part[key])]
        rows = []
        for key, own in part.groupby(keys, sort=False):
            cell = dict(zip(keys, key, strict=True))
            by_layer = {
                row.layer: number(row) if details else f"{round(row.estimate, 2) + 0.0:.2f}"
                for row in own.itertuples()
            }
            rows.append([_cell_name(cell), *(by_layer.get(one, "") for one in layers)])
        where = f"{name}, {start} side edited" + (f", asked at frame {later}" if later else "")
        print_table(
            ["tokens", *("all" if one < 0 else f"{one:.0f}" for one in layers)],
            rows,
            f"{title}: {where}",
        )
    typer.echo(
        "columns: layer whose activations are taken from the other side; 0: nothing changes, 1: "
        "the answer becomes the other side's" + ("" if details else f". {ALL_ROWS}, with intervals")
    )


def _few(effects: pd.DataFrame) -> pd.DataFrame:
    """One component, the wrong side, the last answer."""
    if not len(effects):
        return effects
    for name, wanted in (("component", None), ("start", "wrong"), ("later", None)):
        values = effects[name]
        chosen = values.max() if name == "later" else values.iloc[0]
        effects = effects[values == (wanted if wanted in set(values) else chosen)]
    return effects


def _varies(column: pd.Series) -> bool:
    return bool(column.nunique() > 1)


def _cell_name(cell: dict[str, Any]) -> str:
    head = f", head {cell['head']:.0f}" if "head" in cell else ""
    frame = f", frame {cell['lag']}" if "lag" in cell else ""
    return f"{cell['tokens']}{head}{frame}"


def strongest_cell(table: pd.DataFrame) -> str:
    """The small token group whose swap does most, of the rows shown without ``details``."""
    effects = _few(table[table["metric"] == "effect"])
    small = effects[~effects["tokens"].isin(LARGE)]
    effects = small if len(small) else effects
    if not len(effects):
        return "no effect is told: the two sides do not differ in what the model answers"
    row: Any = effects.loc[effects["estimate"].idxmax()]
    where = f"{row['component']} at {row['tokens']}, {_layer(row['layer'])}"
    head = "" if row["head"] != row["head"] else f", head {row['head']:.0f}"
    lag = f", frame {row['lag']}" if _varies(effects["lag"]) else ""
    return (
        f"strongest of the small groups: {where}{head}{lag}, {row['start']} side edited: "
        f"effect {_with_interval(row)}, {row['n']} pair{'s' if row['n'] > 1 else ''}"
    )


def print_steering(directions: pd.DataFrame, checkpoint: str, *, details: bool) -> None:
    """Effects at a coefficient of 1 on the wrong side, of several tasks the strongest of each.

    With ``details`` all directions, their controls among them, on both sides.
    """
    own = _at_one(directions)
    if not details:
        own = _of_interest(own)
    if not details and own["task"].nunique() > 1:
        rows = [
            [row.task, f"{row.tokens}, {_layer(row.layer)}", *_direction_row(row)]
            for row in map(_strongest, (part for _, part in own.groupby("task", sort=False)))
        ]
        columns = ["task", "site", "direction", "effect", "% norm", "% cov"]
        print_table(columns, rows, f"{checkpoint}: the strongest of each task")
    else:
        for (task, tokens, layer), part in own.groupby(["task", "tokens", "layer"], sort=False):
            sides = [[row.start] if details else [] for row in part.itertuples()]
            rows = [
                [name, *side, *numbers]
                for side, (name, *numbers) in zip(
                    sides, map(_direction_row, part.itertuples()), strict=True
                )
            ]
            columns = ["direction", *(["side"] if details else []), "effect", "% norm", "% cov"]
            print_table(columns, rows, f"{checkpoint}, {task}: {tokens}, {_layer(layer)}")
    typer.echo(
        "effect: 1 makes the answer that of the other side; % norm, % cov: percentile among random "
        "directions of equal norm, of equal covariance"
        + ("" if details else f". {ALL_ROWS}, both sides edited")
    )


def strongest_direction(directions: pd.DataFrame) -> str:
    """The direction that moves the wrong side's answer furthest towards the right one's."""
    own = _of_interest(_at_one(directions))
    if not len(own):
        return "no effect is told: the two sides do not differ in what the model answers"
    row = _strongest(own)
    beside = _percent(row.percentile_norm)
    percentile = f", percentile {beside} of random directions of equal norm" if beside else ""
    return (
        f"strongest: {_direction_row(row)[0]} at {row.tokens}, {_layer(row.layer)}, {row.task}: "
        f"effect {_with_interval(row)}{percentile}"
    )


def _at_one(directions: pd.DataFrame) -> pd.DataFrame:
    return directions[(directions["metric"] == "effect") & (directions["coefficient"] == 1)]


def _of_interest(own: pd.DataFrame) -> pd.DataFrame:
    """Directions added, and those searched for, which are swapped; the wrong side, no control."""
    searched = own["kind"].str.startswith("das") | (own["operation"] == "add")
    return own[(own["start"] == "wrong") & searched & ~own["kind"].str.contains(CONTROLS)]


def _strongest(own: pd.DataFrame) -> Any:
    return own.loc[own["estimate"].idxmax()]


def _direction_row(row: Any) -> list[str]:
    """Name, effect, percentiles."""
    name = f"{row.operation} {row.kind} {row.source}"
    return [
        name, number(row), _percent(row.percentile_norm), _percent(row.percentile_covariance)
    ]  # fmt: skip


def _layer(layer: float) -> str:
    return "all layers" if layer < 0 else f"layer {layer:.0f}"


def _with_interval(row: Any) -> str:
    if row["lower"] != row["lower"]:
        return f"{row['estimate']:.3f} (no interval: a single pair)"
    return f"{row['estimate']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]"


def _percent(value: float) -> str:
    return "" if value != value else f"{value:.0f}"
