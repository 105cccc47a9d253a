"""What probes of a label found: one table of scores, and a direction with its card."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bcprobe.activations.labels import Latent
from bcprobe.bootstrap import Floats
from bcprobe.files import write_json
from bcprobe.palette import COLOURS
from bcprobe.probes.cards import ProbeCard, write_probe_card
from bcprobe.probes.directions import Direction
from bcprobe.results import Score, write_table
from bcprobe.types import ALL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Called with the table, the folder and the name to write a figure under.
Draw = Callable[[pd.DataFrame, Path, str], object]
#: Mean over the tasks, each counting the same.
MEAN = "mean"
#: How probes are fitted and tested.
WITHIN, POOLED, LEFT_OUT, MATRIX = "within", "pooled", "left_out", "matrix"
#: What a probe adds to baselines.
ADDED = "added"
#: Mistakes and Undos told apart: just after a mark, and at every step.
CROSSED, CROSSED_ALL = "crossed", "crossed_all"
COLUMNS = (
    "scheme", "kind", "negatives", "site", "token", "layer", "train_task", "test_task", "metric",
    "chance", "estimate", "lower", "upper", "n", "interval",
)  # fmt: skip
#: What an interval covers: worlds drawn anew (`WORLDS`), and the fit too (`REFIT`), and the choice
#: of the layer too (`MAX_T`); tasks drawn anew (`TASKS`); counts of worlds alone (`EXACT`).
#: `NONE` stands beside numbers without an interval, whose bounds repeat them.
WORLDS, REFIT, MAX_T, TASKS, EXACT = "worlds", "refit", "max_t", "tasks", "exact"
NONE = "none"
#: Beside intervals as wide as the scale: too few worlds stand behind the number to say more.
SCALE = "scale"
SCALES = {
    "auc": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "share": (0.0, 1.0),
    "cosine": (-1.0, 1.0),
}
#: Kinds that are probes of the trained model, or say how much they could show.
_NO_CONTROLS = ("probe", "mean_difference", "detectable")
_NUMBERS = ("estimate", "lower", "upper")


@dataclass(frozen=True)
class Best:
    """The site chosen on every second episode, and its score on the others.

    ``score`` is None where the episodes were too few to be halved; then all of them chose.
    """

    site: str
    layer: int
    negatives: str
    score: Score | None

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "site": self.site,
            "layer": self.layer,
            "negatives": self.negatives,
            "chosen_on": "all episodes" if self.score is None else "episodes 0, 2, 4...",
            "scored_on": None if self.score is None else "episodes 1, 3, 5...",
            "score": None if self.score is None else self.score.as_dict(),
        }


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """How well probes predict a label, in one task or in several, and what that is worth.

    ``scores`` is tidy (`COLUMNS`), one score a row. ``scheme`` says what the probe was fitted on
    and tested on: ``within`` a task, ``pooled`` over all tasks, ``left_out`` (fitted on all tasks
    but the one tested), ``matrix`` (fitted on one, tested on another), ``own`` (tested on episodes
    that the model worked); ``cosine`` compares directions, ``crossed`` and ``crossed_all`` tell
    mistakes from Undos (`bcprobe.probes.crossed`), ``added`` is what a probe adds to baselines, and
    ``roc`` the mean curve over tasks with its quartiles (false-positive rate in ``chance``,
    true-positive rate in ``estimate``).
    ``kind`` is ``probe``, or the control or baseline; those that read no site have an empty one.
    ``token``: ``cls``, or ``placed`` (the patch under the last placement). ``interval`` says what
    the 95 % interval covers.

    ``evaluated``: negatives -> how many steps and, for binary labels, how many ``positives``.
    ``fitted`` is the direction of the probe of all rows at the best site. ``skipped`` says of
    tasks why no probe could be fitted.
    """

    label: Latent
    checkpoint: str
    tasks: tuple[str, ...]
    episodes: int
    steps: int
    chance: float
    evaluated: dict[str, dict[str, int]]
    best: Best
    card: ProbeCard
    fitted: Direction = field(repr=False)
    scores: pd.DataFrame = field(repr=False)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Name of the score."""
        return self.label.metric

    @property
    def direction(self) -> Floats:
        """Unit direction [d] along which the label grows; [class, d] for labels of classes."""
        directions = self.fitted.directions
        return directions[0] if len(directions) == 1 else directions

    @property
    def score(self) -> Score:
        """The headline: the best site on the episodes that did not choose it."""
        return self.best.score or self._score_of_all()

    def _score_of_all(self) -> Score:
        scheme = WITHIN if len(self.tasks) == 1 else POOLED
        rows = self.table(
            scheme=scheme,
            kind="probe",
            site=self.best.site,
            token="cls",
            negatives=self.best.negatives,
        )
        row = rows[rows["test_task"] == (ALL if len(self.tasks) > 1 else self.tasks[0])].iloc[0]
        numbers = [float(row[name]) for name in _NUMBERS]
        return Score(numbers[0], numbers[1], numbers[2], int(row["n"]))

    def __repr__(self) -> str:
        where = self.tasks[0] if len(self.tasks) == 1 else f"{len(self.tasks)} tasks"
        return (
            f"<{self.label.name} probe of {self.checkpoint} on {where}: {self.metric} "
            f"{self.score} at {short_site(self.best.site)} ({self.best.negatives} negatives, "
            f"{self.episodes} episodes)>"
        )

    def table(self, **where: str) -> pd.DataFrame:
        """All scores (`COLUMNS`), or those whose columns have the values given."""
        rows = self.scores
        for name, value in where.items():
            rows = rows[rows[name] == value]
        return rows.reset_index(drop=True)

    def summary(self) -> pd.DataFrame:
        """A row per task, their mean and all rows together; a column of `Score` per scheme.

        At the best site with the leading negatives.
        """
        at = self.table(
            kind="probe", site=self.best.site, token="cls", negatives=self.best.negatives
        )
        at = at[at["scheme"].isin([WITHIN, POOLED, LEFT_OUT, "own"])]
        rows = []
        for name in dict.fromkeys([*self.tasks, MEAN, ALL]):
            own = at[at["test_task"] == name].itertuples()
            found = {r.scheme: Score(r.estimate, r.lower, r.upper, r.n) for r in own}
            rows += [{"task": name, **found}] if found else []
        return pd.DataFrame(rows)

    def controls(self, negatives: str | None = None) -> dict[str, Score]:
        """Controls and baselines of the probe of all rows at the best site, by name."""
        negatives = negatives or self.best.negatives
        at = self.table(negatives=negatives, scheme=self._scheme)
        at = at[~at["kind"].isin(_NO_CONTROLS) & at["site"].isin(["", self.best.site])]
        at = at[at["token"].isin(["", "cls"])]
        at = at[at["test_task"] == self._task]
        return {r.kind: Score(r.estimate, r.lower, r.upper, r.n) for r in at.itertuples()}

    def baselines(self) -> pd.DataFrame:
        """The probe beside its baselines, and what it adds to them: ``what`` and a score a row.

        Within tasks, at [cls] and the best site, against `errable` and `history_matched` negatives;
        the mean over tasks, where there are several. Empty for labels without baselines.
        """
        test = MEAN if len(self.tasks) > 1 else self.tasks[0]
        at = self.table(test_task=test)
        at = at[at["negatives"].isin(["errable", "history_matched"])]
        at = at[at["token"].isin(["", "cls"]) & at["site"].isin(["", self.best.site])]
        names = ["probe", "mean_difference", "click_history", "p_undo", "pixels_cnn"]
        own = at[(at["scheme"] == WITHIN) & at["kind"].isin(names)]
        if "click_history" not in set(own["kind"]):
            return at[:0].assign(what="")
        both = pd.concat([own, at[at["scheme"] == ADDED]])
        return both.assign(what=both["kind"].str.replace("_", " ")).reset_index(drop=True)

    @property
    def _scheme(self) -> str:
        return WITHIN if len(self.tasks) == 1 else POOLED

    @property
    def _task(self) -> str:
        return self.tasks[0] if len(self.tasks) == 1 else ALL

    def plot(self, draw: Callable[[pd.DataFrame], Figure] | None = None) -> Figure:
        """Figure of the table; ``draw(table)`` replaces the figure of `bcprobe.figures`."""
        return (draw or self._drawing())(self.table())

    def _drawing(self) -> Callable[[pd.DataFrame], Figure]:
        """Figures stand on this floor and are looked up only when one is asked for."""
        figures = import_module("bcprobe.figures.probing")
        if len(self.tasks) == 1:
            return figures.plot_layers
        return figures.plot_many_tasks if self.label.kind == "binary" else figures.plot_tasks

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        return to_html(self)

    def as_dict(self) -> dict[str, Any]:
        """JSON form; every score is ``{estimate, lower, upper, n}``, nan is None."""
        scores = self.scores[self.scores["scheme"] != "roc"]
        return {
            "label": self.label.name,
            "checkpoint": self.checkpoint,
            "tasks": list(self.tasks),
            "metric": self.metric,
            "chance": self.chance,
            "episodes": self.episodes,
            "steps": self.steps,
            "evaluated": self.evaluated,
            "score": self.score.as_dict(),
            "best": self.best.as_dict(),
            "controls": {name: found.as_dict() for name, found in self.controls().items()},
            "skipped": self.skipped,
            "card": self.card.as_dict(),
            "scores": [_plain(row) for row in scores.to_dict("records")],
        }

    def write(self, folder: Path | str, draw: Draw | None = None) -> Path:
        """Write the table, the JSON document and the card; ``draw(table, folder, name)`` too."""
        folder, name = Path(folder), f"{self.label.name}_probe"
        write_table(self.table(), folder / f"{name}.parquet")
        write_json(folder / f"{name}.json", self.as_dict())
        write_probe_card(folder, self.card, self.fitted.directions)
        if draw is not None:
            draw(self.table(), folder, name)
        return folder


def score_row(found: Score, **names: Any) -> dict[str, Any]:
    """A row of the table (`COLUMNS` but for ``layer``)."""
    return {"kind": "probe", "interval": WORLDS, **names, **found.__dict__}


def table_of(rows: Iterable[dict[str, Any]], layers: dict[str, int]) -> pd.DataFrame:
    """Rows as a tidy table (`COLUMNS`), without nan.

    What could not be estimated has no row; a bound that no resample gives is the end of the scale.
    """
    placed = []
    for row in map(_bounded, rows):
        if np.isnan(row["estimate"]):
            continue
        site, _, token = str(row["site"]).partition("@")
        token = token or ("cls" if site else "")
        placed.append({**row, "site": site, "token": token, "layer": layers.get(site)})
    return pd.DataFrame(placed, columns=list(COLUMNS)).astype({"layer": "Int64"})


def _bounded(row: dict[str, Any]) -> dict[str, Any]:
    if not np.isnan([row["lower"], row["upper"]]).any():
        return row
    if row["metric"] not in SCALES:
        return {**row, "lower": row["estimate"], "upper": row["estimate"], "interval": NONE}
    low, high = SCALES[row["metric"]]
    difference = row["metric"] == "auc" and row["chance"] == 0
    return {**row, "lower": -high if difference else low, "upper": high, "interval": SCALE}


def short_site(site: str) -> str:
    """Site as a table shows it: ``0.resid_pre`` for ``blocks.0.hook_resid_pre``."""
    return site.replace("blocks.", "").replace("hook_", "")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON: no nan, no missing value."""
    return {
        name: None if pd.isna(value) else value.item() if isinstance(value, np.generic) else value
        for name, value in row.items()
    }


#: Size of a drawn score, px.
WIDTH, HEIGHT = 200, 14
_LIGHT = COLOURS["sky"]
_STYLE = (
    ".bcprobe-probe{color:inherit}"
    f".bcprobe-probe .p{{stroke:{COLOURS['blue']};fill:{COLOURS['blue']}}}"
    f".bcprobe-probe .c{{stroke:{COLOURS['grey']};fill:{COLOURS['grey']}}}"
    ".bcprobe-probe .b{stroke:#999;stroke-dasharray:2}"
    f"@media(prefers-color-scheme:dark){{.bcprobe-probe .p{{stroke:{_LIGHT};fill:{_LIGHT}}}"
    ".bcprobe-probe .c{stroke:#aaa;fill:#aaa}}"
    f"[data-jp-theme-light=false] .bcprobe-probe .p{{stroke:{_LIGHT};fill:{_LIGHT}}}"
    "[data-jp-theme-light=false] .bcprobe-probe .c{stroke:#aaa;fill:#aaa}"
)


def to_html(result: ProbeResult) -> str:
    """What was predicted, where best, and the scores with their intervals drawn beside them.

    The layers and controls of one task; of several, a row for each task and scheme too. Text takes
    the page's colour; marks are legible on light and dark.
    """
    table = result.table()
    table = table[~table["scheme"].isin(["roc", "cosine", MATRIX]) & (table["metric"] != "p")]
    if len(result.tasks) > 1:
        table = table[table["site"].isin(["", result.best.site])]
        table = table[table["negatives"] == result.best.negatives]
    finite = table[list(_NUMBERS)].to_numpy(float)
    low, high = (float(f([f(finite), result.chance])) for f in (np.nanmin, np.nanmax))
    best = result.best
    held = "" if best.score is None else f", {best.score} on episodes held out from that choice"
    facts = f"{result.checkpoint}, {result.episodes} episodes, {result.steps:,} steps"
    title = f"<b>{result.label.name}</b> ({result.metric}) from {html.escape(facts)}"
    names = ("probe", "kind", "negatives", "site", f"{result.metric} [95 %]", "", "steps")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(_html_row(row, low, high, result.chance) for row in table.itertuples())
    note = f"best site: <code>{best.site}</code>{held}; the dashed line is chance"
    body = f"{title}<br>{note}<table><tr>{head}</tr>{rows}</table>"
    return f'<div class="bcprobe-probe"><style>{_STYLE}</style>{body}</div>'


def _html_row(row: Any, low: float, high: float, chance: float) -> str:
    score = f"{row.estimate:.3f} [{row.lower:.3f}, {row.upper:.3f}]"
    bar = _bar(row, low, high, chance)
    probe = f"{row.scheme.replace('_', ' ')}, {row.test_task}"
    cells = (probe, row.kind, row.negatives, short_site(row.site), score, bar, f"{row.n:,}")
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _bar(row: Any, low: float, high: float, chance: float) -> str:
    """The estimate as a dot on its interval, between ``low`` (left) and ``high``."""
    span = max(high - low, 1e-9)
    values = (row.lower, row.upper, row.estimate, chance)
    left, right, at, by = (4 + (WIDTH - 8) * (value - low) / span for value in values)
    name, y = ("p" if row.kind == "probe" else "c"), HEIGHT // 2
    shapes = [
        f'<line class="b" x1="{by:.1f}" x2="{by:.1f}" y1="0" y2="{HEIGHT}"/>',
        f'<circle class="{name}" cx="{at:.1f}" cy="{y}" r="3.5"/>',
    ]
    if row.lower == row.lower:  # a single episode has no interval
        line = f'<line class="{name}" x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}"'
        shapes.append(f'{line} stroke-width="2"/>')
    return f'<svg width="{WIDTH}" height="{HEIGHT}">{"".join(shapes)}</svg>'
