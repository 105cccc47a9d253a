"""How a model shows itself: what it is, what it has seen, the shapes of its weights."""

from __future__ import annotations

import html
import re
from typing import Any

from bcprobe.model.registry import STEPS, tasks_in


def name_of(model: Any) -> str:
    """Name of the checkpoint a model was loaded from (``NAME@FRAMES`` of a saved step), or none."""
    folder = getattr(model, "folder", None)
    if folder is None:
        return ""
    at_step = folder.parent.name == STEPS
    return f"{folder.parent.parent.name}@{folder.name}" if at_step else str(folder.name)


def facts(model: Any) -> dict[str, str]:
    """What is known of a model, in words, by name."""
    config = model.config
    known: dict[str, Any] = getattr(model, "metadata", {})
    experiment, frames = known.get("experiment"), known.get("frames")
    size = sum(parameter.numel() for parameter in model.parameters())
    columns, rows = config.grid
    shape = f"{config.n_layers} layers, {config.n_heads} heads, width {config.d_model}"
    tokens = f"{config.tokens_per_frame} a frame: {columns} x {rows} patches, previous click"
    others = {
        "experiment": str(experiment.get("name", "")) if isinstance(experiment, dict) else "",
        "tasks": ", ".join(tasks_in(known)),
        "frames seen": f"{frames:,}" if isinstance(frames, int) else "",
        "parameters": f"{size:,}",
        "network": f"{shape}, {config.head} head, {config.encoder} encoder",
        "tokens": f"{tokens}, {config.n_registers} registers, [cls]",
        "context": f"{config.context} frames",
    }
    return {name: value for name, value in others.items() if value}


def one_line(model: Any) -> str:
    """Name, shape and size of a model, in one short line."""
    size = sum(parameter.numel() for parameter in model.parameters())
    config, name = model.config, name_of(model)
    shape = f"{config.n_layers} layers, {config.n_heads} heads, width {config.d_model}"
    called = f" '{name}'" if name else ""
    return f"ClickTransformer{called}: {shape}, {config.head} head, {size:,} parameters"


def shapes(model: Any) -> list[tuple[str, str, int]]:
    """Name, shape and parameters of every weight; those that all layers have stand once."""
    last = model.config.n_layers - 1
    found: dict[tuple[str, str], int] = {}
    for name, parameter in model.named_parameters():
        name = re.sub(r"^blocks\.\d+", f"blocks.0-{last}" if last else "blocks.0", name)
        key = name, " x ".join(map(str, parameter.shape))
        found[key] = found.get(key, 0) + parameter.numel()
    return [(name, shape, count) for (name, shape), count in found.items()]


def to_html(model: Any) -> str:
    """The facts, and the shapes folded away beneath them."""
    title = html.escape(name_of(model) or "ClickTransformer, not loaded from a checkpoint")
    lines = [f"<tr><th>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in facts(model).items()]
    rows = [
        f"<tr><td>{name}</td><td>{shape}</td><td>{count:,}</td></tr>"
        for name, shape, count in shapes(model)
    ]
    head = "<tr><th>weight</th><th>shape</th><th>parameters in all</th></tr>"
    folded = f"<details><summary>shapes</summary><table>{head}{''.join(rows)}</table></details>"
    return f"<b>{title}</b><table>{''.join(lines)}</table>{folded}"
