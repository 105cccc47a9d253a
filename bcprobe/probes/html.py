"""A probe's result on one sheet: every score with its interval, drawn beside it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from bcprobe.palette import COLOURS

if TYPE_CHECKING:
    from bcprobe.probes.result import ProbeResult

WIDTH, HEIGHT = 200, 14


def to_html(result: ProbeResult) -> str:
    """What was read, where best, and a table of all scores; blue marks the probe itself."""
    table = result.table()
    low = float(min(table["lower"].min(), table["estimate"].min(), result.chance))
    high = float(max(table["upper"].max(), table["estimate"].max(), result.chance))
    best = result.best
    held = "" if best.score is None else f", {best.score} on episodes held out from that choice"
    facts = f"{result.checkpoint}, {result.episodes} episodes, {result.steps:,} steps"
    title = f"<b>{result.latent.name}</b> ({result.metric}) from {html.escape(facts)}"
    names = ("kind", "negatives", "site", f"{result.metric} [95 %]", "", "steps")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(_row(row, low, high, result.chance) for row in table.itertuples())
    note = f"best site: <code>{best.site}</code>{held}; the dashed line is chance"
    return f"{title}<br>{note}<table><tr>{head}</tr>{rows}</table>"


def _row(row: Any, low: float, high: float, chance: float) -> str:
    score = f"{row.estimate:.3f} [{row.lower:.3f}, {row.upper:.3f}]"
    cells = (row.kind, row.negatives, row.site, score, _bar(row, low, high, chance), f"{row.n:,}")
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _bar(row: Any, low: float, high: float, chance: float) -> str:
    """The estimate as a dot on its interval, between ``low`` (left) and ``high``."""
    span = max(high - low, 1e-9)
    values = (row.lower, row.upper, row.estimate, chance)
    left, right, at, by = (4 + (WIDTH - 8) * (value - low) / span for value in values)
    colour, y = COLOURS["blue" if row.kind == "probe" else "grey"], HEIGHT // 2
    shapes = [
        f'<line x1="{by:.1f}" x2="{by:.1f}" y1="0" y2="{HEIGHT}" stroke="#999" '
        'stroke-dasharray="2"/>',
        f'<circle cx="{at:.1f}" cy="{y}" r="3.5" fill="{colour}"/>',
    ]
    if row.lower == row.lower:  # a single episode has no interval
        line = f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}"'
        shapes.append(f'{line} stroke="{colour}" stroke-width="2"/>')
    return f'<svg width="{WIDTH}" height="{HEIGHT}">{"".join(shapes)}</svg>'
